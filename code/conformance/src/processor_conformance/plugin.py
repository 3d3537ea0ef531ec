"""The checks as pytest tests: `pytest --conformance-url http://127.0.0.1:8000`.

Each check is one item. The first item that runs judges them all at once, the
way the command does; every item then reports its own result.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from .catalogue import Check
    from .outcome import Result
    from .session import Options

_TARGETS: Final = ("conformance_url", "conformance_start", "conformance_image")
_OPTIONS: Final = (
    ("url", "URL", "where the service listens"),
    ("token", "T", "the service's PROCESSOR_TOKEN"),
    ("artifacts", "DIR", "the folder that stands for /artifacts on this machine"),
    ("start", "CMD", "starts the service; {port} becomes the port"),
    ("image", "REF", "the same, by `docker run`"),
    ("cwd", "DIR", "where CMD starts"),
    ("inputs-file", "F", "examples of inputs, as JSON"),
    ("only", "IDS", "ids of checks, or how they begin, separated by commas"),
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the command's options under names of their own."""
    group = parser.getgroup("conformance", "processor conformance")
    for name, metavar, meaning in _OPTIONS:
        group.addoption(f"--conformance-{name}", default="", metavar=metavar, help=meaning)
    group.addoption(
        "--conformance-env", action="append", default=[], metavar="NAME=VALUE", help="for every started service"
    )


def _asked(config: pytest.Config) -> bool:
    return any(config.getoption(name) for name in _TARGETS)


def pytest_ignore_collect(config: pytest.Config) -> bool | None:
    """Look for no other tests where only a service was named."""
    named_files = config.args_source is pytest.Config.ArgsSource.ARGS
    return True if _asked(config) and not named_files else None


def pytest_collection_modifyitems(session: pytest.Session, config: pytest.Config, items: list[pytest.Item]) -> None:
    """Add the checks, if a service was named."""
    if not _asked(config):
        return
    # not before: the checks and their libraries take a while to import, and this plugin is loaded in every run
    from .cli import UsageError, chosen, options_of  # noqa: PLC0415

    asked = {name.replace("-", "_"): config.getoption(f"--conformance-{name}") for name, *_ in _OPTIONS}
    try:
        checks = chosen(asked.pop("only"))
        session.stash[_ASKED] = options_of(**asked, env=config.getoption("conformance_env"))
    except UsageError as exc:
        raise pytest.UsageError(str(exc)) from exc
    items.extend(CheckItem.from_parent(session, name=check.id, check=check) for check in checks)


class CheckItem(pytest.Item):
    """One check as a test."""

    def __init__(self, *, check: Check, **rest: Any) -> None:
        super().__init__(**rest)
        self.check = check

    def runtest(self) -> None:
        """Report what the kit says of this check; judge all of them first, if nobody has."""
        from .outcome import FailedError, Outcome  # noqa: PLC0415  # as above

        result = _results(self.session)[self.check.id]
        if result.outcome is Outcome.FAILED:
            raise FailedError(sent=result.sent, expected=result.expected, seen=result.seen)
        if result.outcome is not Outcome.PASSED:
            pytest.skip(f"{result.outcome}: {result.reason}")

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """Return what was sent, expected and seen; a traceback of the kit would say nothing."""
        from .outcome import FailedError  # noqa: PLC0415  # as above

        error = excinfo.value
        if not isinstance(error, FailedError):
            return super().repr_failure(excinfo, style)
        return f"{self.check.says}\n  sent:     {error.sent}\n  expected: {error.expected}\n  seen:     {error.seen}"

    def reportinfo(self) -> tuple[Any, int | None, str]:
        """Return where it is from and what it is called: the sentence says more than a path."""
        return self.path, None, f"{self.check.id}: {self.check.says}"


_ASKED: Final[pytest.StashKey[Options]] = pytest.StashKey()
_KEY: Final[pytest.StashKey[dict[str, Result]]] = pytest.StashKey()


def _results(session: pytest.Session) -> dict[str, Result]:
    """Return the results of all checks of this session, by id."""
    if _KEY not in session.stash:
        from .runner import judge  # noqa: PLC0415  # as above

        checks = [item.check for item in session.items if isinstance(item, CheckItem)]
        results = asyncio.run(judge(session.stash[_ASKED], checks))
        session.stash[_KEY] = {result.check.id: result for result in results}
    return session.stash[_KEY]

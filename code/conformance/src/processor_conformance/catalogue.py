"""What a check is, and the list of all of them.

A check is one coroutine that gets a `Service` and returns if the promise holds.
Its docstring is the contract's sentence in short words: the report, `--list`
and `docs/contract/conformance.md` all show it.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from .service import Service

GROUPS: Final = (
    "HEALTH", "ROUTE", "CONTRACT", "TOKEN", "MODE", "SETUP", "DRAIN", "REQ", "RUN", "ENV", "ART", "SAME", "QUEUE",
    "CANCEL", "STREAM", "LOG", "MASK", "BOOT", "IMAGE",
)  # fmt: skip
_ID: Final = re.compile(r"C-([A-Z]+)-([0-9]{2})")

Judge = Callable[["Service"], Awaitable[None]]


class Phase(StrEnum):
    """When a check may run, and beside what."""

    SHARED = "shared"  # beside any other, on one service
    ALONE = "alone"  # it fills slots or queue: on a service that nobody else asks meanwhile
    QUIET = "quiet"  # it looks at a clock: after all others, one by one
    LAST = "last"  # it judges what the other checks have seen


@dataclass(frozen=True, slots=True)
class Check:
    """One promise of the contract, and how to see whether it holds.

    Attributes:
        id: Such as ``C-RUN-07``; stable, never given again.
        section: The contract's section.
        says: The contract's sentence in short words.
        judge: The coroutine; returns, or raises an outcome (see `outcome.py`).
        examples: Names of the examples of inputs that it needs.
        capabilities: The optional capabilities it is about.
        artifacts: Whether it looks into the artifacts folder.
        start: Whether it starts services of its own.
        image: Whether it looks into an image.
        token: Whether it needs a service with a token.
        unseen: Why nobody can see from outside whether it holds; ``""`` for all others.
        phase: When it may run.
        patience_s: How long it may take before it is given up.
    """

    id: str
    section: str
    says: str
    judge: Judge
    examples: tuple[str, ...] = ()
    capabilities: tuple[str, ...] = ()
    artifacts: bool = False
    start: bool = False
    image: bool = False
    token: bool = False
    unseen: str = ""
    phase: Phase = Phase.SHARED
    patience_s: float = 60.0

    @property
    def group(self) -> str:
        """The middle of the id, such as ``RUN``."""
        return self.id.split("-")[1]

    @property
    def kind(self) -> str:
        """``U`` a URL is enough, ``A`` also the artifacts folder, ``L`` also a command or image to start it by."""
        if self.start or self.image:
            return "L"
        return "A" if self.artifacts else "U"

    @property
    def needs(self) -> list[str]:
        """Return what it needs beyond a URL, in words."""
        needs = [f'an example "{name}"' for name in self.examples]
        if self.token:
            needs.append("--token, --start or --image")
        if self.artifacts and not self.start:
            needs.append("--artifacts, --start or --image")
        if self.start:
            needs.append("--start or --image")
        if self.image:
            needs.append("--image")
        return needs + [f"the capability `{name}`" for name in self.capabilities]


_checks: Final[dict[str, Check]] = {}


def check(
    check_id: str,
    section: str,
    *,
    examples: Iterable[str] = (),
    capabilities: Iterable[str] = (),
    artifacts: bool = False,
    start: bool = False,
    image: bool = False,
    token: bool = False,
    phase: Phase = Phase.SHARED,
    patience_s: float = 60.0,
) -> Callable[[Judge], Judge]:
    """Return a decorator that puts a coroutine into the catalogue. Arguments as `Check`'s attributes.

    Raises:
        ValueError: the id is malformed, of no known group, or taken.
    """

    def add(judge: Judge) -> Judge:
        _add(
            Check(
                check_id,
                section,
                _sentence(judge),
                judge,
                tuple(examples),
                tuple(capabilities),
                artifacts,
                start,
                image,
                token,
                phase=phase,
                patience_s=patience_s,
            )
        )
        return judge

    return add


def unseen(check_id: str, section: str, says: str, why: str) -> None:
    """Put a promise into the catalogue that cannot be seen from outside: always *not checked*, never *passed*."""

    async def judge(_service: Service) -> None:
        raise AssertionError(f"{check_id} has nothing to judge")  # the runner never calls it

    _add(Check(check_id, section, says, judge, unseen=why))


def _add(item: Check) -> None:
    match = _ID.fullmatch(item.id)
    if match is None or match[1] not in GROUPS:
        raise ValueError(f"not an id of a check: {item.id}")
    if item.id in _checks:
        raise ValueError(f"taken: {item.id}")
    _checks[item.id] = item


def _sentence(judge: Judge) -> str:
    return " ".join((judge.__doc__ or "").split())


def catalogue() -> tuple[Check, ...]:
    """Return every check, in the contract's order."""
    from . import checks  # noqa: PLC0415  # the modules of checks import this one

    for module in pkgutil.iter_modules(checks.__path__):
        importlib.import_module(f"{checks.__name__}.{module.name}")
    return tuple(sorted(_checks.values(), key=lambda item: (GROUPS.index(item.group), item.id)))

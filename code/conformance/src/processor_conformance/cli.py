"""The command line: `python -m processor_conformance`."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from rich.console import Console

from . import __version__, report
from .catalogue import Check, catalogue
from .examples import ExamplesError, load
from .launch import Launcher
from .outcome import Outcome, Result
from .runner import judge
from .session import Options
from .wire import Wire

PROGRAM: Final = "python -m processor_conformance"
USAGE: Final = 2
_WIDTH: Final = 140
_EXAMPLE: Final = """
examples:
  python -m processor_conformance http://127.0.0.1:8000
  python -m processor_conformance --start "uvicorn app.http:app --port {port}" --inputs-file examples.json
  python -m processor_conformance --image ghcr.io/owner/llm_chat@sha256:… --report junit=conformance.xml

exit status: 0 no failures, 1 failures, 2 wrong usage
"""


class UsageError(ValueError):
    """What was asked for makes no sense; the text says why."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that say what to judge; the pytest plugin has the same."""
    parser.add_argument("url", nargs="?", default="", metavar="URL", help="where the service listens")
    parser.add_argument("--token", default="", help="the service's PROCESSOR_TOKEN")
    parser.add_argument("--artifacts", metavar="DIR", help="the folder that stands for /artifacts on this machine")
    starting = parser.add_mutually_exclusive_group()
    starting.add_argument("--start", default="", metavar="CMD", help="starts the service; {port} becomes the port")
    starting.add_argument("--image", default="", metavar="REF", help="the same, by `docker run`")
    parser.add_argument("--cwd", metavar="DIR", help="where CMD starts")
    parser.add_argument("--env", action="append", default=[], metavar="NAME=VALUE", help="for every started service")
    parser.add_argument("--inputs-file", metavar="F", help="examples of inputs, as JSON")
    parser.add_argument("--only", default="", metavar="IDS", help="ids of checks, or how they begin: C-RUN-07,C-REQ")


def options_of(
    *,
    url: str = "",
    token: str = "",
    artifacts: str | None = None,
    start: str = "",
    image: str = "",
    cwd: str | None = None,
    env: Sequence[str] = (),
    inputs_file: str | None = None,
) -> Options:
    """Return what the options spell.

    Raises:
        UsageError: they make no sense, or name what is not there.
    """
    if not (url or start or image):
        raise UsageError("say what to judge: a URL, --start or --image")
    pairs = [text.partition("=") for text in env]
    if any(not name or not equals for name, equals, _ in pairs):
        raise UsageError("--env wants NAME=VALUE")
    folders = [Path(text) for text in (artifacts, cwd) if text]
    for folder in folders:
        if not folder.is_dir():
            raise UsageError(f"no such folder: {folder}")
    try:
        if url:
            Wire(url)
        examples = load(Path(inputs_file)) if inputs_file else {}
        launcher = (
            Launcher.of(start, image, Path(cwd) if cwd else None, {name: value for name, _, value in pairs})
            if start or image
            else None
        )
    except (ExamplesError, ValueError) as exc:
        raise UsageError(str(exc)) from exc
    return Options(url, token, Path(artifacts) if artifacts else None, launcher, examples)


def chosen(only: str) -> tuple[Check, ...]:
    """Return the checks whose ids begin with one of the comma-separated words; all for none.

    Raises:
        UsageError: a word fits no check.
    """
    words = [word.strip() for word in only.split(",") if word.strip()]
    checks = catalogue()
    for word in words:
        if not any(check.id.startswith(word) for check in checks):
            raise UsageError(f"no check begins with {word}; --list shows all")
    return tuple(check for check in checks if not words or any(check.id.startswith(word) for word in words))


def parser() -> argparse.ArgumentParser:
    """Return what reads the kit's command line; its help and its page in the docs come from it too."""
    made = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Judge a processor by the contract.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_arguments(made)
    made.add_argument(
        "--report",
        action="append",
        default=[],
        metavar="KIND[=FILE]",
        help="table, json=FILE or junit=FILE; repeatable",
    )
    made.add_argument("--list", action="store_true", help="print the checks and judge nothing")
    made.add_argument("--json", action="store_true", help="with --list: as JSON")
    made.add_argument("--version", action="version", version=__version__)
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Judge what the arguments name, and return the exit status."""
    asked = parser().parse_args(arguments)
    try:
        checks = chosen(asked.only)
        if asked.list:
            _print_list(checks, as_json=asked.json)
            return 0
        reports = _reports(asked.report)
        options = options_of(
            url=asked.url,
            token=asked.token,
            artifacts=asked.artifacts,
            start=asked.start,
            image=asked.image,
            cwd=asked.cwd,
            env=asked.env,
            inputs_file=asked.inputs_file,
        )
    except UsageError as exc:
        print(f"{PROGRAM}: {exc}", file=sys.stderr)  # noqa: T201  # a command answers
        return USAGE
    target = options.url or asked.image or asked.start
    results = asyncio.run(judge(options, checks, report=_progress))
    for kind, file in reports:
        _write(kind, file, results, target)
    return report.exit_status(results)


def _reports(texts: Sequence[str]) -> list[tuple[str, str]]:
    reports = [(kind, file) for kind, _, file in (text.partition("=") for text in texts or ["table"])]
    for kind, _ in reports:
        if kind not in {"table", "json", "junit"}:
            raise UsageError(f"--report wants table, json or junit, not {kind}")
    if all(kind != "table" and file for kind, file in reports):
        reports.insert(0, ("table", ""))
    return reports


def _progress(result: Result) -> None:
    if result.outcome is Outcome.FAILED:
        print(f"{result.check.id} failed", file=sys.stderr, flush=True)  # noqa: T201  # a command answers


def _write(kind: str, file: str, results: Sequence[Result], target: str) -> None:
    if kind == "table":
        if file:
            with Path(file).open("w", encoding="utf-8") as stream:
                report.print_table(results, Console(file=stream, width=_WIDTH))
        else:
            report.print_table(results, Console(width=None if sys.stdout.isatty() else _WIDTH))
        return
    text = report.as_json(results, target) if kind == "json" else report.as_junit(results, target)
    if file:
        Path(file).write_text(text, encoding="utf-8")
    else:
        sys.stdout.write(text)


def _print_list(checks: Sequence[Check], *, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(json.dumps([report.described(check) for check in checks], indent=1, ensure_ascii=False) + "\n")
        return
    for check in checks:
        needs = f"  [needs {', '.join(check.needs)}]" if check.needs else ""
        hidden = f"  [not checked: {check.unseen}]" if check.unseen else ""
        sys.stdout.write(f"{check.id:14} {check.kind}  §{check.section}  {check.says}{needs}{hidden}\n")

"""Ask an advisory source about every package that a lock pins: `make audit`.

Where no source answers, the audit says so by name and ends with status 0; `--require` makes that a failure, for a
machine that is known to reach one.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from scripts.lock import ROOT, locks

SOURCES = ("osv", "pypi")
_PIP_AUDIT = str(Path(sys.executable).with_name("pip-audit"))


@dataclass(frozen=True, slots=True)
class Answer:
    """What one source said of one lock: how many packages it judged, and the advisories by package and version."""

    judged: int
    unknown: int
    advisories: tuple[str, ...]


class SilentError(Exception):
    """A source that cannot be reached, or knows none of the packages; the message is its own last line."""


def ask(source: str, lock: Path) -> Answer:
    """Return what *source* says of *lock*.

    Raises:
        SilentError: it says nothing.
    """
    # An address of one's own: a mirror of the advisories inside a company, or the tests'
    address = ["--osv-url", os.environ["OSV_URL"]] if source == "osv" and os.environ.get("OSV_URL") else []
    done = subprocess.run(
        [
            *(_PIP_AUDIT, "--vulnerability-service", source, *address, "--format", "json", "--desc", "off"),
            *("--progress-spinner", "off", "--disable-pip", "--require-hashes", "--requirement", lock),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        rows = json.loads(done.stdout)["dependencies"]
    except (json.JSONDecodeError, KeyError):
        raise SilentError((done.stderr.strip().splitlines() or ["it said nothing"])[-1]) from None
    judged = [row for row in rows if "skip_reason" not in row]
    if not judged:
        raise SilentError(f"it knows none of {len(rows)} packages")
    advisories = [f"{row['name']} {row['version']}: {_named(found)}" for row in judged for found in row["vulns"]]
    return Answer(len(judged), len(rows) - len(judged), tuple(advisories))


def _named(found: dict[str, object]) -> str:
    fixed = found.get("fix_versions")
    return f"{found['id']}, fixed in {', '.join(fixed) if isinstance(fixed, list) and fixed else 'no version yet'}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Audit the locks; 1 with an advisory, or without an answer where one is required."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--require", action="store_true", help="fail where no source answers")
    parser.add_argument("only", nargs="*", type=Path, help="the locks to audit, when not all of them")
    options = parser.parse_args(arguments)
    every = options.only or [lock.output for lock in locks()]
    source, silences = _first_that_answers(every[0])
    if source is None:
        print("\n".join(silences))
        print("audit skipped: no advisory source answers from this machine")
        return 1 if options.require else 0
    failed = False
    for lock in every:
        shown = lock.resolve().relative_to(ROOT) if lock.resolve().is_relative_to(ROOT) else lock
        try:
            answer = ask(source, lock)
        except SilentError as error:
            print(f"{shown}: skipped, {source} does not answer: {error}")
            failed = failed or options.require
            continue
        known = f"{answer.judged} packages judged by {source}, {answer.unknown} unknown to it"
        print(f"{shown}: {known}, {len(answer.advisories)} advisories")
        for advisory in answer.advisories:
            print(f"  {advisory}")
        failed = failed or bool(answer.advisories)
    return 1 if failed else 0


def _first_that_answers(lock: Path) -> tuple[str | None, list[str]]:
    silences = []
    for source in SOURCES:
        try:
            ask(source, lock)
        except SilentError as error:
            silences.append(f"{source} does not answer: {error}")
        else:
            return source, silences
    return None, silences


if __name__ == "__main__":
    sys.exit(main())

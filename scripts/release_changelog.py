"""What CHANGELOG.md says of a version, and whether a change that a user notices has its line there."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable
from pathlib import Path

CHANGELOG = "CHANGELOG.md"
UNRELEASED = "Unreleased"
# A user notices what happens below these: the contract, the wheels, the commands and adapters, the processors.
NOTICED = ("docs/contract/", "code/runtime/src/", "code/conformance/src/", "code/apps/core/", "code/backend/settings/")
_HEADING = re.compile(r"(?m)^## \[?(?P<name>Unreleased|\d+\.\d+\.\d+)\]?(?: - (?P<date>\d{4}-\d{2}-\d{2}))?$")
_NONE = re.compile(r"(?m)^Changelog: none, \S+")


def sections(text: str) -> dict[str, str]:
    """Return what stands below each version's heading, headings of kinds included, newest first.

    A version counts from the day it is dated: `## 0.2.0 - 2026-12-01`.
    """
    headings = list(_HEADING.finditer(text))
    ends = [heading.start() for heading in headings[1:]] + [len(text)]
    return {
        heading["name"]: text[heading.end() : end].strip()
        for heading, end in zip(headings, ends, strict=True)
        if heading["date"] or heading["name"] == UNRELEASED
    }


def problems_of_version(version: str, text: str) -> list[str]:
    """Return why *version* cannot be released with this changelog, in sentences that say what to do."""
    section = sections(text).get(version)
    if section is None:
        return [f"{CHANGELOG} has no section for {version}: begin one with `## {version} - <year>-<month>-<day>`"]
    if not re.search(r"(?m)^- ", section):
        return [f"{CHANGELOG} says nothing about {version}: name what a user notices"]
    return []


def problems_of_change(paths: Iterable[str], messages: str) -> list[str]:
    """Return why a change of *paths* lacks its line, given the commit *messages* that it was made by.

    A commit with the line `Changelog: none, <reason>` says that nobody notices.
    """
    changed = set(paths)
    noticed = sorted(path for path in changed if path.startswith(NOTICED))
    if not noticed or CHANGELOG in changed or _NONE.search(messages):
        return []
    what = f"{len(noticed)} files that a user notices changed, such as {noticed[0]}, and {CHANGELOG} did not"
    return [f"{what}: add a line below `## {UNRELEASED}`, or say `Changelog: none, <reason>` in a commit message"]


def change_since(base: str, root: Path) -> tuple[list[str], str]:
    """Return the paths changed between where HEAD left *base* and HEAD, and the messages of the commits between.

    Raises:
        subprocess.CalledProcessError: *base* is no commit of this clone; git has said so on stderr.
    """
    paths = _git(root, "diff", "--name-only", f"{base}...HEAD").splitlines()
    return paths, _git(root, "log", "--format=%B", f"{base}..HEAD")


def _git(root: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=root, check=True, stdout=subprocess.PIPE, text=True).stdout

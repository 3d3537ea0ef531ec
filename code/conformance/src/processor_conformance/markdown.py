"""`docs/contract/conformance.md`: the catalogue as a page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from .catalogue import GROUPS, Check
from .examples import NAMES

_TITLES = {
    "HEALTH": "Health",
    "ROUTE": "Routes and methods",
    "CONTRACT": "What the image says of itself",
    "TOKEN": "Token",
    "MODE": "Modes and CI",
    "SETUP": "Set-up",
    "DRAIN": "Shutting down",
    "REQ": "Requests",
    "RUN": "Runs",
    "ENV": "Envelopes",
    "ART": "Artifacts",
    "SAME": "Same id again",
    "QUEUE": "Slots and queue",
    "CANCEL": "Cancelling",
    "STREAM": "Streams",
    "LOG": "Logs",
    "MASK": "Masking",
    "BOOT": "Settings",
    "IMAGE": "Image",
}
_KINDS = {
    "U": "a URL is enough (and the token, if the service has one)",
    "A": "also needs the artifacts folder (`--artifacts`)",
    "L": "also needs a way to start the service (`--start` or `--image`)",
}


def page(checks: Iterable[Check]) -> str:
    """Return the page, the same on every machine."""
    checks = tuple(checks)
    numbers = Counter(check.kind for check in checks)
    lines = [
        "# What the conformance kit checks",
        "",
        "Generated from `code/conformance/` by `make generate`. Each row is a promise of the processor contract, its",
        "id, and what the kit needs to see whether it holds. [How to run it](#how-to-run-it) is below.",
        "",
        f"There are {len(checks)} checks.",
        "",
        "| class | checks | what it needs |",
        "|---|---|---|",
        *(f"| {kind} | {numbers[kind]} | {meaning} |" for kind, meaning in _KINDS.items()),
        "",
        "A check whose needs are not met is *not checked*, never *passed*. One about a capability that the service",
        "does not have is *not applicable*.",
        "",
    ]
    for group in GROUPS:
        rows = [check for check in checks if check.group == group]
        if rows:
            lines += [f"## {_TITLES[group]}", "", "| id | class | § | promise | needs |", "|---|---|---|---|---|"]
            lines += [_row(row.id, row.kind, row.section, row.says, _needs(row)) for row in rows]
            lines.append("")
    lines += ["## Examples", "", "Names of examples in an `--inputs-file`, and what a run of each does.", ""]
    lines += ["| name | what the run does |", "|---|---|"]
    lines += [_row(f"`{name}`", meaning) for name, meaning in NAMES.items()]
    return "\n".join(lines) + "\n"


def _needs(check: Check) -> str:
    if check.unseen:
        return f"never checked: {check.unseen}"
    return ", ".join([*(f"`{name}`" for name in check.examples), *check.needs[len(check.examples) :]])


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

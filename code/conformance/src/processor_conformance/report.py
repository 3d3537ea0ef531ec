"""What comes out: a table for people, JSON and JUnit for machines."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final
from xml.etree import ElementTree as ET

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from . import __version__
from .catalogue import Check
from .outcome import Outcome, Result

_COLOURS: Final = {
    Outcome.PASSED: "green",
    Outcome.FAILED: "bold red",
    Outcome.NOT_APPLICABLE: "dim",
    Outcome.NOT_CHECKED: "yellow",
}


def counts(results: Sequence[Result]) -> dict[str, int]:
    """Return how many checks ended how; every word is there."""
    found = Counter(result.outcome for result in results)
    return {str(outcome): found[outcome] for outcome in Outcome}


def summary(results: Sequence[Result]) -> str:
    """Return the counts as one line."""
    return ", ".join(f"{number} {word}" for word, number in counts(results).items())


def exit_status(results: Sequence[Result]) -> int:
    """Return 0 without failures, else 1."""
    return int(any(result.outcome is Outcome.FAILED for result in results))


def print_table(results: Sequence[Result], console: Console) -> None:
    """Print one row per check, then what failed, then the counts."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("check", "class", "§", "outcome", "promise"):
        table.add_column(column, no_wrap=column != "promise", overflow="fold")
    for result in results:
        colour = _COLOURS[result.outcome]
        says = escape(result.check.says) + (f"\n[dim]{escape(result.reason)}[/dim]" if result.reason else "")
        table.add_row(
            result.check.id, result.check.kind, result.check.section, f"[{colour}]{result.outcome}[/{colour}]", says
        )
    console.print(table)
    for result in results:
        if result.outcome is Outcome.FAILED:
            console.print(f"\n[bold red]{result.check.id}[/bold red] {escape(result.check.says)}")
            for word, text in (("sent", result.sent), ("expected", result.expected), ("seen", result.seen)):
                console.print(f"  {word + ':':9} {escape(text)}", highlight=False)
    console.print(f"\n{summary(results)}", highlight=False)


def as_json(results: Sequence[Result], target: str) -> str:
    """Return the report as one JSON object."""
    document = {
        "kit": __version__,
        "contract": "v1",
        "target": target,
        "counts": counts(results),
        "checks": [described(result.check) | _told(result) for result in results],
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def described(check: Check) -> dict[str, Any]:
    """Return what the catalogue says of a check."""
    return {
        "id": check.id,
        "class": check.kind,
        "section": check.section,
        "says": check.says,
        "needs": check.needs,
        "unseen": check.unseen,
    }


def _told(result: Result) -> dict[str, Any]:
    told: dict[str, Any] = {"outcome": str(result.outcome), "seconds": result.seconds}
    if result.reason:
        told["reason"] = result.reason
    if result.outcome is Outcome.FAILED:
        told |= {"sent": result.sent, "expected": result.expected, "seen": result.seen}
    return told


def as_junit(results: Sequence[Result], target: str) -> str:
    """Return the report as JUnit XML; what was not checked or not applicable is skipped, with the reason."""
    numbers = counts(results)
    suite = ET.Element(
        "testsuite",
        name=f"processor-conformance {target}",
        tests=str(len(results)),
        failures=str(numbers[Outcome.FAILED]),
        errors="0",
        skipped=str(numbers[Outcome.NOT_CHECKED] + numbers[Outcome.NOT_APPLICABLE]),
        time=f"{sum(result.seconds for result in results):.3f}",
    )
    for result in results:
        case = ET.SubElement(
            suite,
            "testcase",
            classname=f"processor_conformance.{result.check.group.lower()}",
            name=f"{result.check.id} {result.check.says}",
            time=f"{result.seconds:.3f}",
        )
        if result.outcome is Outcome.FAILED:
            failure = ET.SubElement(case, "failure", message=_printable(result.seen))
            failure.text = _printable(f"sent: {result.sent}\nexpected: {result.expected}\nseen: {result.seen}")
        elif result.outcome is not Outcome.PASSED:
            ET.SubElement(case, "skipped", message=_printable(f"{result.outcome}: {result.reason}"))
    ET.indent(suite)
    return f'<?xml version="1.0" encoding="utf-8"?>\n{ET.tostring(suite, encoding="unicode")}\n'


def _printable(text: str) -> str:
    """Return *text* without what XML cannot hold."""
    return "".join(letter if letter.isprintable() or letter in "\n\t" else "\ufffd" for letter in text)

"""What the kit found of the planted faults: a table for the terminal, and the same as files in `var/conformance`."""

from __future__ import annotations

import itertools
import json
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.contract.planted.faults import Fault

NAME: Final = "planted-faults"
_WIDTH: Final = 44  # characters of a cell on a terminal
_HEAD: Final = ("fault", "checks meant", "checks that failed", "verdict")


@dataclass(frozen=True, slots=True)
class Row:
    """One fault after its judgement.

    Attributes:
        fault: What was planted.
        failed: The checks that failed, each with what it saw; ``None`` if the kit could not judge.
    """

    fault: Fault
    failed: dict[str, str] | None

    @property
    def verdict(self) -> str:
        """Whether exactly the checks failed that were meant to."""
        if self.failed is None:
            return "not judged"
        return "as meant" if self.failed.keys() == self.fault.breaks else "WRONG"

    def cells(self) -> tuple[str, ...]:
        """Return the row's cells."""
        meant, failed = sorted(self.fault.breaks), sorted(self.failed or {})
        return (self.fault.name, ", ".join(meant) or "none", ", ".join(failed) or "none", self.verdict)


def lines(rows: Sequence[Row]) -> list[str]:
    """Return the table as lines of text, its columns aligned and long cells broken, and how it ended."""
    broken = [[textwrap.wrap(cell, _WIDTH) for cell in cells] for cells in (_HEAD, *(row.cells() for row in rows))]
    cells = [line for row in broken for line in itertools.zip_longest(*row, fillvalue="")]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    table = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
    return [*table, "", _in_short(rows)]


def write(rows: Sequence[Row], folder: Path) -> None:
    """Leave the table in *folder*, as Markdown and as JSON."""
    folder.mkdir(parents=True, exist_ok=True)
    page = ["# Planted faults, as judged", "", _row(_HEAD), _row(["---"] * len(_HEAD))]
    page += [*(_row(row.cells()) for row in rows), "", _in_short(rows)]
    (folder / f"{NAME}.md").write_text("\n".join(page) + "\n", encoding="utf-8")
    document = [
        {
            "fault": row.fault.name,
            "says": row.fault.says,
            "meant": sorted(row.fault.breaks),
            "failed": row.failed,
            "verdict": row.verdict,
        }
        for row in rows
    ]
    (folder / f"{NAME}.json").write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def _in_short(rows: Sequence[Row]) -> str:
    good = sum(row.verdict == "as meant" for row in rows)
    return f"{good} of {len(rows)} services failed exactly the checks that were meant for them"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"

"""What the conformance kit says of one service, asked as a user asks it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from processor_conformance.outcome import Outcome
from tests.support.service import ROOT

REPORTS: Final = ROOT / "var" / "conformance"
LONGEST_S: Final = 900


@dataclass(frozen=True)
class Verdict:
    """The kit's report and how it ended.

    Attributes:
        name: Of the report in `var/conformance`.
        checks: The report's rows.
        status: The exit status.
        story: What the kit wrote to stderr.
    """

    name: str
    checks: list[dict[str, Any]]
    status: int
    story: str

    @property
    def failed(self) -> dict[str, str]:
        """What was seen of each check that failed."""
        return {row["id"]: f"{row['says']} Saw {row['seen']}" for row in self.with_outcome(Outcome.FAILED)}

    @property
    def passed(self) -> set[str]:
        """The checks that passed."""
        return {row["id"] for row in self.with_outcome(Outcome.PASSED)}

    def with_outcome(self, outcome: Outcome) -> list[dict[str, Any]]:
        """Return the rows that ended so."""
        return [row for row in self.checks if row["outcome"] == outcome]

    def in_short(self) -> str:
        """Return one line that counts the outcomes."""
        outcomes = Counter(row["outcome"] for row in self.checks)
        return f"{self.name}: {', '.join(f'{outcomes[word]} {word}' for word in Outcome)}"


def verdict(name: str, *words: str, cwd: Path) -> Verdict:
    """Run the kit with these *words*, and return what it says; its report stays in `var/conformance`."""
    REPORTS.mkdir(parents=True, exist_ok=True)
    report = REPORTS / f"{name}.json"
    report.unlink(missing_ok=True)  # an earlier one is no verdict on this service
    command = [sys.executable, "-m", "processor_conformance", *words, "--report", f"json={report}"]

    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, timeout=LONGEST_S)

    assert report.exists(), done.stderr
    checks = json.loads(report.read_text(encoding="utf-8"))["checks"]
    return Verdict(name, checks, done.returncode, done.stderr)

"""`make check` runs everything, whatever fails, and says how many did."""

from __future__ import annotations

import sys

import pytest

from scripts import check
from scripts.check import Check

GOOD = Check("good", (sys.executable, "-c", "print('fine')"))
BAD = Check("bad", (sys.executable, "-c", "print('line 7 is wrong'); raise SystemExit(3)"))
GONE = Check("gone", ("no-such-program",))


def test_when_all_pass_it_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    """Status 0, and a check that passed says nothing else."""
    assert check.main([GOOD, GOOD]) == 0

    printed = capsys.readouterr().out
    assert printed.endswith("all 2 checks passed\n")
    assert "fine" not in printed


def test_one_failure_neither_hides_nor_stops_another(capsys: pytest.CaptureFixture[str]) -> None:
    """All run; what the failed ones wrote is shown; the last line counts and names them."""
    assert check.main([BAD, GONE, GOOD]) == 1

    printed = capsys.readouterr().out
    assert "line 7 is wrong" in printed
    assert "no-such-program" in printed
    assert "ok     good" in printed
    assert printed.endswith("2 of 3 checks failed: bad, gone\n")


def test_the_checks_are_those_that_are_promised() -> None:
    """None is left out by accident."""
    names = [row.name for row in check.CHECKS]

    code = ["format", "lint", "types", "imports", "django", "generated files", "locks"]
    assert names == [*code, "workflows", "workflow safety", "dockerfiles", "docs"]


def test_every_dockerfile_is_linted() -> None:
    """The template's too."""
    assert {"code/apps/core/processors/doc_ocr/Dockerfile", "code/apps/core/scaffold/template/Dockerfile"} <= set(
        check.DOCKERFILES
    )

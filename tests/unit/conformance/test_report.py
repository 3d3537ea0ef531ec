"""Reports: a table for people, JSON and JUnit for machines, and an exit status."""

from __future__ import annotations

import io
import json
from xml.etree import ElementTree as ET

import pytest
from rich.console import Console

from processor_conformance import report
from processor_conformance.catalogue import catalogue
from processor_conformance.outcome import Outcome, Result

PASSED, FAILED, ABSENT, UNKNOWN = (
    Result(check, outcome, reason, sent, expected, seen, 0.5)
    for check, (outcome, reason, sent, expected, seen) in zip(
        catalogue()[:4],
        [
            (Outcome.PASSED, "", "", "", ""),
            (Outcome.FAILED, "", "GET /kit", "200 [b]", "500 <\x00>"),
            (Outcome.NOT_APPLICABLE, "the service has no `stream`", "", "", ""),
            (Outcome.NOT_CHECKED, 'needs an example "slow"', "", "", ""),
        ],
        strict=True,
    )
)
RESULTS = [PASSED, FAILED, ABSENT, UNKNOWN]


@pytest.mark.parametrize(
    ("results", "status"),
    [([], 0), ([PASSED], 0), ([PASSED, ABSENT, UNKNOWN], 0), (RESULTS, 1)],
    ids=["nothing", "passed", "not checked", "failed"],
)
def test_only_a_failure_is_a_failure(results: list[Result], status: int) -> None:
    """What was not checked did not fail, and did not pass either: the counts say so."""
    assert report.exit_status(results) == status


def test_counts_name_every_outcome() -> None:
    """A reader of the JSON need not know which words there are."""
    assert report.counts([PASSED]) == {"passed": 1, "failed": 0, "not applicable": 0, "not checked": 0}


def test_json_holds_what_was_sent_expected_and_seen() -> None:
    """Machines get the same story as people."""
    document = json.loads(report.as_json(RESULTS, "http://kit"))

    assert (document["target"], document["contract"]) == ("http://kit", "v1")
    assert document["counts"]["failed"] == 1
    assert [row["outcome"] for row in document["checks"]] == ["passed", "failed", "not applicable", "not checked"]
    assert document["checks"][1]["seen"] == "500 <\x00>"
    assert document["checks"][3]["reason"] == 'needs an example "slow"'
    assert all({"id", "class", "section", "says", "needs"} <= row.keys() for row in document["checks"])


def test_junit_can_be_read_whatever_a_service_answered() -> None:
    """XML has no NUL; what was not checked is skipped with its reason."""
    suite = ET.fromstring(report.as_junit(RESULTS, "http://kit"))  # noqa: S314 - our own

    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("4", "1", "2")
    cases = suite.findall("testcase")
    assert cases[1].find("failure") is not None
    assert "expected: 200 [b]" in (cases[1].findtext("failure") or "")
    assert [case.find("skipped") is not None for case in cases] == [False, False, True, True]
    assert (cases[0].get("name") or "").startswith("C-HEALTH-01 ")


def test_the_table_shows_every_check_and_what_failed() -> None:
    """Square brackets of an answer are no markup."""
    console = Console(file=io.StringIO(), width=140)
    report.print_table(RESULTS, console)
    text = console.file.getvalue()  # type: ignore[attr-defined]  # a StringIO

    assert all(result.check.id in text for result in RESULTS)
    assert "expected: 200 [b]" in text
    assert "1 passed, 1 failed, 1 not applicable, 1 not checked" in text

"""The kit finds what is broken, and nothing else: services with one planted fault each fail exactly its checks."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Final

import pytest

from processor_conformance.catalogue import Phase, catalogue
from tests.contract.conftest import Tell
from tests.contract.planted import report
from tests.contract.planted.faults import FAULTS, Fault
from tests.contract.planted.kit import failed_checks
from tests.contract.planted.report import Row
from tests.contract.verdict import REPORTS

NEIGHBOURS: Final = 2
AT_ONCE: Final = 3  # on two cores: part of the time goes by in waiting
HEALTHY: Final = Fault("none", "Nothing is wrong.", frozenset(), lambda: lambda app: app)
# megabytes, many generated inputs, a minute's silence, and what only a busy service or one with a token of its own
# shows: asked where a fault is meant for them or for their neighbours
DEAR: Final = frozenset(
    {"C-REQ-04", "C-REQ-05", "C-REQ-06", "C-REQ-38", "C-REQ-39", "C-REQ-40", "C-REQ-50", "C-ENV-06", "C-STREAM-16"}
)
KNOWN: Final = {check.id: check for check in catalogue() if not check.unseen and not check.image}
QUICK: Final = frozenset(
    check.id
    for check in KNOWN.values()
    if check.kind != "L" and not check.token and check.phase in {Phase.SHARED, Phase.LAST} and check.id not in DEAR
)

ALL: Final = [HEALTHY, *FAULTS]
EACH: Final = "test_a_fault_fails_exactly_the_checks_meant_for_it"

Judged = dict[str, str]


def asked(fault: Fault) -> frozenset[str]:
    """Return the checks that are made of *fault*: every quick one, its own, and two neighbours of its slow ones.

    With `PLANTED_CHECKS=all` in the environment, every check there is: that takes an hour or two for all faults.
    """
    if os.environ.get("PLANTED_CHECKS") == "all":
        return frozenset(KNOWN)
    slow = fault.breaks - QUICK - DEAR
    neighbours: set[str] = set()
    for group in {KNOWN[name].group for name in slow}:
        near = (check.id for check in KNOWN.values() if check.group == group)
        neighbours |= set(itertools.islice((name for name in near if name not in QUICK | DEAR | slow), NEIGHBOURS))
    return QUICK | fault.breaks | neighbours


@pytest.fixture(scope="session")
def judged(request: pytest.FixtureRequest, tell: Tell) -> Iterator[Callable[[Fault], Judged]]:
    """What the kit says of a fault; all that are wanted are judged as fast as the cores go, and told as a table."""
    chosen = {item.name for item in request.session.items}
    wanted = [fault for fault in ALL if f"{EACH}[{fault.name}]" in chosen]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        futures = {
            fault.name: pool.submit(failed_checks, "" if fault is HEALTHY else fault.name, asked(fault))
            for fault in wanted
        }
        yield lambda fault: futures[fault.name].result()
        for future in futures.values():  # after `-x`, nobody waits for the others
            future.cancel()
    rows = [Row(fault, _result(futures[fault.name])) for fault in wanted]
    report.write(rows, REPORTS)
    tell("planted faults", report.lines(rows))


def _result(future: Future[Judged]) -> Judged | None:
    return None if future.cancelled() or future.exception() else future.result()


@pytest.mark.slow
@pytest.mark.parametrize("fault", ALL, ids=lambda fault: str(fault.name))
def test_a_fault_fails_exactly_the_checks_meant_for_it(fault: Fault, judged: Callable[[Fault], Judged]) -> None:
    """A check that fails beside them would blame the innocent; one that passes would see nothing."""
    seen = judged(fault)

    assert seen.keys() == fault.breaks, {name: seen[name] for name in seen.keys() - fault.breaks}


def test_the_table_tells_what_was_found_as_meant_from_what_was_not(tmp_path: Path) -> None:
    """By the checks that were meant and that failed; nothing counts that was not judged."""
    rows = [
        Row(HEALTHY, {}),
        Row(FAULTS[0], dict.fromkeys(FAULTS[0].breaks, "what was seen")),
        Row(FAULTS[1], {"C-RUN-01": "an innocent one"}),
        Row(FAULTS[2], None),
    ]

    told = report.lines(rows)
    report.write(rows, tmp_path)

    assert [line.split("  ")[-1].strip() for line in told[1:5]] == ["as meant", "as meant", "WRONG", "not judged"]
    assert told[-1] == "2 of 4 services failed exactly the checks that were meant for them"
    assert FAULTS[1].name in told[3]
    assert "C-RUN-01" in told[3]
    written = json.loads((tmp_path / "planted-faults.json").read_text("utf-8"))
    assert [row["verdict"] for row in written] == ["as meant", "as meant", "WRONG", "not judged"]
    assert f"| {FAULTS[1].name} |" in (tmp_path / "planted-faults.md").read_text("utf-8")


def test_every_fault_is_meant_for_checks_that_exist() -> None:
    """A renamed or withdrawn check leaves no fault behind."""
    assert {name for fault in FAULTS for name in fault.breaks} <= KNOWN.keys()
    assert all(fault.breaks for fault in FAULTS)


def test_there_are_thirty_faults_of_which_no_two_share_a_name() -> None:
    """The name chooses the fault in the process that is started."""
    names = [fault.name for fault in FAULTS]
    assert len(set(names)) == len(names) >= 30

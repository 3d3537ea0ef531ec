"""A goal is reached, missed by a factor, or not measured."""

from __future__ import annotations

import pytest

from bench.goals import CHECKS, TITLES, outcomes
from bench.judging import BEST_PEER, Check, best_peer, judge
from bench.series import Key, Results

OURS = Key("file-disk", "ours-async", "rate", "c64")
LEAST = Check("P1", "to the best peer", OURS, OURS._replace(subject=BEST_PEER), "at least", 3.5)
MOST = Check("P7", "p99", Key("health", "ours-sync", "p99_ms", "spinning"), None, "at most", 250.0)

WHOLE = Key("adapter", "run_processor", "whole_s")


def results(**rates: float) -> Results:
    """Return results with the rates of some subjects."""
    found = Results("quick")
    found.series = {OURS._replace(subject=name.replace("_", "-")): [rate] for name, rate in rates.items()}
    return found


def test_a_goal_of_at_least_is_reached_from_its_bound_on() -> None:
    """3.5 times is enough."""
    outcome = judge(LEAST, results(ours_async=3500, kserve=1000, cog=900))

    assert outcome.reached
    assert (outcome.value, outcome.against) == (3.5, "kserve")


def test_a_missed_goal_says_by_how_much() -> None:
    """Half as fast as it should be is missed by a factor of two."""
    outcome = judge(LEAST, results(ours_async=1750, kserve=1000))

    assert not outcome.reached
    assert outcome.missed_by == 2.0


@pytest.mark.parametrize(("p99_ms", "reached"), [(250.0, True), (500.0, False)])
def test_a_goal_of_at_most_is_reached_up_to_its_bound(p99_ms: float, reached: bool) -> None:  # noqa: FBT001  # a table
    """Without anything to compare with, the number itself counts."""
    found = Results("quick", series={MOST.over: [p99_ms]})
    outcome = judge(MOST, found)

    assert outcome.reached is reached
    assert outcome.missed_by == p99_ms / 250.0


@pytest.mark.parametrize(("whole_s", "reached"), [(1.25, True), (1.75, False)])
def test_a_goal_may_be_how_much_more_something_takes(whole_s: float, reached: bool) -> None:  # noqa: FBT001  # a table
    """Whatever it takes without."""
    most = Check("P8", "whole", WHOLE, WHOLE._replace(subject="docker"), "at most", 0.5, difference=True)
    outcome = judge(most, Results("quick", series={WHOLE: [whole_s], WHOLE._replace(subject="docker"): [1.0]}))

    assert outcome.value == whole_s - 1.0
    assert outcome.reached is reached


def test_what_was_not_measured_is_not_reached() -> None:
    """No number is no success."""
    for outcome in (judge(LEAST, results(ours_async=9999)), judge(LEAST, results(kserve=1)), judge(MOST, results())):
        assert outcome.value is None
        assert not outcome.reached
        with pytest.raises(ValueError, match="not measured"):
            _ = outcome.missed_by


def test_the_best_peer_is_no_limit_and_not_ourselves() -> None:
    """Whatever they reach."""
    best = best_peer(OURS, results(ours_sync=9000, bare=9000, fastapi=8000, kserve=3000, truss=2000))

    assert best == OURS._replace(subject="kserve")


def test_a_load_that_is_left_open_is_the_one_that_was_measured() -> None:
    """How many streams there are is up to the profile."""
    check = Check("P4", "events", Key("streams", "ours-async", "rate"), Key("streams", "kserve", "rate"), "at least", 3)
    found = Results("quick")
    found.series = {
        Key("streams", name, "rate", "64x200"): [rate] for name, rate in (("ours-async", 6.0), ("kserve", 2.0))
    }

    assert judge(check, found).value == 3.0


def test_every_goal_has_checks_and_a_title() -> None:
    """P1 to P10, none forgotten."""
    assert (
        list(dict.fromkeys(check.goal for check in CHECKS)) == list(TITLES) == [f"P{number}" for number in range(1, 11)]
    )


def test_no_check_is_asked_twice() -> None:
    """A reader can tell them apart."""
    names = [(check.goal, check.what) for check in CHECKS]

    assert len(names) == len(set(names))


def test_without_results_nothing_is_reached() -> None:
    """The empty document makes no promise."""
    assert not any(outcome.reached for outcome in outcomes(Results("full")))

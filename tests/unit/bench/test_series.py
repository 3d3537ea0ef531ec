"""Samples become medians, spreads and ratios, and survive the disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.series import Key, Results, Skip

FAST = Key("echo", "fast", "rate", "c64")
SLOW = Key("echo", "slow", "rate", "c64")


@pytest.fixture
def results() -> Results:
    """Return two series of three rounds."""
    found = Results("quick", machine={"cpu": "2 x a core"}, versions={"ours": {"uvicorn": "1"}})
    found.series = {FAST: [100.0, 50.0, 80.0], SLOW: [50.0, 20.0, 20.0]}
    found.skipped = [Skip("loads", "echo, gone", "did not | install")]
    return found


def test_a_ratio_is_the_median_of_the_rounds_ratios(results: Results) -> None:
    """2, 2.5 and 4: what slows one round slows both, so rounds are compared with themselves."""
    assert results.ratio(FAST, SLOW) == 2.5


def test_without_the_same_rounds_medians_are_compared(results: Results) -> None:
    """A server that failed in one round still has a ratio."""
    results.series[SLOW] = [20.0, 20.0]

    assert results.ratio(FAST, SLOW) == 4.0


@pytest.mark.parametrize("samples", [None, [], [0.0, 1.0, 1.0]])
def test_there_is_no_ratio_to_nothing(results: Results, samples: list[float] | None) -> None:
    """Neither to a series that was not measured nor to a zero."""
    results.series.pop(SLOW)
    if samples is not None:
        results.series[SLOW] = samples

    assert results.ratio(FAST, SLOW) is None


def test_a_difference_is_the_median_of_the_rounds_differences(results: Results) -> None:
    """50, 30 and 60, for the same reason."""
    assert results.difference(FAST, SLOW) == 50.0


def test_without_the_same_rounds_medians_are_taken_from_each_other(results: Results) -> None:
    """80 and 20; and there is none to a series that was not measured."""
    results.series[SLOW] = [20.0, 20.0]

    assert results.difference(FAST, SLOW) == 60.0
    assert results.difference(FAST, SLOW._replace(at="c8")) is None


def test_the_spread_is_a_share_of_the_median(results: Results) -> None:
    """From 50 to 100 around 80."""
    assert results.spread(FAST) == pytest.approx(50 / 80)
    assert results.spread(Key("echo", "none", "rate")) is None


def test_results_come_back_from_disk(results: Results, tmp_path: Path) -> None:
    """And the same numbers are the same bytes, so that a diff shows what changed."""
    path = tmp_path / "made" / "results.json"
    results.dump(path)
    first = path.read_bytes()
    again = Results.load(path)
    again.dump(path)

    assert again == results
    assert path.read_bytes() == first

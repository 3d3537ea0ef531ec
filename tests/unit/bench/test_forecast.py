"""The driver says how long it still takes, and learns from how long it took."""

from __future__ import annotations

import io
import sys

import pytest

from bench.context import Context
from bench.forecast import expected_s, left_s
from bench.profiles import FULL, PROFILES, QUICK, Profile
from bench.series import Results

ROWS = ("cli", "health")
HOUR_S = 3600.0


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
def test_every_row_of_every_profile_has_a_forecast(profile: Profile) -> None:
    """A new row needs one."""
    assert all(expected_s(profile, row) > 0 for row in profile.rows)


def test_a_session_is_long_enough_for_each_profile() -> None:
    """A full run takes less than 40 minutes on a quiet machine, a quick one less than two."""
    assert sum(expected_s(FULL, row) for row in FULL.rows) < 40 * 60
    assert sum(expected_s(QUICK, row) for row in QUICK.rows) < 2 * 60


def test_medians_of_the_full_profile_have_a_spread() -> None:
    """Three rounds at least, of all that is repeated."""
    assert min(FULL.rounds, FULL.starts, FULL.repeats) >= 3


def test_at_the_beginning_all_is_left_and_at_the_end_nothing() -> None:
    """In between, what is done is taken off."""
    whole = sum(expected_s(FULL, row) for row in ROWS)

    assert left_s(FULL, ROWS, {}, 0.0, 0.0) == pytest.approx(whole)
    assert left_s(FULL, ROWS, {"cli": expected_s(FULL, "cli")}, 0.0, 0.0) == pytest.approx(expected_s(FULL, "health"))
    assert left_s(FULL, ROWS, {"cli": 1.0}, 1.0, 1.0) == 0


def test_a_slow_machine_makes_what_is_left_longer() -> None:
    """Half of a row that took an hour: the rest is not told in seconds."""
    at_pace = left_s(FULL, ROWS, {"cli": 1.0}, 0.5, expected_s(FULL, "health") / 2)

    assert left_s(FULL, ROWS, {"cli": 1.0}, 0.5, HOUR_S) > 10 * at_pace


def test_what_is_told_has_the_time_that_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """From the first row on; it shrinks from step to step."""
    stderr = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stderr)
    context = Context(FULL, Results("full"), ("loads",))
    context.say("environment ours")
    context.begin("loads")
    for step in context.counted(["first", "second"]):
        context.say(step)

    before, begun, first, second = stderr.getvalue().splitlines()
    assert "min left" not in before
    assert [line.rpartition("  ")[2] for line in (begun, first, second)] == ["--- loads", "first", "second"]
    minutes = [int(line.partition(" s ")[2].split()[0]) for line in (begun, first, second)]
    assert minutes[0] == minutes[1] == pytest.approx(expected_s(FULL, "loads") / 60, abs=1)
    assert minutes[2] < minutes[0] / 2  # nothing was measured, so the first half took no time

"""The guard fails on a planted slowdown, and not without one."""

from __future__ import annotations

import shutil

import pytest

from bench import guard
from bench.guard.count import Counted, parse
from tests.support.docker import missing

RUN = guard.Bound("a run", Counted("ours", "async", 100), 10.0)


def test_what_costs_more_than_its_bound_is_told() -> None:
    """With the ratio and the bound."""
    (sentence,) = guard.judge({"a run": 1_250_000.0}, 100_000.0, (RUN,))

    assert sentence == "a run costs 12.5 times the bare limit, and may cost 10 times"


def test_what_keeps_its_bound_is_not_told() -> None:
    """Up to the bound itself."""
    assert guard.judge({"a run": 1_000_000.0}, 100_000.0, (RUN,)) == []


def test_instructions_are_read_from_what_callgrind_says() -> None:
    """And a run that counted nothing is no zero."""
    assert parse("==1== Events    : Ir\n==1== Collected : 21858808\n") == 21_858_808
    with pytest.raises(ValueError, match="counted nothing"):
        parse("valgrind: command not found")


@pytest.mark.slow
def test_a_planted_slowdown_fails_the_guard(capsys: pytest.CaptureFixture[str], pytestconfig: pytest.Config) -> None:
    """The real bound, the real callgrind, and a run that wastes a quarter of a millisecond."""
    if not shutil.which("valgrind"):
        missing(pytestconfig, "there is no valgrind: `apt-get install valgrind`")
    allowed = next(bound for bound in guard.BOUNDS if bound.counted.app == "ours")
    planted = guard.Bound(allowed.name, Counted("slow", "async", 50), allowed.at_most)

    status = guard.main((planted,))

    assert status == 1
    assert f"bench-guard: {allowed.name} costs" in capsys.readouterr().out

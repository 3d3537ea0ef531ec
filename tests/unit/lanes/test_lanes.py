"""A lane stops at the first step that fails, and undoes only what it has begun to change."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from scripts.lane import Lane, StoppedError
from scripts.lane_plan import PLANS
from scripts.lanes import Outcome, lanes_until, run
from tests.support.console import make_targets

PROD = PLANS["prod"]


def failing(*names: str) -> tuple[list[str], Callable[[str], bool]]:
    """Return what was called, and a call in which *names* fail."""
    called: list[str] = []

    def call(target: str) -> bool:
        called.append(target)
        return target not in names

    return called, call


def test_all_steps_hold() -> None:
    """In the order of the plan, and nothing is undone."""
    called, call = failing()

    outcome = run("prod", PROD.steps, call, PROD)

    assert called == [*PROD.steps]
    assert str(outcome) == f"lane prod: all {len(PROD.steps)} steps hold"


@pytest.mark.parametrize("step", ["deploy", "smoke", "drift", "mark"])
def test_production_goes_back_when_what_runs_does_not_hold(step: str) -> None:
    """Whatever fails from the deployment on: of several processors, some may be deployed."""
    called, call = failing(step)

    outcome = run("prod", PROD.steps, call, PROD)

    assert (outcome.stopped_at, outcome.undone, called[-2:]) == (step, True, [step, "rollback"])
    assert str(outcome) == f"lane prod: stopped at {step}, rolled back"


@pytest.mark.parametrize("step", ["promote", "secrets"])
def test_nothing_is_undone_that_was_not_done(step: str) -> None:
    """Before the deployment there is nothing to go back from."""
    called, call = failing(step)

    assert run("prod", PROD.steps, call, PROD) == Outcome("prod", PROD.steps[: PROD.steps.index(step)], step)
    assert "rollback" not in called


def test_a_rollback_that_fails_is_not_said_to_have_happened() -> None:
    """Somebody has to look."""
    _, call = failing("smoke", "rollback")

    assert str(run("prod", PROD.steps, call, PROD)) == "lane prod: stopped at smoke"


def test_other_lanes_undo_nothing() -> None:
    """Dev and staging stay as they are, to be looked at."""
    called, call = failing("smoke")

    assert run("dev", PLANS["dev"].steps, call, PLANS["dev"]).undone is False
    assert called[-1] == "smoke"


def test_a_lane_needs_those_before_it() -> None:
    """What is promoted has to run somewhere first."""
    assert [lanes_until(name) for name in ("pr", "dev", "prod")] == [["pr"], ["dev"], ["dev", "staging", "prod"]]


def test_every_step_is_a_target() -> None:
    """Gates, steps, and what undoes them."""
    named = {target for plan in PLANS.values() for target in (*plan.gates, *plan.steps, *filter(None, [plan.undo]))}

    assert named - make_targets() == set()


@pytest.mark.parametrize(
    ("environ", "code"),
    [
        pytest.param({}, "ERR_INPUTS", id="no lane"),
        pytest.param({"LANE": "production"}, "ERR_INPUTS", id="no such lane"),
        pytest.param({"LANE": "dev", "REFS": "llm/chat@1 no/such@1"}, "ERR_REF_NOT_FOUND", id="no such processor"),
    ],
)
def test_a_lane_that_cannot_be_meant_is_refused(environ: dict[str, str], code: str) -> None:
    """Before anything is asked of anybody."""
    with pytest.raises(StoppedError) as caught:
        Lane.from_env(environ)

    assert caught.value.code == code


def test_a_lane_is_an_environment_of_modal_and_all_processors() -> None:
    """Unless `REFS` says which."""
    every, one = Lane.from_env({"LANE": "staging"}), Lane.from_env({"LANE": "staging", "REFS": "llm/chat@1"})

    assert every.environ["MODAL_ENVIRONMENT"] == "staging"
    assert {"doc/ocr@1", "llm/chat@1"} <= {str(each.ref) for each in every.registrations}
    assert [str(each.ref) for each in one.registrations] == ["llm/chat@1"]

"""The workflows are thin, name only what exists, and give nobody more than they need."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from scripts.lane_plan import ENVIRONMENTS, PLANS, Plan
from tests.support import workflows

FILES = sorted(workflows.WORKFLOWS.glob("*.yml"))
PR, DEV, PROD = ((workflows.WORKFLOWS / f"{lane}.yml").read_text(encoding="utf-8") for lane in ("pr", "dev", "prod"))
CHECKOUT = "actions/checkout@de0fac2e4500dabe0009e67214ff5f5447ce83dd # v6.0.2"


@pytest.mark.parametrize("file", [pytest.param(file, id=file.stem) for file in FILES])
def test_a_workflow_keeps_what_is_promised(file: Path) -> None:
    """Rights, pins, `make` alone, targets and commands that exist, nothing for forks."""
    assert workflows.problems(file.name, file.read_text(encoding="utf-8")) == []


BROKEN = [
    pytest.param("permissions: {}", "permissions: write-all", "grants rights to all of its jobs", id="rights"),
    pytest.param("contents: read", "contents: write", "more than reading", id="writing"),
    pytest.param("timeout-minutes: 20", "# no limit", "may hang for six hours", id="no limit"),
    pytest.param(CHECKOUT, "actions/checkout@v6", "is not pinned by commit digest", id="a tag for an action"),
    pytest.param("make guard-real", "make guard-reel", "no target guard-reel", id="no such target"),
    pytest.param("make guard-real", "make check && echo ok", "runs more than one `make`", id="shell"),
    pytest.param("make guard-real", "cd code && python manage.py nothing", "no command nothing", id="no such command"),
    pytest.param("make guard-real", "make check T=${{ github.head_ref }}", "expression into a shell", id="injection"),
    pytest.param("  pull_request:", "  pull_request_target:", "with the repository's rights", id="a stranger's change"),
    pytest.param(
        "run: make guard-real", "run: make guard-real\n        env: {A: '${{ secrets.A }}'}", "secret", id="secret"
    ),
    pytest.param("    name: Checks", "    name: Checks\n    environment: dev", "an environment", id="environment"),
]


@pytest.mark.parametrize(("before", "after", "complaint"), BROKEN)
def test_a_broken_promise_is_found(before: str, after: str, complaint: str) -> None:
    """The PR lane, with one thing changed for the worse."""
    assert before in PR

    found = workflows.problems("pr.yml", PR.replace(before, after))

    assert [each for each in found if complaint in each] != []


@pytest.mark.parametrize("lane", PLANS)
def test_a_workflow_follows_its_plan(lane: str) -> None:
    """The steps of `make lanes`, in the same order; beside them it logs in to the image registry, and nothing else."""
    workflow = workflows.load((workflows.WORKFLOWS / f"{lane}.yml").read_text(encoding="utf-8"))
    plan = PLANS[lane]

    assert [target for target in workflows.make_calls(workflow) if target != "image-login"] == [
        *plan.gates,
        *plan.steps,
    ]
    assert workflows.make_calls(workflow, after_a_failure=True) == [plan.undo] * bool(plan.undo)


def test_no_image_leaves_before_the_gates_hold() -> None:
    """The job that publishes waits for those that judge the change, and the one that deploys for it."""
    assert list(unguarded(workflows.load(DEV), PLANS["dev"])) == []


UNGUARDED = [
    pytest.param("    needs: [check, test]\n", "", "images does not wait for check", id="no wait at all"),
    pytest.param("needs: [check, test]", "needs: [check]", "images does not wait for test", id="no wait for the tests"),
    pytest.param("needs: [check, test]", "needs: test", "images does not wait for check", id="no wait for the checks"),
    pytest.param(
        "needs: images", "needs: [check, test]", "deploy does not wait for images", id="deploying what is old"
    ),
    pytest.param("name: Images", "name: Images\n    if: always()", "images runs whatever", id="whatever the gates say"),
    pytest.param("name: Deploy", "name: Deploy\n    if: always()", "deploy runs whatever", id="whatever was published"),
    pytest.param("name: Tests", "name: Tests\n    continue-on-error: true", "test may fail", id="a gate of no weight"),
    pytest.param(
        "- run: make conformance",
        "- run: make conformance\n        continue-on-error: true",
        "make conformance may fail",
        id="a step of no weight",
    ),
]


@pytest.mark.parametrize(("before", "after", "complaint"), UNGUARDED)
def test_an_image_that_would_leave_too_early_is_found(before: str, after: str, complaint: str) -> None:
    """The dev lane, with one thing changed for the worse."""
    assert DEV.count(before) == 1

    found = unguarded(workflows.load(DEV.replace(before, after)), PLANS["dev"])

    assert [each for each in found if complaint in each] != []


def unguarded(workflow: workflows.Workflow, plan: Plan) -> Iterator[str]:
    """Yield why an image could leave before the gates hold, or an older one be deployed, a sentence each."""
    jobs = workflow["jobs"]
    made_in = {target: name for name, job in jobs.items() for target in workflows.make_calls({"jobs": {name: job}})}
    gates = sorted({made_in[gate] for gate in plan.gates})
    for name, others in ((made_in["images"], gates), (made_in["deploy"], [made_in["images"]])):
        yield from (f"{name} does not wait for {other}" for other in others if other not in needs(jobs[name]))
        if "()" in jobs[name].get("if", ""):  # asked there how others ended, it no longer matters that they hold
            yield f"{name} runs whatever becomes of what it waits for"
    for name in gates:
        parts = (jobs[name], *jobs[name]["steps"])
        yield from (
            f"{part.get('run', name)} may fail, and nobody minds" for part in parts if "continue-on-error" in part
        )


def needs(job: Mapping[str, Any]) -> list[str]:
    """Return which jobs *job* waits for."""
    value = job.get("needs", [])
    return [value] if isinstance(value, str) else list(value)


def test_production_always_finds_its_way_back() -> None:
    """When a step fails, and when somebody stops the lane halfway; its steps leave the time that this needs."""
    assert list(stranded(workflows.load(PROD), PLANS["prod"])) == []


STRANDED = [
    pytest.param("rollback", "if", "failure()", "no rollback when it is cancelled", id="not when it is stopped"),
    pytest.param("rollback", "if", "cancelled()", "no rollback when it fails", id="not when it fails"),
    pytest.param("rollback", "if", "failure() && cancelled()", "either of the two", id="only when both"),
    pytest.param("smoke", "timeout-minutes", None, "smoke has no limit", id="a smoke run without end"),
    pytest.param("drift", "timeout-minutes", None, "drift has no limit", id="a look without end"),
    pytest.param("smoke", "timeout-minutes", 600, "take the time", id="longer than the whole job"),
]


@pytest.mark.parametrize(("target", "name", "value", "complaint"), STRANDED)
def test_a_way_back_that_is_cut_off_is_found(target: str, name: str, value: object, complaint: str) -> None:
    """The production lane, with one thing changed for the worse."""
    workflow = workflows.load(PROD)
    (step,) = (each for each in workflow["jobs"]["promote"]["steps"] if each.get("run") == f"make {target}")
    step[name] = value

    found = stranded(workflow, PLANS["prod"])

    assert [each for each in found if complaint in each] != []


def stranded(workflow: workflows.Workflow, plan: Plan) -> Iterator[str]:
    """Yield how the workflow could leave behind what does not hold, a sentence each."""
    (job,) = workflow["jobs"].values()
    made = {step["run"].removeprefix("make "): step for step in job["steps"] if "run" in step}
    condition = made[plan.undo].get("if", "")
    if "failure()" not in condition:
        yield f"no {plan.undo} when it fails"
    if "cancelled()" not in condition:
        yield f"no {plan.undo} when it is cancelled"
    if "failure() || cancelled()" not in condition:
        yield f"no {plan.undo} when it is either of the two"
    ends = plan.steps[plan.steps.index(plan.undo_from) : plan.steps.index("mark")]
    limits = {target: made[target].get("timeout-minutes") or math.inf for target in ends}
    yield from (f"{target} has no limit" for target, limit in limits.items() if limit == math.inf)
    if sum(limits.values()) >= job["timeout-minutes"]:
        yield f"its steps may take the time that {plan.undo} needs"


def test_every_night_every_lane_is_looked_at() -> None:
    """Advisories, drift in each environment, and apps that nobody needs."""
    workflow = workflows.load((workflows.WORKFLOWS / "nightly.yml").read_text(encoding="utf-8"))

    assert tuple(workflows.make_calls(workflow)) == ("audit", "image-login", "drift", "collect")
    assert tuple(workflow["jobs"]["drift"]["strategy"]["matrix"]["lane"]) == ENVIRONMENTS


def test_one_lane_deploys_once_at_a_time() -> None:
    """And is never stopped halfway; a person approves production."""
    loaded = {
        lane: workflows.load((workflows.WORKFLOWS / f"{lane}.yml").read_text(encoding="utf-8")) for lane in ENVIRONMENTS
    }

    for lane, workflow in loaded.items():
        assert workflow["concurrency"] == {"group": lane, "cancel-in-progress": False}
    assert loaded["prod"]["jobs"]["promote"]["environment"] == "production"


def test_one_action_has_one_pin() -> None:
    """An update that forgets a file is seen."""
    text = "\n".join(file.read_text(encoding="utf-8") for file in FILES)
    pins = {
        name: set(re.findall(rf"uses: {name}@(\S+ # \S+)", text)) for name in re.findall(r"uses: ([\w./-]+)@", text)
    }

    assert pins
    assert {name: found for name, found in pins.items() if len(found) > 1} == {}


def test_actions_and_base_images_are_kept_current() -> None:
    """By Renovate, which sees a base image that is the default of an ARG; Dependabot does not."""
    config = json.loads((workflows.ROOT / ".github" / "renovate.json").read_text(encoding="utf-8"))

    assert config["enabledManagers"] == ["github-actions", "dockerfile"]
    assert {"helpers:pinGitHubActionDigests", "docker:pinDigests"} <= set(config["extends"])
    assert config["minimumReleaseAge"] == "7 days"

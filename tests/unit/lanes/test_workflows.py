"""The workflows are thin, name only what exists, and give nobody more than they need."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from scripts.lane_plan import ENVIRONMENTS, PLANS
from tests.support import workflows

FILES = sorted(workflows.WORKFLOWS.glob("*.yml"))
PR = (workflows.WORKFLOWS / "pr.yml").read_text(encoding="utf-8")
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

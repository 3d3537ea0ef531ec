"""What the workflows of `.github/` promise, as a list of complaints: empty when all holds."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from ruamel.yaml import YAML

from tests.support.console import Command, UnreadableError, parse

ROOT: Final = Path(__file__).resolve().parents[2]
WORKFLOWS: Final = ROOT / ".github" / "workflows"
# Workflows that run with the repository's rights on somebody else's change
UNSAFE_EVENTS: Final = frozenset({"pull_request_target", "workflow_run", "issue_comment"})
FORK_EVENTS: Final = frozenset({"pull_request"})

Workflow = Mapping[str, Any]


def load(text: str) -> Workflow:
    """Return the workflow that *text* holds."""
    workflow: Workflow = YAML(typ="safe").load(text)
    return workflow


def steps(workflow: Workflow) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield each step with its job's name."""
    for name, job in workflow["jobs"].items():
        for step in job.get("steps", ()):
            yield name, step


def make_calls(workflow: Workflow, *, after_a_failure: bool = False) -> list[str]:
    """Return the targets that the workflow makes, in order: those of its plain steps, or of those after a failure."""
    chosen = [step for _, step in steps(workflow) if "run" in step and ("if" in step) is after_a_failure]
    words = [word for step in chosen for word in shlex.split(step["run"])[1:]]
    return [word for word in words if re.fullmatch(r"[a-z][a-z-]*", word)]


def problems(name: str, text: str) -> list[str]:
    """Return what the workflow *name* with this *text* breaks, a sentence each."""
    workflow = load(text)
    return [*_rights(workflow), *_actions(text), *_runs(name, workflow), *_forks(workflow, text)]


def _rights(workflow: Workflow) -> Iterator[str]:
    if workflow.get("permissions") != {}:
        yield "the workflow grants rights to all of its jobs"
    if "concurrency" not in workflow:
        yield "two runs may get in each other's way: it has no concurrency group"
    for name, job in workflow["jobs"].items():
        if "permissions" not in job:
            yield f"{name} does not say which rights it needs"
        if "timeout-minutes" not in job:
            yield f"{name} may hang for six hours"


def _actions(text: str) -> Iterator[str]:
    for line in re.findall(r"(?m)^\s*(?:- )?uses: (.*)$", text):
        if not re.fullmatch(r"[\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d+(\.\d+)*", line):
            yield f"{line} is not pinned by commit digest, with its version beside it"


def _runs(name: str, workflow: Workflow) -> Iterator[str]:
    for job, step in steps(workflow):
        if "run" not in step:
            continue
        command = Command(name, 0, step["run"])
        if [words[0] for words in command.parts()] != ["make"] or "\n" in step["run"].strip():
            yield f"{job} runs more than one `make`: {step['run'].strip()!r}"
        try:
            parse(command)
        except UnreadableError as error:
            yield f"{job}: {error}"
        if "${{" in step["run"]:
            yield f"{job} puts an expression into a shell: {step['run']!r}"


def _forks(workflow: Workflow, text: str) -> Iterator[str]:
    events = workflow["on"]
    if unsafe := UNSAFE_EVENTS & set(events):
        yield f"{', '.join(sorted(unsafe))} runs a stranger's change with the repository's rights"
    if not FORK_EVENTS & set(events):
        return
    if "secrets" in text.replace("no secret", ""):
        yield "a fork's change must not come near a secret"
    for name, job in workflow["jobs"].items():
        if job.get("permissions") != {"contents": "read"}:
            yield f"{name} gives a fork's change more than reading"
        if "environment" in job:
            yield f"{name} gives a fork's change an environment"

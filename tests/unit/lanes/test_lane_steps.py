"""Steps of a lane that decide something: what is signed, and what a rollback goes back to."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from apps.core.deployments.plan import digest_tag
from apps.core.registry import Digest
from scripts import lane as steps
from scripts.lane import ATTESTED, PUBLISHED, ROOT, Lane, StoppedError
from scripts.lanes_here import unforeign

OLD, NEW = (f"registry.example/llm_chat@sha256:{digit * 64}" for digit in "ab")
REF = "llm/chat@1"
UNSIGNED = {"code": "ERR_SIGNATURE", "message": "signature not accepted"}

Answer = Callable[[list[str]], dict[str, Any]]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a checkout with one processor, whose origin has no `lanes/prod`."""
    processor = "code/apps/core/processors/llm_chat"
    shutil.copytree(ROOT / processor, tmp_path / processor, ignore=shutil.ignore_patterns("__pycache__"))
    git(tmp_path, "init", "--quiet", "--initial-branch", "main")
    git(tmp_path, "add", "--all")
    git(tmp_path, "commit", "--quiet", "--message", "first")
    git(tmp_path, "init", "--quiet", "--bare", "origin.git")
    git(tmp_path, "remote", "add", "origin", str(tmp_path / "origin.git"))
    return tmp_path


def git(root: Path, *arguments: str) -> None:
    """Call git in *root*."""
    subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b.example", *arguments], cwd=root, check=True)


def lane(root: Path, name: str = "dev", **environ: str) -> Lane:
    """Return a lane in *root* with a trusted key."""
    return Lane.from_env({"LANE": name, "SIGNATURE_KEYS": "key.pub", **environ}, root)


def answering(monkeypatch: pytest.MonkeyPatch, answer: Answer) -> list[list[str]]:
    """Let *answer* say what `manage.py` answers; return what it was asked."""
    asked: list[list[str]] = []

    def ask(_lane: Lane, *words: str, **_environ: str) -> dict[str, Any]:
        asked.append(list(words))
        return {**answer(list(words)), "story": ""}

    monkeypatch.setattr(Lane, "ask", ask)
    return asked


def row(image: str, state: str, error: dict[str, str] | None = None) -> dict[str, Any]:
    """Return the answer of a command about images, with one row."""
    found: dict[str, Any] = {"ref": REF, "image": image, "state": state}
    return {"images": [found | ({"error": error} if error else {})]}


# --- what is signed


def test_what_was_built_here_is_signed(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And told to whoever attests the same image by another identity."""
    asked = answering(monkeypatch, lambda words: row(NEW, "published" if words[1] == "publish" else words[1]))

    steps.images(lane(root))
    steps.attest(lane(root))

    assert [words[:2] for words in asked] == [
        ["processorctl", "publish"],
        ["attestctl", "sign"],
        ["attestctl", "verify"],
    ]
    assert (root / ATTESTED).read_text("utf-8") == f"{'b' * 64}  registry.example/llm_chat\n"


def test_what_was_there_already_is_not_signed(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody here knows who built it: it must be attested, and is left as it is."""
    asked = answering(monkeypatch, lambda words: row(OLD, "unchanged" if words[1] == "publish" else "verified"))
    (root / "var").mkdir()
    (root / ATTESTED).write_text("of an earlier run", encoding="utf-8")

    steps.images(lane(root))
    steps.attest(lane(root))

    assert [words[1] for words in asked] == ["publish", "verify", "verify"]
    assert json.loads((root / PUBLISHED).read_text("utf-8")) == {}
    assert not (root / ATTESTED).exists()


def test_what_no_trusted_key_attests_is_built_again(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever may push images could have put it there."""

    def answer(words: list[str]) -> dict[str, Any]:
        if words[1] == "verify":
            return row(OLD, "", UNSIGNED)
        return row(NEW, "published") if "--rebuild" in words else row(OLD, "unchanged")

    asked = answering(monkeypatch, answer)

    steps.images(lane(root))

    assert [words[1] for words in asked] == ["publish", "verify", "publish"]
    assert json.loads((root / PUBLISHED).read_text("utf-8")) == {REF: NEW}


def test_without_a_trusted_key_nothing_is_published(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every image would seem to be nobody's, and be built again in each run."""
    asked = answering(monkeypatch, lambda _: row(NEW, "published"))

    with pytest.raises(StoppedError) as caught:
        steps.images(lane(root, SIGNATURE_KEYS=""))

    assert (caught.value.code, asked) == ("ERR_INPUTS", [])


def test_nothing_is_signed_where_nothing_was_built(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`make attest` alone vouches for nothing."""
    asked = answering(monkeypatch, lambda _: row(NEW, "attested"))

    with pytest.raises(StoppedError) as caught:
        steps.attest(lane(root))

    assert (caught.value.code, asked) == ("ERR_INPUTS", [])


# --- what a rollback goes back to


def tag(image: str) -> str:
    """Return the tag of a deployment of *image*."""
    return digest_tag(Digest.parse(image.rpartition("@")[2]))


def promoted(root: Path, image: str) -> None:
    """Let the branch `lanes/prod` pin *image*, and this commit the other one."""
    file = root / "code" / "apps" / "core" / "processors" / "llm_chat" / "registry.yaml"
    text = file.read_text("utf-8")
    pinned = re.sub("(  default_platform: amd64).*", rf"\1\n  platforms:\n    amd64: {image}", text)
    assert pinned != text
    file.write_text(pinned, encoding="utf-8")
    git(root, "commit", "--quiet", "--all", "--message", "promoted")
    git(root, "push", "--quiet", "origin", "HEAD:refs/heads/lanes/prod")
    file.write_text(text, encoding="utf-8")


def deployed(monkeypatch: pytest.MonkeyPatch, *tags: str) -> list[list[str]]:
    """Let these be the deployments, the first one first; return what is asked."""
    running = list(tags)

    def answer(words: list[str]) -> dict[str, Any]:
        if words[1] == "rollback":
            running.append(running[int(words[-1].removeprefix("v")) - 1])
        if not running:
            return {"error": {"code": "ERR_ENDPOINT_MISSING", "message": "no deployed endpoint"}}
        return {"versions": [{"number": at + 1, "tag": running[at]} for at in reversed(range(len(running)))]}

    return answering(monkeypatch, answer)


def changes(asked: Sequence[list[str]]) -> list[list[str]]:
    """Return what was asked for beside the state."""
    return [[words[1], *words[6:]] for words in asked if words[1] != "status"]


def test_a_rollback_goes_back_over_every_bad_deployment(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one before may be bad too: a lane that failed was tried again."""
    promoted(root, OLD)
    asked = deployed(monkeypatch, tag(OLD), tag(NEW), tag(NEW))

    steps.rollback(lane(root, "prod"))

    assert changes(asked) == [["rollback", "--to", "v1"]]


def test_a_rollback_leaves_alone_what_runs_well(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the deployment of another processor failed, this one was never replaced."""
    promoted(root, OLD)
    asked = deployed(monkeypatch, tag(NEW), tag(OLD))

    steps.rollback(lane(root, "prod"))

    assert changes(asked) == []


@pytest.mark.parametrize(
    ("tags", "expected"),
    [pytest.param((tag(NEW),), [["stop"]], id="deployed"), pytest.param((), [], id="not even deployed")],
)
def test_what_never_ran_well_is_stopped(
    root: Path, monkeypatch: pytest.MonkeyPatch, tags: tuple[str, ...], expected: list[list[str]]
) -> None:
    """The first promotion has nothing to go back to, and leaves nothing bad running."""
    asked = deployed(monkeypatch, *tags)

    steps.rollback(lane(root, "prod"))

    assert changes(asked) == expected


@pytest.mark.parametrize("tags", [(tag(NEW),), ("", tag(NEW))], ids=["forgotten", "without tags"])
def test_a_rollback_that_cannot_be_proved_is_none(
    root: Path, monkeypatch: pytest.MonkeyPatch, tags: tuple[str, ...]
) -> None:
    """Somebody has to look."""
    promoted(root, OLD)
    asked = deployed(monkeypatch, *tags)

    with pytest.raises(StoppedError) as caught:
        steps.rollback(lane(root, "prod"))

    assert (caught.value.code, changes(asked)) == ("ERR_DIGEST_DRIFT", [])


def test_nothing_is_stopped_where_origin_cannot_be_asked(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not to know what ran well is not to know that nothing did."""
    git(root, "remote", "set-url", "origin", str(root / "nowhere.git"))
    asked = deployed(monkeypatch, tag(OLD), tag(NEW))

    with pytest.raises(StoppedError) as caught:
        steps.rollback(lane(root, "prod"))

    assert (caught.value.code, changes(asked)) == ("ERR_NETWORK", [])


# --- where lanes are tried


def test_a_lane_that_is_tried_in_a_workflow_knows_nothing_of_it() -> None:
    """It would push to the workflow's branch, and start the next lane."""
    foreign = {"GITHUB_ACTIONS": "true", "GH_TOKEN": "t", "RUNNER_TEMP": "/t", "MODAL_TOKEN_ID": "m", "DJANGO_X": "d"}

    assert unforeign({**foreign, "PATH": os.defpath, "CI": "true"}) == {"PATH": os.defpath, "CI": "true"}

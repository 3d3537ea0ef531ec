"""Pins go to main in one commit, a lane's branch is what it runs, and a token never stands on a command line."""

from __future__ import annotations

import base64
import os
import subprocess
from pathlib import Path

import pytest

from scripts import lane_repository
from scripts.lane_repository import NotOnMainError

FILE = Path("code/apps/core/processors/llm_chat/registry.yaml")


def git(root: Path, *arguments: str) -> str:
    """Return what git answers in *root*."""
    names = ("-c", "user.name=a", "-c", "user.email=a@b.example")
    done = subprocess.run(["git", *names, *arguments], cwd=root, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a clone with one registry file, and an origin beside it."""
    for name in [name for name in os.environ if name.startswith(("GITHUB_", "GH_"))]:
        monkeypatch.delenv(name)
    root = tmp_path / "clone"
    (root / FILE).parent.mkdir(parents=True)
    (root / FILE).write_text("ref: llm/chat@1\n", encoding="utf-8")
    (root / "other").write_text("1\n", encoding="utf-8")
    git(tmp_path, "init", "--quiet", "--bare", "--initial-branch", "main", "origin.git")
    git(root, "init", "--quiet", "--initial-branch", "main")
    git(root, "remote", "add", "origin", str(tmp_path / "origin.git"))
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message", "first")
    git(root, "push", "--quiet", "origin", "main")
    return root


def test_pins_are_pushed_in_one_commit(clone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They alone, whatever else lies changed; what follows in a workflow is told which commit it is."""
    monkeypatch.setenv("GITHUB_OUTPUT", str(tmp_path / "output"))
    (clone / FILE).write_text("ref: llm/chat@1\nimage: {}\n", encoding="utf-8")
    (clone / "other").write_text("2\n", encoding="utf-8")

    assert lane_repository.pins(clone) is True

    head = git(clone, "rev-parse", "HEAD")
    assert git(clone, "ls-remote", "origin", "main").split() == [head, "refs/heads/main"]
    assert git(clone, "show", "--format=%an", "--name-only", "HEAD").split() == ["pins", str(FILE)]
    assert (tmp_path / "output").read_text(encoding="utf-8") == f"commit={head}\n"


def test_pins_that_are_there_make_no_commit(clone: Path) -> None:
    """A second run has nothing to say, so no run leads to another."""
    before = git(clone, "rev-parse", "HEAD")

    assert lane_repository.pins(clone) is False
    assert git(clone, "rev-parse", "HEAD") == before


def test_somebody_who_pushed_meanwhile_is_not_overwritten(clone: Path, tmp_path: Path) -> None:
    """The lane stops, and begins again with what is there."""
    git(tmp_path, "clone", "--quiet", str(tmp_path / "origin.git"), "elsewhere")
    git(tmp_path / "elsewhere", "commit", "--quiet", "--allow-empty", "--message", "meanwhile")
    git(tmp_path / "elsewhere", "push", "--quiet")
    (clone / FILE).write_text("ref: llm/chat@1\nimage: {}\n", encoding="utf-8")

    with pytest.raises(NotOnMainError):
        lane_repository.pins(clone)


def test_pins_take_no_other_commit_to_main(clone: Path) -> None:
    """Called on a branch, they would push what nobody has reviewed."""
    git(clone, "checkout", "--quiet", "-b", "feature")
    git(clone, "commit", "--quiet", "--allow-empty", "--message", "not reviewed")
    before = git(clone, "ls-remote", "origin")
    (clone / FILE).write_text("ref: llm/chat@1\nimage: {}\n", encoding="utf-8")

    with pytest.raises(NotOnMainError):
        lane_repository.pins(clone)

    assert git(clone, "ls-remote", "origin") == before


def test_a_lane_runs_no_commit_that_was_never_on_main(clone: Path) -> None:
    """Its branch is what nightly checks believe."""
    git(clone, "commit", "--quiet", "--allow-empty", "--message", "not reviewed")

    with pytest.raises(NotOnMainError):
        lane_repository.mark("prod", clone)

    assert "lanes/prod" not in git(clone, "ls-remote", "origin")


def test_a_lane_is_marked_wherever_it_stood_before(clone: Path) -> None:
    """After a rollback the branch may go back, too."""
    first = git(clone, "rev-parse", "HEAD")
    git(clone, "commit", "--quiet", "--allow-empty", "--message", "second")
    git(clone, "push", "--quiet", "origin", "main")
    lane_repository.mark("prod", clone)
    git(clone, "checkout", "--quiet", first)

    assert lane_repository.mark("prod", clone) == "lanes/prod"
    assert git(clone, "ls-remote", "origin", "lanes/prod").split()[0] == first


def test_a_promotion_is_opened_for_this_commit(clone: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """On this machine nobody is asked."""
    assert [lane_repository.open_promotion(lane, clone) for lane in ("dev", "staging")] == ["staging", "prod"]
    assert git(clone, "rev-parse", "HEAD") in capsys.readouterr().out


def test_in_a_workflow_the_forge_is_asked(clone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its own client, for the lane's workflow, on the branch that this one runs on."""
    client = tmp_path / "gh"
    client.write_text(f'#!/bin/sh\necho "$@" >{tmp_path}/asked\n', encoding="utf-8")
    client.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_REF_NAME", "main")

    lane_repository.open_promotion("staging", clone)

    commit = git(clone, "rev-parse", "HEAD")
    asked = (tmp_path / "asked").read_text(encoding="utf-8")
    assert asked == f"workflow run prod.yml --ref main --field commit={commit}\n"


def test_a_token_reaches_git_as_variables_alone() -> None:
    """And only where there is one."""
    environ = {"GH_TOKEN": "t0ken", "GITHUB_SERVER_URL": "https://github.com"}

    found = lane_repository.login(environ)

    assert found["GIT_CONFIG_KEY_0"] == "http.https://github.com/.extraheader"
    kind, _, value = found["GIT_CONFIG_VALUE_0"].removeprefix("AUTHORIZATION: ").partition(" ")
    assert (kind, base64.b64decode(value)) == ("basic", b"x-access-token:t0ken")
    assert lane_repository.login({"GITHUB_SERVER_URL": "https://github.com"}) == {}

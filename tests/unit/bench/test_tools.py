"""A program that is missing is installed where nobody has to be asked, and named elsewhere."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

from bench import tools
from bench.environments import SkippedError


def test_what_is_there_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """No package manager is asked."""
    monkeypatch.setattr(subprocess, "run", pytest.fail)

    tools.ensure("sh")


@pytest.mark.parametrize(
    ("user", "ci", "begins"),
    [
        pytest.param(0, "", ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get"], id="root"),
        pytest.param(1000, "true", ["sudo", "-n", "env"], id="CI"),
    ],
)
def test_it_is_installed_as_root_and_in_ci(
    monkeypatch: pytest.MonkeyPatch, user: int, ci: str, begins: list[str]
) -> None:
    """First the lists, then the package."""
    asked: list[list[str]] = []

    def run(argv: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        asked.append(argv)
        return subprocess.CompletedProcess(argv, 0, "", "")

    monkeypatch.setattr(shutil, "which", lambda name: None if name == "wrk" else f"/usr/bin/{name}")
    monkeypatch.setattr(os, "geteuid", lambda: user)
    monkeypatch.setenv("CI", ci)
    monkeypatch.setattr(subprocess, "run", run)

    tools.ensure("wrk")

    assert [argv[: len(begins)] for argv in asked] == [begins, begins]
    assert [argv[-1] for argv in asked] == ["update", "wrk"]


def test_elsewhere_it_is_named_with_the_way_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A laptop is not ours to change."""
    monkeypatch.setattr(shutil, "which", lambda name: None if name == "wrk" else f"/usr/bin/{name}")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.delenv("CI", raising=False)

    with pytest.raises(SkippedError, match="apt-get install wrk"):
        tools.ensure("wrk")

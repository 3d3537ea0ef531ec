"""`make help` names every target; `.ci/run` runs check and test both, whichever fails, and ends in pytest's line."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PASSED = "===== 3 passed in 0.12s ====="
FAILED = "===== 1 failed, 2 passed in 0.12s ====="


def call(*command: str, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Return what *command* did, as called from a shell and not from the make that runs these tests."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    return subprocess.run(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )


def test_help_names_every_target() -> None:
    """Each target that may be called has a line of help, and help is what a bare `make` answers."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    phony = re.findall(r"(?m)^\.PHONY: (.*)$", makefile)
    targets = " ".join(phony).split()
    done = call("make", "help")

    assert {"demo", "test", "test-fast", "check", "fix", "help", "lock"} <= set(targets)
    assert [name for name in targets if f"  make {name} " not in done.stdout] == []
    assert call("make").stdout == done.stdout


def test_a_python_that_is_too_old_is_refused_by_name(tmp_path: Path) -> None:
    """The refusal says what was found, what is needed, and how to name another."""
    old = tmp_path / "python3"
    old.write_text('#!/bin/sh\n[ "$1" = --version ] && echo Python 3.9.2\nexit 1\n', encoding="utf-8")
    old.chmod(0o755)

    # -W: as if the lock were new, so that the environment is out of date; nothing is built by an old Python
    done = call("make", "venv", f"PYTHON={old}", "-W", "code/requirements/dev.txt")

    assert done.returncode != 0
    assert f"{old} is Python 3.9.2, and this needs Python 3.11 or newer" in done.stdout


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """Return a folder with our `.ci/run` and room for a Makefile."""
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci" / "run", tmp_path / ".ci" / "run")
    return tmp_path


def ci(clone: Path, *, check: str, test: str) -> subprocess.CompletedProcess[str]:
    """Return what `.ci/run` did where `make check` and `make test` run the given shell commands."""
    makefile = f"check:\n\t@touch checked; {check}\ntest:\n\t@touch tested; {test}\n"
    (clone / "Makefile").write_text(makefile, encoding="utf-8")
    return call(".ci/run", folder=clone)


def test_ci_passes_when_both_pass(clone: Path) -> None:
    """Status 0, and the last line is pytest's."""
    done = ci(clone, check="true", test=f"echo '{PASSED}'")

    assert done.returncode == 0, done.stdout
    assert done.stdout.splitlines()[-2:] == ["failed: nothing", PASSED]


@pytest.mark.parametrize(
    ("check", "test", "failed", "last"),
    [
        pytest.param("false", f"echo '{PASSED}'", "failed: check", PASSED, id="check"),
        pytest.param("true", f"echo '{FAILED}'; false", "failed: test", FAILED, id="test"),
        pytest.param("false", f"echo '{FAILED}'; false", "failed: check test", FAILED, id="both"),
        pytest.param("true", "false", "failed: test", "pytest did not come to an end", id="no closing line"),
    ],
)
def test_ci_runs_both_and_fails_if_either_fails(clone: Path, check: str, test: str, failed: str, last: str) -> None:
    """One failure neither hides the other nor is hidden by it."""
    done = ci(clone, check=check, test=test)

    assert done.returncode == 1
    assert (clone / "checked").exists()
    assert (clone / "tested").exists()
    assert done.stdout.splitlines()[-2:] == [failed, last]

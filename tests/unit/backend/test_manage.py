"""`manage.py` starts what needs no models without Django's set-up, and everything else as Django does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from manage import WITHOUT_SETUP

CODE = Path(__file__).resolve().parents[3] / "code"
# Says on stderr what of Django's the command took along
PROGRAM = """
import atexit, sys
from manage import main
heavy = {"django.db.models", "django.urls", "django.http", "django.forms"}
atexit.register(lambda: print(sorted(heavy & set(sys.modules)), file=sys.stderr))
sys.argv[0] = "manage.py"
main()
"""


def loaded(*arguments: str, settings: str | None = "backend.settings.test") -> tuple[int, str]:
    """Return the exit status of a command, and the last line of stderr: what it imported of Django's heavy parts."""
    environ = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    environ |= {"DJANGO_SETTINGS_MODULE": settings} if settings else {}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments], cwd=CODE, env=environ, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stderr.splitlines()[-1]


@pytest.mark.parametrize("command", WITHOUT_SETUP)
def test_a_command_without_models_imports_none(command: str) -> None:
    """Which is most of the time that a warm run takes; with the development settings where none are named."""
    assert loaded(command, "--help") == (0, "[]")
    assert loaded(command, "--help", settings=None) == (0, "[]")


def test_a_run_imports_none_either() -> None:
    """To its end, which here is an unknown ref."""
    assert loaded("run_processor", "--ref", "no/body@1", "--inputs-json", "{}", "--json") == (1, "[]")


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(("check",), id="Django's own"),
        pytest.param(("run_processor", "--help", "--settings=backend.settings.dev"), id="settings of the command line"),
    ],
)
def test_what_django_has_to_prepare_it_prepares(arguments: tuple[str, ...]) -> None:
    """Its own commands, and a choice of settings that comes before everything."""
    status, heavy = loaded(*arguments)

    assert status == 0
    assert "django.urls" in heavy

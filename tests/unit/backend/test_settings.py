"""Settings of each lane: production refuses to guess, and Django keeps away from stdout."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

CODE = Path(__file__).resolve().parents[3] / "code"
PRODUCTION = {
    "DJANGO_SETTINGS_MODULE": "backend.settings.production",
    "DJANGO_SECRET_KEY": "a-key-of-more-than-fifty-characters-0123456789-abcdefghij",
    "DJANGO_ALLOWED_HOSTS": "processors.example.org, api.example.org",
}
LANES = ["dev", "test", "unittest"]


def run(*command: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Return what `python *command` did in code/, with *environment* added to this one's."""
    return subprocess.run(
        [sys.executable, *command], cwd=CODE, env=os.environ | environment, capture_output=True, text=True, check=False
    )


def setting(name: str, environment: dict[str, str]) -> object:
    """Return the value of the setting *name* as a process with *environment* sees it."""
    program = f"import json; from django.conf import settings; print(json.dumps(settings.{name}, default=str))"
    done = run("-c", program, environment=environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_production_starts_with_what_it_needs_and_has_nothing_to_warn_of() -> None:
    """With key and hosts, Django's own deployment check finds nothing."""
    done = run("manage.py", "check", "--deploy", "--fail-level", "WARNING", environment=PRODUCTION)

    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["DJANGO_SECRET_KEY", "DJANGO_ALLOWED_HOSTS"])
@pytest.mark.parametrize("value", ["", "  "], ids=["empty", "blank"])
def test_production_refuses_to_start_without_a_value_it_needs(name: str, value: str) -> None:
    """The refusal is Django's ImproperlyConfigured, and it names the variable."""
    done = run("manage.py", "check", environment=PRODUCTION | {name: value})

    assert done.returncode == 1
    assert f"ImproperlyConfigured: {name} is not set" in done.stderr


def test_production_refuses_hosts_that_are_only_commas() -> None:
    """A list of nothing is as good as no list."""
    done = run("manage.py", "check", environment=PRODUCTION | {"DJANGO_ALLOWED_HOSTS": " , ,"})

    assert done.returncode == 1
    assert "ImproperlyConfigured: DJANGO_ALLOWED_HOSTS" in done.stderr


def test_production_reads_its_hosts_from_a_list_with_commas() -> None:
    """Blanks around a host are not part of it."""
    assert setting("ALLOWED_HOSTS", PRODUCTION) == ["processors.example.org", "api.example.org"]


def test_production_knows_no_process_adapter() -> None:
    """Production runs images; every other lane may run source too."""
    assert setting("ADAPTERS", PRODUCTION) == ["local", "modal"]
    assert setting("ADAPTERS", {"DJANGO_SETTINGS_MODULE": "backend.settings.dev"}) == ["process", "local", "modal"]


@pytest.mark.parametrize("lane", LANES)
def test_a_lane_needs_no_environment(lane: str) -> None:
    """Commands start on a fresh machine: no secret, no host name, no database."""
    done = run("manage.py", "check", environment={"DJANGO_SETTINGS_MODULE": f"backend.settings.{lane}"})

    assert done.returncode == 0, done.stderr


def test_artifacts_lie_in_the_repository_unless_the_environment_says_where(tmp_path: Path) -> None:
    """`ARTIFACTS_ROOT` is the folder that stands for /artifacts."""
    lane = {"DJANGO_SETTINGS_MODULE": "backend.settings.dev"}

    assert setting("ARTIFACTS_ROOT", lane) == str(CODE.parent / "var" / "artifacts")
    assert setting("ARTIFACTS_ROOT", lane | {"ARTIFACTS_ROOT": str(tmp_path)}) == str(tmp_path)


@pytest.mark.parametrize("lane", ["dev", "test"])
def test_what_django_and_python_have_to_say_is_json_on_stderr(lane: str) -> None:
    """Stdout belongs to a command's answer; stderr is one JSON object a line, warnings and line breaks included."""
    program = (
        "import django, logging, warnings; django.setup();"
        "logging.getLogger('django.request').warning('two\\nlines');"
        "logging.getLogger('django.server').info('served');"
        "warnings.warn('old')"
    )
    done = run("-c", program, environment={"DJANGO_SETTINGS_MODULE": f"backend.settings.{lane}"})
    lines = [json.loads(line) for line in done.stderr.splitlines()]

    assert (done.returncode, done.stdout) == (0, "")
    assert [line["logger"] for line in lines] == ["django.request", "django.server", "py.warnings"]
    assert lines[0]["message"] == "two\nlines"
    assert all(line["ts"].endswith("Z") and line["event"] == "django.log" for line in lines)


def test_a_traceback_stays_on_its_line() -> None:
    """A logged exception is one object too."""
    program = (
        "import django, logging; django.setup()\n"
        "try: 1 / 0\n"
        "except ZeroDivisionError: logging.getLogger('django').exception('broken')"
    )
    done = run("-c", program, environment={"DJANGO_SETTINGS_MODULE": "backend.settings.test"})
    [line] = [json.loads(line) for line in done.stderr.splitlines()]

    assert line["level"] == "error"
    assert "ZeroDivisionError" in line["traceback"]


def test_the_asgi_door_opens_with_production_settings() -> None:
    """A server that names no settings gets production's, and so production's refusals."""
    environment = {name: value for name, value in PRODUCTION.items() if name != "DJANGO_SETTINGS_MODULE"}
    program = "import os; os.environ.pop('DJANGO_SETTINGS_MODULE', None); import backend.asgi"

    assert run("-c", program, environment=environment).returncode == 0
    assert "DJANGO_SECRET_KEY" in run("-c", program, environment={"DJANGO_SECRET_KEY": ""}).stderr

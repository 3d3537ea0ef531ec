"""What holds for every test: settings, an environment that says nothing, and no socket beyond this machine."""

from __future__ import annotations

import ipaddress
import os
import sys
from pathlib import Path

import django
import pytest
from hypothesis import settings

from processor_runtime.settings import ci_is_set
from tests.support.docker_host import IN_CI, is_container

pytest_plugins = ("tests.support.docker", "tests.support.boxes")

# before anything imports them: so that a failing assert in them says what it saw
pytest.register_assert_rewrite("tests.contract.judge", "tests.contract.examples", "tests.support.service")

ROOT = Path(__file__).resolve().parents[1]

# Real mode is refused where CI is set, and a developer's shell may hold anything: each test says what it needs itself.
_SAID_BY_TESTS = ("CI", "ARTIFACTS_ROOT", "ADAPTER", "BASE_IMAGE", "DOCKER_BUILDKIT")
_SAID_BY_TESTS_PREFIXES = ("PROCESSOR_", "IMAGE_", "OPENAI_", "DJANGO_")
_LOCAL_NAMES = {"localhost", "ip6-localhost", ""}

_guarded = False


def pytest_configure(config: pytest.Config) -> None:
    """Refuse to run without the project's settings, then prepare Django and the guards, once a process."""
    if config.inipath != ROOT / "code" / "pyproject.toml":
        raise pytest.UsageError("these tests are run by `make test T=tests/…`, or with `-c code/pyproject.toml`")
    config.stash[IN_CI] = ci_is_set(os.environ)
    for name in list(os.environ):
        if name in _SAID_BY_TESTS or name.startswith(_SAID_BY_TESTS_PREFIXES):
            del os.environ[name]
    os.environ["DJANGO_SETTINGS_MODULE"] = "backend.settings.unittest"
    django.setup()
    # A machine with two cores under load is slow at times: how long one example takes is no property of ours
    settings.register_profile("here", deadline=None, print_blob=True)
    settings.load_profile("here")
    _guard_sockets()


def _guard_sockets() -> None:
    global _guarded  # noqa: PLW0603 - an audit hook cannot be taken away again: it must be added once only
    if not _guarded:
        sys.addaudithook(_refuse_far_sockets)
        _guarded = True


def _refuse_far_sockets(event: str, arguments: tuple[object, ...]) -> None:
    if event not in {"socket.connect", "socket.sendto"}:
        return
    address = arguments[1]
    if not isinstance(address, tuple) or _is_local(str(address[0])) or is_container(str(address[0])):
        return  # a Unix socket, this machine, or a container on it
    raise RuntimeError(f"a test may only talk to this machine, not to {address[0]}")


def _is_local(host: str) -> bool:
    if host in _LOCAL_NAMES:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False

"""Who this machine is to an image registry, as `docker login` left it."""

from __future__ import annotations

import asyncio
import base64
import json
import os
from pathlib import Path
from typing import Any

import pytest

from apps.core.images.credentials import Credentials, credentials
from apps.core.images.errors import ImageRegistryError

LOGIN = {"auth": base64.b64encode(b"me:pass:word").decode()}
ME = Credentials("me", "pass:word")
# Answers for one host as its protocol says, and refuses the rest
HELPER = """#!/bin/sh
read -r host
case "$host" in
  ghcr.io) echo '{"ServerURL": "ghcr.io", "Username": "me", "Secret": "pass:word"}';;
  acr.example) echo '{"ServerURL": "acr.example", "Username": "<token>", "Secret": "a-token"}';;
  broken.example) exit 3;;
  *) echo "credentials not found in native keychain"; exit 1;;
esac
"""


def asked(tmp_path: Path, host: str, configuration: object) -> Credentials | None:
    """Return the login for *host* where Docker's configuration is *configuration*."""
    (tmp_path / "config.json").write_text(json.dumps(configuration), encoding="utf-8")
    helper = tmp_path / "docker-credential-test"
    helper.write_text(HELPER, encoding="utf-8")
    helper.chmod(0o755)
    environ = {"DOCKER_CONFIG": str(tmp_path), "PATH": f"{tmp_path}{os.pathsep}{os.defpath}"}
    return asyncio.run(credentials(host, environ))


FOUND = [
    pytest.param("ghcr.io", {"auths": {"ghcr.io": LOGIN}}, ME, id="by host"),
    pytest.param("127.0.0.1:5000", {"auths": {"127.0.0.1:5000": LOGIN}}, ME, id="by host and port"),
    pytest.param("ghcr.io", {"auths": {"https://ghcr.io/v1/": LOGIN}}, ME, id="by an old client's address"),
    pytest.param("docker.io", {"auths": {"https://index.docker.io/v1/": LOGIN}}, ME, id="Docker Hub"),
    pytest.param("ghcr.io", {"auths": {"ghcr.io": {"username": "me", "password": "pass:word"}}}, ME, id="in the clear"),
    pytest.param(
        "acr.example",
        {"auths": {"acr.example": {"identitytoken": "a-token"}}},
        Credentials(identity_token="a-token"),
        id="an identity token",
    ),
    pytest.param("ghcr.io", {"credsStore": "test"}, ME, id="a helper for all"),
    pytest.param("ghcr.io", {"credHelpers": {"ghcr.io": "test"}, "auths": {}}, ME, id="a helper for one"),
    pytest.param("acr.example", {"credsStore": "test"}, Credentials(identity_token="a-token"), id="a helper's token"),
    pytest.param("other.example", {"auths": {"ghcr.io": LOGIN}}, None, id="another host's login"),
    pytest.param("other.example", {"credsStore": "test"}, None, id="a helper that knows none"),
    pytest.param("ghcr.io", {"auths": {"ghcr.io.example": LOGIN}}, None, id="a host that only begins alike"),
    pytest.param("ghcr.io", [], None, id="no configuration that we know"),
]


@pytest.mark.parametrize(("host", "configuration", "found"), FOUND)
def test_a_login_is_found_as_docker_finds_it(
    tmp_path: Path, host: str, configuration: Any, found: Credentials | None
) -> None:
    """In the file itself, in its older spellings, or by a helper; a password is never shown."""
    login = asked(tmp_path, host, configuration)

    assert login == found
    assert "pass:word" not in repr(login)


def test_without_a_configuration_nobody_is_logged_in(tmp_path: Path) -> None:
    """A machine where `docker login` never ran."""
    assert asyncio.run(credentials("ghcr.io", {"HOME": str(tmp_path)})) is None


@pytest.mark.parametrize(
    ("host", "configuration", "reason"),
    [
        pytest.param("ghcr.io", {"auths": {"ghcr.io": {"auth": "%%%"}}}, "malformed login", id="no base64"),
        pytest.param("broken.example", {"credsStore": "test"}, "ended with status 3", id="a helper that fails"),
        pytest.param("ghcr.io", {"credsStore": "absent"}, "No such file", id="a helper that is not there"),
    ],
)
def test_a_login_that_cannot_be_read_is_an_error(tmp_path: Path, host: str, configuration: Any, reason: str) -> None:
    """Going on as nobody would end in a refusal that explains nothing."""
    with pytest.raises(ImageRegistryError) as refused:
        asked(tmp_path, host, configuration)

    assert reason in refused.value.details[0]["message"]


def test_a_broken_configuration_is_an_error(tmp_path: Path) -> None:
    """Docker itself would not go on with it either."""
    (tmp_path / "config.json").write_text("{", encoding="utf-8")

    with pytest.raises(ImageRegistryError, match="not reachable"):
        asyncio.run(credentials("ghcr.io", {"DOCKER_CONFIG": str(tmp_path)}))

"""Who this machine is to an image registry: what `docker login` left in Docker's own configuration."""

import asyncio
import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from processor_runtime.errors import Detail

from .errors import ImageRegistryError

_DOCKER_HUB: Final = "docker.io"
_DOCKER_HUB_KEY: Final = "https://index.docker.io/v1/"  # what `docker login` without a host writes
_TOKEN: Final = "<token>"  # noqa: S105  # the name that a helper gives instead of a user's; the secret is then a token


@dataclass(frozen=True, slots=True)
class Credentials:
    """A login.

    Attributes:
        user: The name; ``""`` where there is only a token.
        password: The password of *user*.
        identity_token: What a token service takes instead of both.
    """

    user: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)


async def credentials(host: str, environ: Mapping[str, str]) -> Credentials | None:
    """Return the login for the image registry *host*, or ``None`` where there is none.

    Args:
        host: As in a repository's name: ``ghcr.io``, ``127.0.0.1:5000``.
        environ: `DOCKER_CONFIG` names the folder of Docker's configuration; else it is ``~/.docker``.

    Raises:
        ImageRegistryError: the configuration cannot be read, or its helper fails.

    Source: docker/cli, ``cli/config/configfile``; docker-credential-helpers, protocol of ``get``.
    """
    file = _file(environ)
    key = _DOCKER_HUB_KEY if host == _DOCKER_HUB else host
    configuration = _read(file)
    helper = configuration.get("credHelpers", {}).get(key) or configuration.get("credsStore")
    if helper:
        return await _helped(str(helper), key, environ)
    for name, entry in configuration.get("auths", {}).items():
        if name == key or _host(name) == key:
            return _stored(entry, file)
    return None


def _file(environ: Mapping[str, str]) -> Path:
    folder = environ.get("DOCKER_CONFIG")
    return Path(folder) / "config.json" if folder else Path(environ.get("HOME") or "/") / ".docker" / "config.json"


def _read(file: Path) -> dict[str, Any]:
    try:
        value = json.loads(file.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as exc:
        raise ImageRegistryError(Detail(path=file.name, message="Docker's configuration cannot be read")) from exc
    return value if isinstance(value, dict) else {}


def _host(name: str) -> str:
    # old clients wrote whole addresses
    return name.removeprefix("https://").removeprefix("http://").partition("/")[0]


def _stored(entry: Mapping[str, str], file: Path) -> Credentials:
    user, password = entry.get("username", ""), entry.get("password", "")
    if entry.get("auth"):
        try:
            user, _, password = base64.b64decode(entry["auth"], validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError) as exc:
            raise ImageRegistryError(Detail(path=file.name, message="holds a malformed login: log in again")) from exc
    return Credentials(user, password.rstrip("\0"), entry.get("identitytoken", ""))


async def _helped(helper: str, key: str, environ: Mapping[str, str]) -> Credentials | None:
    program = f"docker-credential-{helper}"
    try:
        process = await asyncio.create_subprocess_exec(
            *(program, "get"),
            env=dict(environ),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
    except OSError as exc:
        raise ImageRegistryError(Detail(path=program, message=exc.strerror or "cannot be started")) from exc
    answer, _ = await process.communicate(key.encode())
    if process.returncode:
        if b"credentials not found" in answer:
            return None
        raise ImageRegistryError(Detail(path=program, message=f"ended with status {process.returncode}"))
    login = json.loads(answer)
    if login["Username"] == _TOKEN:
        return Credentials(identity_token=login["Secret"])
    return Credentials(login["Username"], login["Secret"])

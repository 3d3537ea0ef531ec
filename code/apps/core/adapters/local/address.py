"""Where Docker Engine listens: as the `docker` command finds it."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import orjson

from apps.core.adapters.errors import DockerError
from processor_runtime.errors import Detail

DEFAULT: Final = "unix:///var/run/docker.sock"
_SCHEMES: Final = ("unix://", "tcp://")


def engine_address(environ: Mapping[str, str]) -> str:
    """Return the address of the engine that *environ* names.

    `DOCKER_HOST` wins, then the context that `DOCKER_CONTEXT` or the `docker`
    command's own configuration names, then the usual socket.

    Raises:
        DockerError: such a context is not there, or its address is of another
            kind than a socket or plain TCP: an engine elsewhere does not see
            this machine's folders.

    Source: docs.docker.com, "Docker contexts"; docker/cli, `cli/context/store`.
    """
    address = environ.get("DOCKER_HOST") or _of_context(environ) or DEFAULT
    if not address.startswith(_SCHEMES):
        raise _refused(f"{address}: an engine is reached by {' or '.join(_SCHEMES)}; name one in DOCKER_HOST")
    return address


def _of_context(environ: Mapping[str, str]) -> str:
    folder = Path(environ.get("DOCKER_CONFIG") or Path(environ.get("HOME") or "/") / ".docker")
    name = environ.get("DOCKER_CONTEXT") or str(_json(folder / "config.json").get("currentContext") or "default")
    if name == "default":
        return ""
    meta = _json(folder / "contexts" / "meta" / hashlib.sha256(name.encode()).hexdigest() / "meta.json")
    try:
        return str(meta["Endpoints"]["docker"]["Host"])
    except (KeyError, TypeError):
        raise _refused(f"there is no docker context {name!r}: see `docker context ls`") from None


def _json(path: Path) -> dict[str, Any]:
    try:
        value = orjson.loads(path.read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return {}
    return value if isinstance(value, dict) else {}


def _refused(message: str) -> DockerError:
    return DockerError(Detail(path="DOCKER_HOST", message=message))

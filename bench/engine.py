"""Docker's own steps, one after another over its socket: what running a container costs without an adapter."""

from __future__ import annotations

import http.client
import json
import os
import socket
import time
from pathlib import Path
from typing import Any, Final

from .environments import SkippedError

_SOCKET: Final = Path("/var/run/docker.sock")
_ANSWER_S: Final = 60.0
_HEALTHY_S: Final = 60.0
_POLL_S: Final = 0.005
PORT: Final = 8000


class Engine:
    """The engine behind the usual socket.

    Raises:
        SkippedError: there is none.
    """

    def __init__(self) -> None:
        if os.environ.get("DOCKER_HOST") or not _SOCKET.is_socket():
            raise SkippedError(f"no Docker Engine at {_SOCKET}: `make docker` starts one where it can")
        self.ask("GET", "/_ping")

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """Return what the engine answers, as JSON where it is some.

        Raises:
            SkippedError: it refused.
        """
        connection = _OverSocket("localhost", timeout=_ANSWER_S)
        try:
            headers = {"Content-Type": "application/json"}
            connection.request(method, path, json.dumps(body) if body is not None else None, headers)
            response = connection.getresponse()
            raw = response.read()
        except OSError as exc:
            raise SkippedError(f"the Docker Engine does not answer: {exc}") from exc
        finally:
            connection.close()
        if response.status >= 400:  # noqa: PLR2004  # a refusal
            raise SkippedError(f"{method} {path}: {raw.decode(errors='replace')[:300]}")
        return json.loads(raw) if raw.startswith((b"{", b"[")) else raw

    def create(self, config: dict[str, Any]) -> str:
        """Make a container; return its id."""
        made: str = self.ask("POST", "/containers/create", config)["Id"]
        return made

    def start(self, container: str) -> str:
        """Start a container; return its address on its network."""
        self.ask("POST", f"/containers/{container}/start")
        networks = self.ask("GET", f"/containers/{container}/json")["NetworkSettings"]["Networks"]
        address: str = next(iter(networks.values()))["IPAddress"]
        return address

    def remove(self, container: str) -> None:
        """Remove a container, whatever it does."""
        self.ask("DELETE", f"/containers/{container}?force=1&v=1")


class _OverSocket(http.client.HTTPConnection):
    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(_ANSWER_S)
        self.sock.connect(str(_SOCKET))


def until_healthy(address: str) -> None:
    """Return when the service at *address* is ready.

    Raises:
        SkippedError: it is not within a minute.
    """
    ends = time.monotonic() + _HEALTHY_S
    while time.monotonic() < ends:
        connection = http.client.HTTPConnection(address, PORT, timeout=_ANSWER_S)
        try:
            connection.request("GET", "/healthz")
            if connection.getresponse().status == http.client.OK:
                return
        except (OSError, http.client.HTTPException):
            pass
        finally:
            connection.close()
        time.sleep(_POLL_S)
    raise SkippedError(f"the container was not healthy within {_HEALTHY_S:.0f} s")


def post(connection: http.client.HTTPConnection, payload: dict[str, Any]) -> None:
    """Post one run over *connection*, which stays open.

    Raises:
        SkippedError: it did not succeed.
    """
    connection.request("POST", "/run", json.dumps(payload), {"Content-Type": "application/json"})
    response = connection.getresponse()
    body = response.read()
    if response.status != http.client.OK:
        raise SkippedError(f"the container answered {response.status}: {body[:200]!r}")


def connected(address: str) -> http.client.HTTPConnection:
    """Return a connection to the service at *address*."""
    return http.client.HTTPConnection(address, PORT, timeout=_ANSWER_S)

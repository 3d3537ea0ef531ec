"""What a server is to the driver: a command, its requests, and what a right answer holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from .environments import Environment

Kind = Literal["limit", "peer", "ours"]
Argv = Callable[[Path, int], list[str]]

ID: Final = "@EXECUTION-ID--@"  # as long as what takes its place, so that Content-Length stands
COUNT: Final = "@COUNT@"


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request.

    Attributes:
        path: Its target.
        body: JSON; `ID` stands for an id that no other request has.
        status: What a right answer has.
        holds: What the body of a right answer holds.
        headers: Beyond Host, Content-Type and Content-Length.
    """

    path: str
    body: str
    status: int = 200
    holds: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)

    def raw(self, host: str) -> bytes:
        """Return the request as it goes over the wire to *host*."""
        body = self.body.encode()
        lines = [
            f"POST {self.path} HTTP/1.1",
            f"Host: {host}",
            "Content-Type: application/json",
            f"Content-Length: {len(body)}",
            *(f"{name}: {value}" for name, value in self.headers.items()),
        ]
        return "\r\n".join([*lines, "", ""]).encode() + body


@dataclass(frozen=True, slots=True)
class Stream:
    """How a subject streams tokens.

    Attributes:
        path: Where it is asked.
        body: JSON; `COUNT` stands for how many tokens, `ID` as in `Request`.
        event: What each event on the wire holds exactly once.
        token: What stands in the answer exactly once for each token.
        headers: As in `Request`.
    """

    path: str
    body: str
    event: bytes
    token: bytes = b"tok "
    headers: Mapping[str, str] = field(default_factory=dict)

    def request(self, tokens: int) -> Request:
        """Return the request for *tokens* tokens."""
        return Request(self.path, self.body.replace(COUNT, str(tokens)), headers=self.headers)


@dataclass(frozen=True, slots=True)
class Subject:
    """One server that is measured.

    Attributes:
        name: As in the results.
        kind: ``limit`` does nothing but the work, ``peer`` is somebody else's server, ``ours`` keeps the contract.
        label: What readers see.
        environment: What it is installed from.
        argv: Makes its command line of the environment's folder and a port.
        cwd: Where it is started.
        health: The path that says whether it is ready.
        environ: Added to the environment; `{port}`, `{other}`, `{third}` are free ports, `{files}` the folder where
            files go, or nothing, and `{artifacts}` a folder that is always there.
        requests: By what they ask for: ``echo``, ``file``, ``refusal``, ``replay``.
        stream: How it streams, or ``None``.
    """

    name: str
    kind: Kind
    label: str
    environment: Environment
    argv: Argv
    cwd: Path
    health: str
    environ: Mapping[str, str] = field(default_factory=dict)
    requests: Mapping[str, Request] = field(default_factory=dict)
    stream: Stream | None = None

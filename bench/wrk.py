"""`wrk`, the load generator: one thread, keep-alive, every request with an id of its own."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass

from . import tools
from .ids import fresh_tag
from .paths import BENCH, VAR
from .server import Server
from .subjects import Request

_TIMEOUT_S = 20


@dataclass(frozen=True, slots=True)
class Load:
    """What one load came to.

    Attributes:
        seconds: How long it went on.
        right: Answers with the expected status.
        failures: Answers with another one, and connections that broke or timed out.
        p50_ms: Half of the answers came faster; the failures' too, wrk cannot tell them apart.
        p99_ms: Of a hundred answers, ninety-nine came faster.
    """

    seconds: float
    right: int
    failures: int
    p50_ms: float
    p99_ms: float

    @property
    def rate(self) -> float:
        """Right answers a second."""
        return self.right / self.seconds

    @property
    def failed_share(self) -> float:
        """The share of all answers that were failures, 0 to 1."""
        return self.failures / max(self.right + self.failures, 1)


class WrkError(ValueError):
    """wrk said something that is no outcome."""


def parse(output: str, *, refused: bool = False) -> Load:
    """Return the load that wrk's *output* tells of.

    Args:
        output: All that wrk wrote; the last line is the script's.
        refused: Whether an error status is the right answer, and every other one a failure.

    Raises:
        WrkError: there is no such line, or it lacks a number.
    """
    try:
        found = json.loads(output.strip().splitlines()[-1])
        errors = found["status"]
        broken = found["connect"] + found["read"] + found["write"] + found["timeout"]
        right = errors if refused else found["requests"] - errors
        return Load(
            seconds=float(found["seconds"]),
            right=right,
            failures=found["requests"] - right + broken,
            p50_ms=found["p50_us"] / 1000,
            p99_ms=found["p99_us"] / 1000,
        )
    except (IndexError, KeyError, TypeError, ValueError) as exc:
        raise WrkError(f"no outcome in what wrk said: {output[-300:]!r}") from exc


def load(server: Server, request: Request, *, connections: int, seconds: float) -> Load:
    """Send *request* over and over for *seconds*, over *connections* connections."""
    file = VAR / "request.http"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(request.raw(server.host))
    done = subprocess.run(
        [
            *("wrk", "--threads", "1", "--connections", str(connections), "--duration", f"{max(1, round(seconds))}s"),
            *("--timeout", f"{_TIMEOUT_S}s", "--script", str(BENCH / "wrk.lua"), f"http://{server.host}{request.path}"),
            *("--", str(file), fresh_tag()),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise WrkError(f"wrk ended with status {done.returncode}: {done.stderr.strip()[-300:]}")
    return parse(done.stdout, refused=request.status >= 400)  # noqa: PLR2004  # what wrk counts as an error


def version() -> str:
    """Return wrk's version; it is installed where it is missing and may be.

    Raises:
        SkippedError: it is not there.
    """
    tools.ensure("wrk")
    said = subprocess.run(["wrk", "--version"], capture_output=True, text=True, check=False).stdout
    return said.split(" [")[0].removeprefix("wrk ").strip()

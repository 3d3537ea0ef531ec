"""What no framework can be faster than, and what a plain one costs: both in the environment of our own processor."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from bench import environments, paths
from bench.subjects import COUNT, Request, Stream, Subject

from .texts import TEXT


def _uvicorn(app: str) -> Callable[[Path, int], list[str]]:
    """Return what starts *app* as peers start theirs; the access log would cost more than the work."""
    return lambda folder, port: [
        *(f"{folder}/bin/uvicorn", app, "--host", "127.0.0.1", "--port", str(port)),
        *("--no-access-log", "--log-level", "warning"),
    ]


_ENVIRON = {"PYTHONPATH": str(paths.PEERS), "BENCH_FILES": "{files}"}
_BARE = Request("/", json.dumps({"text": TEXT}), holds=TEXT)
_FASTAPI = Request("/echo", json.dumps({"text": TEXT}), holds=TEXT)

LIMITS = (
    Subject(
        name="bare",
        kind="limit",
        label="bare ASGI callable on uvicorn",
        environment=environments.ours(),
        argv=_uvicorn("bare:app"),
        cwd=paths.LIMITS,
        health="/healthz",
        environ=_ENVIRON,
        requests={"echo": _BARE, "file": _BARE},
        stream=Stream("/stream", f'{{"tokens": {COUNT}}}', b"tok "),
    ),
    Subject(
        name="fastapi",
        kind="limit",
        label="plain FastAPI on uvicorn",
        environment=environments.ours(),
        argv=_uvicorn("plain_fastapi:app"),
        cwd=paths.LIMITS,
        health="/healthz",
        environ=_ENVIRON,
        requests={"echo": _FASTAPI, "file": _FASTAPI},
    ),
)

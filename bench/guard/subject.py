"""What the guard counts: so many requests to one ASGI app, without a server: `python subject.py APP COUNT FOLDER`.

Under callgrind, which counts from here on only between the first requests, which fill caches, and the last one.
APP is ``ours`` (a run of one output, the whole contract), ``refusal``, ``bare`` (one file, nothing else) or
``slow``: ours, with a handler that wastes what the guard has to notice.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import uvloop

Message = dict[str, Any]
App = Callable[[Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]]

WARM = 20
_WASTED = 40_000  # turns of an empty loop: a quarter of a millisecond


def payload(number: int, params: dict[str, Any]) -> bytes:
    """Return the body of request *number*."""
    body = {
        "schema": "v1",
        "execution_id": f"guard-{number:08d}",
        "write_prefix": "/artifacts/outputs/{execution_id}/",
        "mode": "mock",
        "inputs": {"schema": "v1", "params": params},
    }
    return json.dumps(body).encode()


async def ask(app: App, body: bytes) -> tuple[int, bytes]:
    """Return status and body of what *app* answers to one request."""
    messages: list[Message] = []
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/run",
        "query_string": b"",
        "headers": [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))],
    }

    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Message) -> None:  # ASGI's shape
        messages.append(message)

    await app(scope, receive, send)
    return messages[0]["status"], messages[1]["body"]


def bare(folder: Path) -> App:
    """Return the limit: a file for each request, and its body for an answer."""
    work = importlib.import_module("work")  # in the folder of the peers, on the path
    os.makedirs(folder, exist_ok=True)  # noqa: PTH103

    async def app(_scope: Message, receive: Any, send: Any) -> None:
        body = (await receive())["body"]
        work.answer("")
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return app


def counting(state: str) -> None:
    """Let callgrind count from now on, or no more; *state* is ``on`` or ``off``."""
    subprocess.run(["callgrind_control", "-i", state, str(os.getpid())], check=True, capture_output=True)


def main() -> int:
    """Ask as often as the command line says; 1 as soon as an answer is wrong."""
    name, count, folder = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    # the processor that the driver has laid out, on the path
    app: App = bare(folder) if name == "bare" else importlib.import_module("app.http").app
    wanted = 400 if name == "refusal" else 200
    params: dict[str, Any] = {"text": 5} if name == "refusal" else {"text": "x" * 200, "size_bytes": 1024}
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(asked(app, count, params, wanted, wasted=_WASTED if name == "slow" else 0))


async def asked(app: App, count: int, params: dict[str, Any], wanted: int, *, wasted: int) -> int:
    """Ask *app* so often, one request after another, with callgrind counting all but the first ones."""
    for number in range(WARM + count):
        if number == WARM:
            counting("on")
        status, body = await ask(app, payload(number, params))
        for _ in range(wasted):
            pass
        if status != wanted:
            sys.stderr.write(f"answered {status}: {body!r}\n")
            return 1
    counting("off")
    return 0


if __name__ == "__main__":
    sys.exit(main())

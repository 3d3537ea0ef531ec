"""An ASGI app without a contract: answers what `params` say, starts as the file `behaviour` beside `app/` says."""

import json
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

BEHAVIOUR = Path(__file__).parents[1] / "behaviour"
behaviour = BEHAVIOUR.read_text(encoding="utf-8") if BEHAVIOUR.exists() else ""

if behaviour == "shout":
    print("printed on import", flush=True)  # noqa: T201  # what is tested
    sys.stderr.write("written on import\n")
if behaviour == "exit":
    sys.stderr.write(f"the token is {os.environ['PROCESSOR_TOKEN']}\n" + "last words\n")
    sys.stderr.flush()
    os._exit(5)

HEALTH = {"starting": (503, {"ok": False, "state": "starting"}), "failed": (503, {"ok": False, "state": "failed"})}


async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    """Answer `/healthz` as the behaviour says, and `/run` as the params say."""
    if scope["type"] != "http":
        await _lifespan(receive, send)
    elif scope["path"] == "/healthz":
        status, body = HEALTH.get(behaviour, (200, {"ok": True}))
        await _answer(send, status, json.dumps(body).encode(), "application/json")
    else:
        payload = json.loads(await _body(receive))
        wanted = payload["inputs"]["params"]
        await _answer(send, wanted["status"], wanted["body"].encode(), wanted.get("type", "application/json"))


async def _lifespan(receive: Receive, send: Send) -> None:
    for step in ("startup", "shutdown"):
        await receive()
        await send({"type": f"lifespan.{step}.complete"})


async def _body(receive: Receive) -> bytes:
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body


async def _answer(send: Send, status: int, body: bytes, media_type: str) -> None:
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", media_type.encode())]})
    await send({"type": "http.response.body", "body": body})

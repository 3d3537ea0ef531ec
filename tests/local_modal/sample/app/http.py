"""The sample's image: plain ASGI, so that no framework is between a test and what it looks at.

A path names what is to be done, and the body says with what.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import IO, Any, Final

import modal

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

ARTIFACTS: Final = Path(os.environ["PROCESSOR_ARTIFACTS_DIR"])
POLL_S: Final = 0.01

held: list[IO[bytes]] = []


async def app(scope: Message, receive: Receive, send: Send) -> None:
    """Serve one connection, or the lifespan."""
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
        return
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    text = body.decode()
    if scope["path"] == "/stream":
        await stream(int(text), send)
        return
    status, answer = 200, ""
    try:
        answer = await answers(scope, text, receive)
    except FileNotFoundError:
        status = 404
    except RuntimeError as exc:  # what the SDK makes of a volume that is busy
        status, answer = 409, str(exc)
    await send({"type": "http.response.start", "status": status, "headers": [(b"x-app", b"sample")]})
    await send({"type": "http.response.body", "body": answer.encode()})


async def lifespan(receive: Receive, send: Send) -> None:
    """Start and stop, saying so."""
    while True:
        message = await receive()
        sys.stderr.write(f"{message['type']}\n")
        sys.stderr.flush()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def answers(scope: Message, text: str, receive: Receive) -> str:
    """Do what the path says."""
    match scope["path"]:
        case "/echo":
            sys.stdout.write(f"said {text}\n")
            headers = {name.decode(): value.decode() for name, value in scope["headers"]}
            asked = {"method": scope["method"], "query": scope["query_string"].decode(), "headers": headers}
            return json.dumps(asked | {"text": text, "length": len(text)})
        case "/environ":
            return json.dumps(dict(os.environ))
        case "/wait":  # until the test makes the file
            await exists(Path(text))
            return "waited"
        case "/disconnect":
            note(text, "asked")
            note(text, (await receive())["type"])
        case "/crash":
            os.kill(os.getpid(), signal.SIGKILL)
        case "/fail":
            raise ValueError(text)
        case _:
            return await volume_answers(scope["path"], text)
    return ""


async def volume_answers(path: str, text: str) -> str:
    """Do what the path says with a file of the volume, or with the volume."""
    volume = modal.Volume.from_name("artifacts", environment_name=os.environ["MODAL_ENVIRONMENT"])
    file = ARTIFACTS / text
    match path:
        case "/write":
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"written to {text}")
        case "/read":
            return file.read_text()
        case "/remove":
            file.unlink()
        case "/hold":
            held.append(file.open("rb"))
        case "/release":
            held.pop().close()
        case "/commit":
            await asyncio.to_thread(volume.commit)
        case "/reload":
            await asyncio.to_thread(volume.reload)
    return ""


async def stream(count: int, send: Send) -> None:
    """Send *count* events; each but the first waits for a file of its number beside /artifacts."""
    headers = [(b"content-type", b"text/event-stream")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    for number in range(count):
        if number:
            await exists(ARTIFACTS / str(number))
        await send({"type": "http.response.body", "body": b"data: %d\n\n" % number, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


def note(path: str, text: str) -> None:
    """Tell the test something, by a file."""
    Path(path).write_text(text)


async def exists(path: Path) -> None:
    """Return once the test has made *path*."""
    while not await asyncio.to_thread(path.exists):  # noqa: ASYNC110  # another process makes it
        await asyncio.sleep(POLL_S)

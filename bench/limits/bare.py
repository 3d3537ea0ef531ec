"""The limit: an ASGI callable that reads the body and answers it, without a framework. `/stream` streams."""

import asyncio
import json

import work

_JSON = (b"content-type", b"application/json")


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    message = await receive()
    body = message.get("body", b"")
    while message.get("more_body", False):
        message = await receive()
        body += message.get("body", b"")
    if scope["path"] == "/stream":
        await send({"type": "http.response.start", "status": 200, "headers": [_JSON]})
        for _ in range(json.loads(body)["tokens"]):
            await asyncio.sleep(0)
            await send({"type": "http.response.body", "body": work.WORD.encode(), "more_body": True})
        await send({"type": "http.response.body", "body": b""})
        return
    work.answer("")
    headers = [_JSON, (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})

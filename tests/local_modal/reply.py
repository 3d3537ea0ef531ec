"""What a request may get instead of its function's answer: planted by tests with `Web.play` and `Web.always`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from aiohttp import web

Play = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


def cut(request: web.BaseRequest) -> None:
    """Break the connection of *request*."""
    if request.transport is not None:
        request.transport.abort()


def reply_text(status: int, text: str, content_type: str = "text/plain", **headers: str) -> Play:
    """Return a whole answer; an underscore in a header's name stands for a hyphen."""

    async def reply(_: web.BaseRequest) -> web.StreamResponse:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return web.Response(status=status, text=text, content_type=content_type, headers=named)

    return reply


def reply_modal(status: int, text: str) -> Play:
    """Return an answer of Modal's proxy, such as ``reply_modal(404, "invalid function call")``."""
    return reply_text(status, f"modal-http: {text}")


def reply_html(status: int = 200) -> Play:
    """Return a page: what a proxy on the way may say."""
    return reply_text(status, "<html><body>Sign in, please</body></html>", "text/html")


def reply_busy() -> Play:
    """Return Modal's answer to too many requests a second."""
    return reply_modal(429, "rate limit exceeded")


def reply_redirect(location: str, status: int = 303) -> Play:
    """Return a redirect to *location*, wherever that is."""

    async def reply(_: web.BaseRequest) -> web.StreamResponse:
        return web.Response(status=status, headers={"Location": location})

    return reply


def reply_redirect_to_self(parameter: str, wait_s: float = 0) -> Play:
    """Return a redirect to the same address with *parameter*, after a while: a chain that never ends."""

    async def reply(request: web.BaseRequest) -> web.StreamResponse:
        await asyncio.sleep(wait_s)
        location = request.url.update_query({parameter: "fc-0000000000000000000000"})
        return web.Response(status=303, headers={"Location": str(location)})

    return reply


def reply_cut(chunks: tuple[bytes, ...], content_type: str = "text/event-stream") -> Play:
    """Return *chunks*, then break the connection, though more was due."""

    async def reply(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": content_type})
        await response.prepare(request)
        for chunk in chunks:
            await response.write(chunk)
        cut(request)
        return response

    return reply


def reply_drop() -> Play:
    """Return nothing: the connection breaks."""

    async def reply(request: web.BaseRequest) -> web.StreamResponse:
        cut(request)
        return web.Response()

    return reply


def reply_silence() -> Play:
    """Return nothing, ever."""

    async def reply(_: web.BaseRequest) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError

    return reply

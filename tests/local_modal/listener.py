"""An HTTP server on a free port of this machine, in the event loop that starts it."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import web

_SHUTDOWN_S: Final = 0.1  # then whoever still waits for an answer is cut off

Serve = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


def loopback_socket(port: int = 0) -> socket.socket:
    """Return a bound socket. asyncio sets TCP_NODELAY only where the protocol is named: else each call costs 40 ms."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("127.0.0.1", port))
    return sock


class Listener:
    """Serves every request by one coroutine; it is cancelled when its client goes away.

    Args:
        serve: Answers a request.
    """

    def __init__(self, serve: Serve) -> None:
        self._serve = serve
        self._runner: web.ServerRunner | None = None
        self.url = ""

    async def start(self) -> None:
        """Begin to listen; `url` is the origin then."""
        sock = loopback_socket()
        self.url = f"http://127.0.0.1:{sock.getsockname()[1]}"
        server = web.Server(self._serve, handler_cancellation=True, access_log=None)
        self._runner = web.ServerRunner(server, shutdown_timeout=_SHUTDOWN_S)
        await self._runner.setup()
        await web.SockSite(self._runner, sock).start()

    async def stop(self) -> None:
        """Close the port and every connection."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

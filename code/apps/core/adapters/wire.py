"""Plain HTTP/1.1 to one processor, under httpx2: over TCP or a Unix socket, connections kept.

Not httpcore, httpx2's usual transport: it takes a millisecond of each request, and
a run in a warm container has two. No TLS, no proxies, no redirects: what it
talks to is on this machine.
"""

import asyncio
import contextlib
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

import h11
import httpx2

Connect = Callable[[], Awaitable[tuple[StreamReader, StreamWriter]]]

IDLE_S: Final = 2.0  # uvicorn closes what was idle for 5 s: a request on its way then would be lost
_READ_BYTES: Final = 64 * 1024


class Wire(httpx2.AsyncBaseTransport):
    """Sends requests over connections that *connect* opens, as many as there are requests at a time."""

    def __init__(self, connect: Connect) -> None:
        self._connect = connect
        self._idle: list[_Connection] = []

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Return the answer to *request*, whose body is still to be read.

        Raises:
            httpx2.TransportError: as httpx2 names them: not connected, lost, too late, or no HTTP.
        """
        connection = self._free() or await self._opened(request)
        try:
            head = await connection.ask(request)
        except BaseException:
            connection.close()
            raise
        stream = _Body(connection, self._idle, _timeout(request, "read"))
        return httpx2.Response(head.status_code, headers=list(head.headers), stream=stream)

    async def aclose(self) -> None:
        """Close every connection that is idle."""
        while self._idle:
            self._idle.pop().close()

    def _free(self) -> "_Connection | None":
        while self._idle:
            connection = self._idle.pop()
            if connection.usable:
                return connection
            connection.close()
        return None

    async def _opened(self, request: httpx2.Request) -> "_Connection":
        try:
            async with asyncio.timeout(_timeout(request, "connect")):
                return _Connection(*await self._connect())
        except TimeoutError as exc:
            raise httpx2.ConnectTimeout("no connection in time") from exc
        except OSError as exc:
            raise httpx2.ConnectError(str(exc)) from exc


class _Connection:
    """One connection: one exchange at a time."""

    def __init__(self, reader: StreamReader, writer: StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._state = h11.Connection(h11.CLIENT)
        self._since = 0.0

    @property
    def usable(self) -> bool:
        """Whether another request may be sent: the other side has not closed it, and is not about to."""
        fresh = asyncio.get_running_loop().time() - self._since < IDLE_S
        return fresh and not self._reader.at_eof() and not self._writer.is_closing()

    async def ask(self, request: httpx2.Request) -> h11.Response:
        """Send *request*; return the head of its answer."""
        target = request.url.raw_path
        head = h11.Request(method=request.method, target=target, headers=request.headers.raw)
        body = await request.aread()
        try:
            data = self._state.send(head) or b""
            data += (self._state.send(h11.Data(data=body)) or b"") if body else b""
            self._writer.write(data + (self._state.send(h11.EndOfMessage()) or b""))
            async with asyncio.timeout(_timeout(request, "write")):
                await self._writer.drain()
        except TimeoutError as exc:
            raise httpx2.WriteTimeout("not sent in time") from exc
        except OSError as exc:
            raise httpx2.WriteError(str(exc)) from exc
        while True:
            event = await self.event(_timeout(request, "read"))
            if isinstance(event, h11.Response):
                return event
            if not isinstance(event, h11.InformationalResponse):
                raise httpx2.RemoteProtocolError("closed without an answer")

    async def event(self, timeout_s: float | None) -> object:
        """Return what comes next, as h11 has it."""
        try:
            while True:
                event = self._state.next_event()
                if event is not h11.NEED_DATA:
                    return event
                async with asyncio.timeout(timeout_s):
                    self._state.receive_data(await self._reader.read(_READ_BYTES))
        except TimeoutError as exc:
            raise httpx2.ReadTimeout("nothing came in time") from exc
        except OSError as exc:
            raise httpx2.ReadError(str(exc)) from exc
        except h11.RemoteProtocolError as exc:
            raise httpx2.RemoteProtocolError(str(exc)) from exc

    def again(self) -> bool:
        """Make ready for another exchange; whether there can be one."""
        if self._state.our_state is not h11.DONE or self._state.their_state is not h11.DONE:
            return False
        self._state.start_next_cycle()
        self._since = asyncio.get_running_loop().time()
        return True

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._writer.close()


class _Body(httpx2.AsyncByteStream):
    """The body of an answer; when it was read to its end, the connection is free again."""

    def __init__(self, connection: _Connection, idle: list[_Connection], timeout_s: float | None) -> None:
        self._connection = connection
        self._idle = idle
        self._timeout_s = timeout_s

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while isinstance(event := await self._connection.event(self._timeout_s), h11.Data):
            yield bytes(event.data)

    async def aclose(self) -> None:
        if self._connection.again():
            self._idle.append(self._connection)
        else:
            self._connection.close()


def _timeout(request: httpx2.Request, name: str) -> float | None:
    timeouts: dict[str, float | None] = request.extensions.get("timeout", {})
    return timeouts.get(name)

"""A small HTTP client that costs little: it sends what it is given, and watches for the end and for marks."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, Final, Self, TypeVar, cast

import uvloop

from .environments import SkippedError

T = TypeVar("T")

_HEAD_END: Final = b"\r\n\r\n"
_CHUNKS_END: Final = b"0\r\n\r\n"
_ANSWER_S: Final = 120.0


@dataclass(slots=True)
class Exchange:
    """One request and what came back.

    Attributes:
        status: HTTP status, 0 until it is known.
        first_s: From sending to the first mark, or ``None`` where none came.
        seconds: From sending to the end of the answer.
        marks: How often each mark was seen.
        body: The answer's bytes, kept only where no mark is watched for.
    """

    status: int
    first_s: float | None
    seconds: float
    marks: list[int]
    body: bytes


class Connection(asyncio.Protocol):
    """One keep-alive connection; one request at a time."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport
        self._done: asyncio.Future[None] | None = None
        self._head = bytearray()
        self._in_head = True
        self._length: int | None = None
        self._chunked = False
        self._left = 0
        self._tail = b""
        self._marks: tuple[bytes, ...] = ()
        self._counts: list[int] = []
        self._status = 0
        self._began = 0.0
        self._first_s: float | None = None
        self._body = bytearray()

    @classmethod
    async def open(cls, port: int) -> Self:
        """Return a connection to *port* on this machine."""
        _, connection = await asyncio.get_running_loop().create_connection(cls, "127.0.0.1", port)
        return connection

    async def ask(self, raw: bytes, *marks: bytes) -> Exchange:
        """Send *raw*, a whole request; return when its answer is complete.

        Args:
            raw: As it goes over the wire.
            marks: What to count in the answer. The first one is timed.

        Raises:
            SkippedError: no whole answer came.
        """
        self._head.clear()
        self._body.clear()
        self._in_head, self._tail, self._first_s = True, b"", None
        self._marks, self._counts = marks, [0] * len(marks)
        self._done = asyncio.get_running_loop().create_future()
        self._began = time.perf_counter()
        self._transport.write(raw)
        try:
            async with asyncio.timeout(_ANSWER_S):
                await self._done
        except TimeoutError:
            raise SkippedError(f"no whole answer within {_ANSWER_S:.0f} s") from None
        seconds = time.perf_counter() - self._began
        return Exchange(self._status, self._first_s, seconds, self._counts, bytes(self._body))

    def close(self) -> None:
        """Close it, whatever is under way."""
        self._transport.close()

    # --- asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)  # what TCP has; uvloop's own is none by name

    def data_received(self, data: bytes) -> None:
        """Take a part of the answer."""
        if self._in_head:
            self._head += data
            head, end, data = bytes(self._head).partition(_HEAD_END)
            if not end:
                return
            self._in_head = False
            self._read_head(head)
        self._read_body(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """End the answer that is under way, well where its end is the connection's."""
        if self._done is None or self._done.done():
            return
        if self._in_head or self._chunked or self._length is not None:
            self._done.set_exception(SkippedError(f"the connection broke: {exc or 'closed'}"))
        else:
            self._done.set_result(None)  # an answer without a length ends with its connection

    def _read_head(self, head: bytes) -> None:
        status, *lines = head.split(b"\r\n")
        self._status = int(status.split(b" ", 2)[1])
        fields = {name.lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines)}
        self._length = int(fields[b"content-length"]) if b"content-length" in fields else None
        self._chunked = b"transfer-encoding" in fields
        self._left = self._length or 0

    def _read_body(self, data: bytes) -> None:
        if self._marks:
            self._count(data)
        else:
            self._body += data
        self._left -= len(data)
        ended = self._left <= 0 if self._length is not None else self._chunked and self._at_end(data)
        self._tail = (self._tail + data)[-64:]
        if ended and self._done is not None and not self._done.done():
            self._done.set_result(None)

    def _at_end(self, data: bytes) -> bool:
        return (self._tail + data).endswith(_CHUNKS_END)

    def _count(self, data: bytes) -> None:
        for number, mark in enumerate(self._marks):
            # a mark may be torn: the end of what came before is looked at again, too short to hold a whole one
            seen = (self._tail[-(len(mark) - 1) :] + data if len(mark) > 1 else data).count(mark)
            self._counts[number] += seen
            if seen and not number and self._first_s is None:
                self._first_s = time.perf_counter() - self._began


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run *main* on the event loop that costs least."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)

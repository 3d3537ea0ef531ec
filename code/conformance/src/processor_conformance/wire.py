"""HTTP as the kit needs it: any bytes out, whatever comes back, and never without an end.

One connection per request. Every exchange has a deadline and a size limit, so
that a silent server, an endless stream or a huge answer cannot hold the kit.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final
from urllib.parse import urlsplit

import h11

from .outcome import brief, expect

ANSWER_S: Final = 20.0
LARGEST: Final = 32 * 1024 * 1024
_CHUNK: Final = 64 * 1024

Headers = Sequence[tuple[str, str]]


class WireError(Exception):
    """No answer came, or none that is HTTP.

    *refused* if nobody listens or the connection was closed unanswered, *late* if time was over.
    """

    def __init__(self, sent: str, seen: str, *, refused: bool = False, late: bool = False) -> None:
        super().__init__(seen)
        self.sent = sent
        self.seen = seen
        self.refused = refused
        self.late = late


@dataclass(frozen=True)
class Answer:
    """What came back, and for what.

    Attributes:
        sent: The request in short words; holds no secret.
        method: Of the request.
        path: Of the request.
        status: HTTP status.
        headers: In lower case; of several with one name, all.
        body: The whole body, decoded from its transfer coding.
        seconds: From the first byte sent to the last one read.
    """

    sent: str
    method: str
    path: str
    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes = field(repr=False)
    seconds: float

    def header(self, name: str) -> str | None:
        """Return the value of a header, ``None`` where it is absent."""
        return next((value for key, value in self.headers if key == name), None)

    @property
    def media_type(self) -> str:
        """The media type without parameters, in lower case."""
        return (self.header("content-type") or "").partition(";")[0].strip().lower()

    @property
    def replayed(self) -> bool:
        """Whether the service says that it did not run this request again."""
        return self.header("idempotent-replayed") == "true"

    @cached_property
    def document(self) -> Any:
        """The body as JSON, ``None`` where it is none."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None

    @cached_property
    def envelope(self) -> dict[str, Any]:
        """The body as a JSON object, empty where it is none."""
        return self.document if isinstance(self.document, dict) else {}

    @property
    def code(self) -> str:
        """The error's code, ``""`` where there is none."""
        return str(self._error.get("code", ""))

    @property
    def message(self) -> str:
        """The error's message, ``""`` where there is none."""
        return str(self._error.get("message", ""))

    @property
    def details(self) -> list[Any]:
        """The error's details, empty where there are none."""
        details = self._error.get("details")
        return details if isinstance(details, list) else []

    @property
    def _error(self) -> dict[str, Any]:
        error = self.envelope.get("error")
        return error if isinstance(error, dict) else {}

    @property
    def in_short(self) -> str:
        """Status and what the body says, for a report."""
        if self.code:
            details = f" {json.dumps(self.details, ensure_ascii=False)}" if self.details else ""
            return brief(f'{self.status} {self.code} "{self.message}"{details}')
        return brief(f"{self.status} {self.body[:600].decode(errors='replace')}".strip())

    # --- what is expected

    def expect(self, holds: object, expected: str, seen: object = None) -> None:
        """Return if *holds* is true.

        Raises:
            FailedError: it is not.
        """
        expect(holds, sent=self.sent, expected=expected, seen=self.in_short if seen is None else seen)

    def expect_refused(self, status: int, code: str, message: str = "") -> None:
        """Return if this is the error envelope with *status*, *code* and, where given, *message*.

        Raises:
            FailedError: it is anything else.
        """
        same = (self.status, self.code, self.envelope.get("status")) == (status, code, "error")
        told = f' "{message}"' if message else ""
        self.expect(same and message in {"", self.message}, f"{status} {code}{told}")

    def expect_ok(self) -> None:
        """Return if this is what `/healthz` says when it is ready, and whatever else it says (C-HEALTH-01 judges that).

        Raises:
            FailedError: it says anything else.
        """
        ok = isinstance(self.document, dict) and self.document.get("ok") is True
        self.expect(self.status == 200 and ok, "200 and `ok` true")  # noqa: PLR2004

    def expect_success(self) -> None:
        """Return if this is a success envelope.

        Raises:
            FailedError: it is anything else.
        """
        self.expect(self.status == 200 and self.envelope.get("status") == "success", "200 and a success envelope")  # noqa: PLR2004


@dataclass(frozen=True, slots=True)
class Ask:
    """One request.

    Attributes:
        method: Any token.
        path: Sent as it is.
        headers: In this order, after `Host` and `Connection`.
        body: ``None`` for none at all.
        chunked: Whether to send the body in pieces of unannounced length.
        sent: What a report says of the request.
    """

    method: str
    path: str
    headers: Headers = ()
    body: bytes | None = None
    chunked: bool = False
    sent: str = ""


class Exchange:
    """An answer that is still coming: its status and headers are there, the body is read piece by piece.

    `hurry` ends the slowness of a small buffer.
    """

    def __init__(
        self, sent: str, status: int, headers: tuple[tuple[str, str], ...], reading: _Reading, hurry: Callable[[], None]
    ) -> None:
        self.sent = sent
        self.status = status
        self.headers = headers
        self.hurry = hurry
        self._reading = reading

    def header(self, name: str) -> str | None:
        """Return the value of a header, ``None`` where it is absent."""
        return next((value for key, value in self.headers if key == name), None)

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the body as it comes.

        Raises:
            WireError: it breaks off, or has no end.
        """
        size = 0
        while True:
            chunk = await self._reading.chunk()
            if not chunk:
                return
            size += len(chunk)
            if size > LARGEST:
                raise WireError(self.sent, f"an answer of more than {LARGEST} bytes")
            yield chunk


class _Reading:
    """Reads one response off a connection."""

    def __init__(self, sent: str, reader: asyncio.StreamReader, method: str) -> None:
        self._sent = sent
        self._reader = reader
        # h11 wants to know what was asked, because that decides where an answer ends; its bytes are not used
        self._parser = h11.Connection(h11.CLIENT, max_incomplete_event_size=_CHUNK)
        self._parser.send(h11.Request(method=method, target="/", headers=[("host", "kit"), ("connection", "close")]))
        self._parser.send(h11.EndOfMessage())

    async def head(self) -> tuple[int, tuple[tuple[str, str], ...]]:
        while True:
            event = await self._event()
            if isinstance(event, h11.Response):
                headers = ((name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in event.headers)
                return event.status_code, tuple(headers)
            if not isinstance(event, h11.InformationalResponse):
                raise WireError(self._sent, "the connection closed without an answer", refused=True)

    async def chunk(self) -> bytes:
        event = await self._event()
        return bytes(event.data) if isinstance(event, h11.Data) else b""

    async def _event(self) -> object:
        try:
            while True:
                event = self._parser.next_event()
                if event is not h11.NEED_DATA:
                    return event
                data = await self._reader.read(_CHUNK)
                if not data and self._parser.their_state is h11.SEND_RESPONSE:
                    unread, _ = self._parser.trailing_data
                    if unread:
                        raise WireError(self._sent, f"an answer that is not HTTP: {unread[:200]!r}")
                    raise WireError(self._sent, "the connection closed without an answer", refused=True)
                self._parser.receive_data(data)
        except h11.RemoteProtocolError as exc:
            raise WireError(self._sent, f"an answer that is not HTTP: {exc}") from exc
        except OSError as exc:
            raise WireError(self._sent, f"the connection broke: {exc}", refused=True) from exc


class Wire:
    """Speaks to one address.

    Args:
        url: Such as ``http://127.0.0.1:8000``, with or without a path that all paths are below.

    Raises:
        ValueError: it is no such address.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
            raise ValueError(f"not an address such as http://127.0.0.1:8000: {url}")
        self.url = url.rstrip("/")
        self._host = parts.hostname
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._netloc = parts.netloc.rpartition("@")[2]
        self._base = parts.path.rstrip("/")
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None

    async def send(self, ask: Ask, *, within_s: float = ANSWER_S) -> Answer:
        """Return the whole answer to one request.

        Args:
            ask: The request.
            within_s: After that, it counts as not answered.

        Raises:
            WireError: no answer came.
        """
        started = time.monotonic()
        async with self.open(ask, within_s=within_s) as exchange:
            pieces = [piece async for piece in exchange.chunks()]
        seconds = time.monotonic() - started
        return Answer(ask.sent, ask.method, ask.path, exchange.status, exchange.headers, b"".join(pieces), seconds)

    @contextlib.asynccontextmanager
    async def open(self, ask: Ask, *, within_s: float = ANSWER_S, buffer: int = LARGEST) -> AsyncIterator[Exchange]:
        """Give an answer whose body is still coming; leaving closes the connection.

        Args:
            ask: The request.
            within_s: After that, it counts as not answered, even if it has begun.
            buffer: How much of the answer may wait unread on this side.

        Raises:
            WireError: no answer came.
        """
        head, payload = self._written(ask)
        try:
            async with asyncio.timeout(within_s), self._connected(ask.sent, buffer) as (reader, writer):
                reading = _Reading(ask.sent, reader, ask.method)
                writing = asyncio.create_task(_write(writer, head, payload))
                try:
                    status, answered = await reading.head()
                    yield Exchange(ask.sent, status, answered, reading, lambda: _buffer(writer, LARGEST))
                finally:
                    writing.cancel()
        except TimeoutError:
            raise WireError(ask.sent, f"no end of an answer within {within_s:g} s", late=True) from None

    async def talk(self, data: bytes, *, sent: str, within_s: float = ANSWER_S) -> bytes:
        """Return all that comes back for *data*, broken as they may be, until the connection closes.

        Raises:
            WireError: it does not close in time, or there is none.
        """
        try:
            async with asyncio.timeout(within_s), self._connected(sent, LARGEST) as (reader, writer):
                await _write(writer, data, ())
                return await reader.read(-1)
        except TimeoutError:
            raise WireError(sent, f"no end of an answer within {within_s:g} s", late=True) from None
        except OSError as exc:
            raise WireError(sent, f"the connection broke: {exc}", refused=True) from exc

    def _written(self, ask: Ask) -> tuple[bytes, Iterable[bytes]]:
        lines = [f"{ask.method} {self._base}{ask.path} HTTP/1.1", f"Host: {self._netloc}", "Connection: close"]
        lines += [f"{name}: {value}" for name, value in ask.headers]
        pieces: list[bytes] = []
        if ask.body is not None and ask.chunked:
            lines.append("Transfer-Encoding: chunked")
            cut = (ask.body[start : start + _CHUNK] for start in range(0, len(ask.body), _CHUNK))
            pieces = [*(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in cut), b"0\r\n\r\n"]
        elif ask.body is not None:
            lines.append(f"Content-Length: {len(ask.body)}")
            pieces = [ask.body]
        return "\r\n".join([*lines, "", ""]).encode("latin-1"), pieces

    @contextlib.asynccontextmanager
    async def _connected(
        self, sent: str, buffer: int
    ) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        try:
            reader, writer = await asyncio.open_connection(self._host, self._port, ssl=self._tls, limit=buffer)
        except OSError as exc:
            raise WireError(sent, f"no connection: {exc.strerror or exc}", refused=True) from exc
        if buffer < LARGEST:  # else the kernel reads megabytes ahead for a reader that does not read
            _buffer(writer, buffer)
        try:
            yield reader, writer
        finally:
            writer.transport.abort()


def _buffer(writer: asyncio.StreamWriter, size: int) -> None:
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)


async def _write(writer: asyncio.StreamWriter, head: bytes, payload: Iterable[bytes]) -> None:
    """Write what may be written: a server may answer, and close, before it has read all."""
    with contextlib.suppress(OSError):
        writer.write(head)
        for piece in payload:
            writer.write(piece)
            await writer.drain()

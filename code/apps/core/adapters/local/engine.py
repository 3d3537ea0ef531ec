"""The door to Docker Engine: its HTTP API over its socket.

Not aiodocker, whose import alone takes longer than a run may cost over a plain
`docker run` (ADR 0015). HTTP/1.0 is spoken, because then an answer ends with its
connection: there are no chunks to put together, and no pool to keep. Paths have
no version: all that is asked for here is the same in each one since 1.41.
"""

import asyncio
import contextlib
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

import orjson

from apps.core.adapters.errors import DockerError
from processor_runtime.errors import Detail

ASK_S: Final = 120.0  # a start takes a fraction of a second; twenty at once on two cores take many
_CONNECT_S: Final = 10.0
_BAD_REQUEST: Final = 400
NOT_FOUND: Final = 404
CONFLICT: Final = 409

# What each failure of a connection means, and what to do about it. `OSError` stands for all that are not named.
FAILURES: Final[Mapping[type[Exception], str]] = {
    FileNotFoundError: "no engine is there: start Docker, or use --adapter process",
    ConnectionRefusedError: "no engine listens there: start Docker, or use --adapter process",
    PermissionError: "this user may not speak to the engine: join its group (docker), and log in again",
    ConnectionResetError: "the engine went away: see `docker info`, then run `localctl prune`",
    BrokenPipeError: "the engine went away: see `docker info`, then run `localctl prune`",
    asyncio.IncompleteReadError: "the engine went away: see `docker info`, then run `localctl prune`",
    TimeoutError: "the engine did not answer in time: see `docker info`",
    asyncio.LimitOverrunError: "what listens there is no Docker Engine: see DOCKER_HOST",
    ValueError: "what listens there is no Docker Engine: see DOCKER_HOST",
    OSError: "the engine cannot be reached: see `docker info`",
}


class EngineRefusedError(DockerError):
    """The engine answered, and said no: *status* as HTTP has it, *reason* in its own words."""

    def __init__(self, what: str, status: int, reason: str) -> None:
        super().__init__(Detail(path=what, message=reason), status=status)
        self.engine_status = status
        self.reason = reason


def translated(exc: Exception, what: str, address: str) -> DockerError:
    """Return what *exc*, raised while the engine was asked for *what*, means to whoever asked."""
    words = next((FAILURES[base] for base in type(exc).__mro__ if base in FAILURES), type(exc).__name__)
    return DockerError(Detail(path=what, message=f"{address}: {words}"), reason=str(exc))


@dataclass(frozen=True, slots=True)
class Engine:
    """One Docker Engine.

    Attributes:
        address: ``unix:///path`` or ``tcp://host:port``.
    """

    address: str

    async def ask(
        self, method: str, path: str, body: object = None, *, timeout_s: float | None = ASK_S, **query: object
    ) -> Any:
        """Return what the engine answers, parsed; ``None`` where it answers nothing.

        Args:
            method: As HTTP has it.
            path: Such as ``/containers/json``.
            body: Sent as JSON.
            timeout_s: Seconds until the whole answer must be there; ``None`` waits for ever.
            query: Parameters; mappings and lists become JSON.

        Raises:
            EngineRefusedError: the answer is an error.
            DockerError: there is no answer.
        """
        what = f"{method} {path}"
        try:
            async with asyncio.timeout(timeout_s), self._asked(method, path, body, query) as (reader, status, head):
                raw = await reader.read()
                answer = orjson.loads(raw) if _is_whole(raw, head) else None
        except (OSError, EOFError, ValueError, asyncio.LimitOverrunError) as exc:
            raise translated(exc, what, self.address) from exc
        if status >= _BAD_REQUEST:
            raise EngineRefusedError(what, status, _reason(answer))
        return answer

    @asynccontextmanager
    async def stream(self, method: str, path: str, **query: object) -> AsyncIterator[StreamReader]:
        """Give what the engine answers as it comes, without end.

        Raises:
            EngineRefusedError: the answer is an error.
            DockerError: there is no answer; also where it ends too early while it is read.
        """
        what = f"{method} {path}"
        try:
            async with self._asked(method, path, None, query) as (reader, status, _):
                if status >= _BAD_REQUEST:
                    raise EngineRefusedError(what, status, _reason(orjson.loads(await reader.read())))
                yield reader
        except (OSError, EOFError, ValueError, asyncio.LimitOverrunError) as exc:
            raise translated(exc, what, self.address) from exc

    @asynccontextmanager
    async def _asked(
        self, method: str, path: str, body: object, query: Mapping[str, object]
    ) -> AsyncIterator[tuple[StreamReader, int, bytes]]:
        """Send one request; give what follows the head of its answer, its status, and that head in lower case."""
        reader, writer = await self._connected()
        try:
            data = b"" if body is None else orjson.dumps(body)
            target = f"{path}?{urlencode({name: _text(value) for name, value in query.items()})}" if query else path
            head = f"{method} {target} HTTP/1.0\r\nHost: docker\r\n"
            head += f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
            writer.write(head.encode() + data)
            await writer.drain()
            answer = (await reader.readuntil(b"\r\n\r\n")).lower()
            yield reader, _status(answer), answer
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _connected(self) -> tuple[StreamReader, StreamWriter]:
        scheme, _, rest = self.address.partition("://")
        async with asyncio.timeout(_CONNECT_S):
            if scheme == "unix":
                return await asyncio.open_unix_connection(rest)
            host, _, port = rest.rpartition(":")
            return await asyncio.open_connection(host, int(port))


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "1" if value else "0"
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _status(head: bytes) -> int:
    version, _, rest = head.partition(b" ")
    if not version.startswith(b"http/"):
        raise ValueError("no HTTP")
    return int(rest[:3])


def _is_whole(raw: bytes, head: bytes) -> bool:
    """Whether there is an answer in *raw*, all of which came: an engine that goes away ends its connections too.

    Raises:
        asyncio.IncompleteReadError: there should be more.
    """
    _, _, length = head.partition(b"\r\ncontent-length: ")
    expected = int(length.partition(b"\r\n")[0]) if length else None
    if (expected is not None and len(raw) < expected) or (b"\r\ncontent-type: application/json" in head and not raw):
        raise asyncio.IncompleteReadError(raw, expected)
    return bool(raw.strip())


def _reason(answer: object) -> str:
    return str(answer.get("message", answer)) if isinstance(answer, dict) else str(answer)

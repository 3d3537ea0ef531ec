"""HTTP/1.1 as a processor speaks it, over real sockets: kept, lost, late or nonsense."""

from __future__ import annotations

import asyncio
from asyncio import StreamReader, StreamWriter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest

from apps.core.adapters import wire as module
from apps.core.adapters.wire import Wire

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"

Serve = Callable[[bytes, StreamReader, StreamWriter], Awaitable[None]]


class Server:
    """Answers each request with *serve*, and counts connections."""

    def __init__(self, serve: Serve) -> None:
        self.connections = 0
        self.requests: list[bytes] = []
        self.serve = serve

    async def __call__(self, reader: StreamReader, writer: StreamWriter) -> None:
        """Serve one connection until either side closes it."""
        self.connections += 1
        try:
            while not writer.is_closing():
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
                self.requests.append(head + await reader.readexactly(length))
                await self.serve(self.requests[-1], reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client has left
        finally:
            writer.close()


async def plain(_: bytes, __: StreamReader, writer: StreamWriter) -> None:
    """Answer, and keep the connection."""
    writer.write(OK)


def saying(raw: bytes) -> Serve:
    """Return what answers *raw*, and closes."""

    async def serve(_: bytes, __: StreamReader, writer: StreamWriter) -> None:
        writer.write(raw)
        writer.close()

    return serve


def against(server: Server, work: Callable[[httpx2.AsyncClient], Awaitable[Any]], folder: Path) -> Any:
    """Return what *work* makes of a client of *server*."""

    async def main() -> Any:
        path = str(folder / "s")
        async with (
            await asyncio.start_unix_server(server, path),
            httpx2.AsyncClient(
                transport=Wire(lambda: asyncio.open_unix_connection(path)),
                base_url="http://processor",
                timeout=5,
                trust_env=False,
            ) as client,
        ):
            return await work(client)

    return asyncio.run(main())


def test_requests_follow_each_other_on_one_connection(tmp_path: Path) -> None:
    """Method, path, headers and body go out as HTTP."""
    server = Server(plain)

    async def twice(client: httpx2.AsyncClient) -> list[str]:
        return [(await client.post("/run", content=b"body", headers={"x-a": "b"})).text for _ in range(2)]

    assert against(server, twice, tmp_path) == ["ok", "ok"]
    assert server.connections == 1
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /run HTTP/1.1\r\n")
    assert b"x-a: b" in head.lower()
    assert b"host: processor" in head.lower()
    assert body == b"body"


def test_two_at_a_time_have_a_connection_each(tmp_path: Path) -> None:
    """Neither waits for the other."""
    both = asyncio.Barrier(2)

    async def together(_: bytes, __: StreamReader, writer: StreamWriter) -> None:
        await both.wait()
        writer.write(OK)

    server = Server(together)

    async def two(client: httpx2.AsyncClient) -> list[str]:
        return [each.text for each in await asyncio.gather(client.get("/"), client.get("/"))]

    assert against(server, two, tmp_path) == ["ok", "ok"]
    assert server.connections == 2


@pytest.mark.parametrize("how", ["it was closed", "it was idle for long"])
def test_a_connection_that_may_be_lost_is_not_used_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """A request is sent once: better over a new connection than into a closing one."""
    server = Server(saying(OK) if how == "it was closed" else plain)
    if how == "it was idle for long":
        monkeypatch.setattr(module, "IDLE_S", 0.0)

    async def twice(client: httpx2.AsyncClient) -> list[str]:
        first = await client.get("/")
        await asyncio.sleep(0.05)  # for the end of the connection to arrive
        return [first.text, (await client.get("/")).text]

    assert against(server, twice, tmp_path) == ["ok", "ok"]
    assert server.connections == 2


def test_a_body_comes_in_pieces_as_it_is_sent(tmp_path: Path) -> None:
    """Chunked, as a stream of events is; the first piece is there before the last is sent."""
    seen = asyncio.Event()

    async def pieces(_: bytes, __: StreamReader, writer: StreamWriter) -> None:
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n")
        await seen.wait()
        writer.write(b"1\r\nc\r\n0\r\n\r\n")

    async def read(client: httpx2.AsyncClient) -> list[bytes]:
        got = []
        async with client.stream("GET", "/") as response:
            async for piece in response.aiter_bytes():
                got.append(piece)
                seen.set()
        return got

    assert against(Server(pieces), read, tmp_path) == [b"ab", b"c"]


def test_a_reader_that_leaves_closes_its_connection(tmp_path: Path) -> None:
    """What comes after belongs to nobody."""
    server = Server(saying(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\npart"))

    async def leave(client: httpx2.AsyncClient) -> str:
        async with client.stream("GET", "/"):
            pass
        server.serve = plain
        return (await client.get("/")).text

    assert against(server, leave, tmp_path) == "ok"
    assert server.connections == 2


@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        pytest.param(b"", httpx2.RemoteProtocolError, id="closed without an answer"),
        pytest.param(b"HTTP/1.1 200 OK\r\ncontent-le", httpx2.RemoteProtocolError, id="closed in the head"),
        pytest.param(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok", httpx2.RemoteProtocolError, id="in the body"),
        pytest.param(b"SSH-2.0-x\r\n\r\n", httpx2.RemoteProtocolError, id="no HTTP"),
    ],
)
def test_what_is_no_answer_is_named_as_httpx2_does(tmp_path: Path, raw: bytes, kind: type[Exception]) -> None:
    """So that one table translates it (`adapters.http`)."""
    with pytest.raises(kind):
        against(Server(saying(raw)), lambda client: client.get("/"), tmp_path)


def test_an_answer_that_is_late_is_a_timeout(tmp_path: Path) -> None:
    """By the client's own limit."""

    async def never(_: bytes, reader: StreamReader, __: StreamWriter) -> None:
        await reader.read()

    with pytest.raises(httpx2.ReadTimeout):
        against(Server(never), lambda client: client.get("/", timeout=0.05), tmp_path)


@pytest.mark.parametrize(
    ("connect", "kind"),
    [
        pytest.param(lambda: asyncio.open_unix_connection("/nowhere"), httpx2.ConnectError, id="nobody"),
        pytest.param(lambda: asyncio.sleep(3600), httpx2.ConnectTimeout, id="nobody in time"),
    ],
)
def test_without_a_connection_nothing_is_sent(connect: Any, kind: type[Exception]) -> None:
    """Refused, or too late."""

    async def get() -> None:
        async with httpx2.AsyncClient(transport=Wire(connect), base_url="http://x", timeout=0.05) as client:
            await client.get("/")

    with pytest.raises(kind):
        asyncio.run(get())

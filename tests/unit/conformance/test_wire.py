"""The client: whatever a server does, there is an end."""

from __future__ import annotations

import asyncio
import time

import pytest

from processor_conformance.wire import Answer, Ask, Wire, WireError
from tests.unit.conformance.servers import Reader, Talk, Writer, serving

FOR_S = 0.5
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


async def silent(reader: Reader, _writer: Writer) -> None:
    """Read everything and say nothing."""
    await reader.read(-1)


async def trickling_head(reader: Reader, writer: Writer) -> None:
    """Send a header that never ends, letter by letter."""
    await reader.read(100)
    writer.write(b"HTTP/1.1 200 OK\r\nX-Kit: ")
    while True:
        writer.write(b"k")
        await writer.drain()
        await asyncio.sleep(0.01)


async def trickling_body(reader: Reader, writer: Writer) -> None:
    """Send a body that never ends, space by space."""
    await reader.read(100)
    writer.write(HEAD + b"\r\n")
    while True:
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0.01)


async def flood(reader: Reader, writer: Writer) -> None:
    """Send as much as can be sent, for ever."""
    await reader.read(100)
    writer.write(HEAD + b"\r\n")
    while True:
        writer.write(b"k" * 65536)
        await writer.drain()


async def no_http(reader: Reader, writer: Writer) -> None:
    """Speak another protocol."""
    await reader.read(100)
    writer.write(b"220 kit ESMTP\r\n")
    await writer.drain()


async def closing(reader: Reader, _writer: Writer) -> None:
    """Close without an answer."""
    await reader.read(100)


async def cut(reader: Reader, writer: Writer) -> None:
    """Promise more than is sent."""
    await reader.read(100)
    writer.write(HEAD + b"Content-Length: 10\r\n\r\n{}")
    await writer.drain()


async def early(reader: Reader, writer: Writer) -> None:
    """Answer before the body was read, and close."""
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")
    await writer.drain()
    await asyncio.sleep(FOR_S / 5)


async def echo(reader: Reader, writer: Writer) -> None:
    """Answer with the request itself, in chunks."""
    data = await reader.readuntil(b"kit-end")
    writer.write(HEAD + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(data), data))
    await writer.drain()


def ask(url: str, question: Ask, within_s: float = 10) -> Answer:
    """Return the answer to one request."""
    return asyncio.run(Wire(url).send(question, within_s=within_s))


@pytest.mark.parametrize("talk", [silent, trickling_head, trickling_body])
def test_what_never_ends_is_given_up_in_time(talk: Talk) -> None:
    """A hung service fails a check, it does not hang the kit."""
    with serving(talk) as url:
        began = time.monotonic()
        with pytest.raises(WireError, match="no end of an answer") as caught:
            ask(url, Ask("GET", "/", sent="GET /"), FOR_S)

    assert caught.value.late
    assert time.monotonic() - began < FOR_S * 10


def test_a_huge_answer_is_given_up() -> None:
    """Else it would fill the memory."""
    with serving(flood) as url, pytest.raises(WireError, match="an answer of more than"):
        ask(url, Ask("GET", "/"), 30)


def test_what_is_not_http_is_said() -> None:
    """The report shows what came."""
    with serving(no_http) as url, pytest.raises(WireError, match=r"not HTTP.*220 kit"):
        ask(url, Ask("GET", "/"))


def test_a_body_that_is_cut_is_no_answer() -> None:
    """Half an envelope is none."""
    with serving(cut) as url, pytest.raises(WireError, match="not HTTP"):
        ask(url, Ask("GET", "/"))


def test_a_connection_closed_without_an_answer_is_a_refusal() -> None:
    """Clients take it for draining."""
    with serving(closing) as url, pytest.raises(WireError) as caught:
        ask(url, Ask("GET", "/"))

    assert caught.value.refused


def test_where_nobody_listens_is_a_refusal() -> None:
    """The same, after the process has ended."""
    with pytest.raises(WireError) as caught:
        ask("http://127.0.0.1:9", Ask("GET", "/"))

    assert caught.value.refused


def test_an_answer_that_comes_before_the_body_was_read_is_read() -> None:
    """So a server may refuse a large body."""
    with serving(early) as url:
        answer = ask(url, Ask("POST", "/run", body=b"k" * 8_000_000))

    assert (answer.status, answer.document) == (413, {})


def test_a_request_is_written_as_it_was_asked_for() -> None:
    """Path, headers and body go out byte by byte; a chunked body says nothing of its length."""
    with serving(echo) as url:
        plain = ask(f"{url}/base", Ask("BREW", "/%00?x", [("X-Kit", "\xff")], b"body kit-end"))
        chunked = ask(url, Ask("POST", "/run", body=b"body kit-end", chunked=True))

    head, _, body = plain.body.partition(b"\r\n\r\n")
    assert head.startswith(b"BREW /base/%00?x HTTP/1.1\r\nHost: 127.0.0.1:")
    assert head.endswith(b"X-Kit: \xff\r\nContent-Length: 12")
    assert body == b"body kit-end"
    assert b"Content-Length" not in chunked.body
    assert b"\r\n\r\nc\r\nbody kit-end" in chunked.body


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "ftp://127.0.0.1", "http://", "http://h/?q", "kit"])
def test_what_is_no_address_is_said(url: str) -> None:
    """Before anything is sent."""
    with pytest.raises(ValueError, match="not an address"):
        Wire(url)

"""The driver's own client sees every event, however the bytes are torn, and knows where an answer ends."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Sequence

import pytest

from bench import client
from bench.environments import SkippedError

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
EVENTS = b"10\r\nevent: token\ntok \r\n10\r\nevent: token\ntok \r\n"
END = b"0\r\n\r\n"


def asked(pieces: Sequence[bytes], *marks: bytes, times: int = 1) -> list[client.Exchange]:
    """Return what the client makes of a server that answers *times* requests with *pieces*, one packet each."""

    def serve(server: socket.socket) -> None:
        connection, _ = server.accept()
        with connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for _ in range(times):
                connection.recv(1024)
                for piece in pieces:
                    connection.sendall(piece)
                    time.sleep(0.001)  # most of them are then read one by one; it holds either way

    async def ask(port: int) -> list[client.Exchange]:
        connection = await client.Connection.open(port)
        found = [await connection.ask(b"GET / HTTP/1.1\r\n\r\n", *marks) for _ in range(times)]
        connection.close()
        return found

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve, args=(server,))
        thread.start()
        try:
            return client.run(ask(server.getsockname()[1]))
        finally:
            thread.join()


@pytest.mark.parametrize("size", [1, 3, 7, 1000])
def test_no_event_is_missed_or_counted_twice(size: int) -> None:
    """Bytes arrive in pieces of any length, the head's too."""
    whole = CHUNKED + EVENTS * 5 + END
    pieces = [whole[at : at + size] for at in range(0, len(whole), size)]
    (exchange,) = asked(pieces, b"event: token", b"tok ")

    assert (exchange.status, exchange.marks) == (200, [10, 10])
    assert exchange.first_s is not None
    assert 0 < exchange.first_s <= exchange.seconds


def test_an_answer_without_an_event_has_no_first_one() -> None:
    """Rather than a time of zero."""
    (exchange,) = asked([CHUNKED + END], b"event: token")

    assert (exchange.first_s, exchange.marks) == (None, [0])


def test_a_connection_answers_one_request_after_another() -> None:
    """A length ends an answer; nothing of it is left for the next one."""
    found = asked([b"HTTP/1.1 400 Bad Request\r\nContent-Length: 3\r\n\r\n", b"ab", b"c"], times=3)

    assert [(exchange.status, exchange.body) for exchange in found] == [(400, b"abc")] * 3


def test_an_answer_without_a_length_ends_with_its_connection() -> None:
    """As HTTP says."""
    (exchange,) = asked([b"HTTP/1.1 200 OK\r\n\r\n", b"tok ", b"tok "], b"tok ")

    assert exchange.marks == [2]


def test_half_an_answer_is_no_answer() -> None:
    """A server that died must not look fast."""
    with pytest.raises(SkippedError, match="the connection broke"):
        asked([b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"])
    with pytest.raises(SkippedError, match="the connection broke"):
        asked([CHUNKED + EVENTS], b"tok ")

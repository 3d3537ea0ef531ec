"""What is refused before it is read reaches a client that is still sending (§2 "body", RFC 9112 §9.6)."""

from __future__ import annotations

import json
import socket
import time
from typing import Final

import pytest

from tests.support.service import WAIT_S, Service

BODY: Final = b" " * (16 * 1024 * 1024 + 1)  # above the limit, and more than the kernel's buffers take


def _head(service: Service, *lines: str) -> bytes:
    """Return the head of a request whose connection ends with its answer, as urllib and HTTP/1.0 clients send."""
    return "\r\n".join(
        ["POST /run HTTP/1.1", f"Host: 127.0.0.1:{service.port}", "Connection: close", *lines, "", ""]
    ).encode()


def _answer(connection: socket.socket) -> tuple[int, str]:
    """Return status and code of all that comes until the connection ends."""
    told = b"".join(iter(lambda: connection.recv(65536), b""))
    head, _, body = told.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)["error"]["code"]


@pytest.mark.parametrize(("media_type", "status"), [("text/plain", 415), ("application/json", 413)])
def test_a_client_that_sends_all_before_it_reads_gets_the_refusal(steps: Service, media_type: str, status: int) -> None:
    """A server that closes meanwhile resets the connection, and the client sees that and no answer."""
    for _ in range(5):
        with socket.create_connection(("127.0.0.1", steps.port), timeout=WAIT_S) as connection:
            connection.sendall(_head(steps, f"Content-Type: {media_type}", f"Content-Length: {len(BODY)}"))
            connection.sendall(BODY)

            assert _answer(connection) == (status, "ERR_INPUTS")


def test_a_client_that_never_stops_sending_is_answered_and_then_left(steps: Service) -> None:
    """At once the one, in the end the other: nobody keeps a connection by sending what is not wanted."""
    with socket.create_connection(("127.0.0.1", steps.port), timeout=WAIT_S) as connection:
        connection.sendall(_head(steps, "Content-Type: text/plain", "Transfer-Encoding: chunked"))
        assert connection.recv(65536).startswith(b"HTTP/1.1 415 ")

        with pytest.raises(OSError, match=r"reset|[Bb]roken pipe"):
            _send_without_end(connection)


def _send_without_end(connection: socket.socket) -> None:
    ends = time.monotonic() + WAIT_S
    while time.monotonic() < ends:
        connection.sendall(b"1\r\n \r\n")
        time.sleep(0.01)

"""Tests talk to this machine only."""

from __future__ import annotations

import socket

import pytest

UNROUTABLE = "192.0.2.1"  # RFC 5737: documentation only, nobody answers


def test_a_test_that_connects_to_another_machine_is_stopped() -> None:
    """Nothing leaves this machine while tests run, whichever library asks for it."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_STREAM) as connection,
        pytest.raises(RuntimeError, match="only talk to this machine"),
    ):
        connection.connect((UNROUTABLE, 80))


def test_a_test_may_connect_to_this_machine() -> None:
    """Servers that tests start on loopback can be reached."""
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as connection,
    ):
        assert connection.getpeername() == server.getsockname()

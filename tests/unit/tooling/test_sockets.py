"""Tests talk to this machine only."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tests.support.docker_host import is_container

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


# As `/proc/net/route` has them: a machine in 10.0.0.0/8, whose Docker has 172.17.0.0/16, and 172.18.0.0/16 by a gateway
ROUTES = """\
Iface	Destination	Gateway 	Flags	RefCnt	Use	Metric	Mask		MTU	Window	IRTT
eth0	00000000	0100000A	0003	0	0	0	00000000	0	0	0
eth0	0000000A	00000000	0001	0	0	0	000000FF	0	0	0
docker0	000011AC	00000000	0001	0	0	0	0000FFFF	0	0	0
br-0123456789ab	000012AC	010011AC	0003	0	0	0	0000FFFF	0	0	0
br-lan	0000A8C0	00000000	0001	0	0	0	0000FFFF	0	0	0
docker0	000000C6	00000000	0001	0	0	0	000000FF	0	0	0
"""


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        pytest.param("172.17.0.2", True, id="a container on the bridge"),
        pytest.param("10.0.0.7", False, id="another machine of the network"),
        pytest.param("172.18.0.2", False, id="what lies behind a gateway"),
        pytest.param("192.168.0.9", False, id="a bridge that is not Docker's"),
        pytest.param("198.7.0.1", False, id="a public address"),
        pytest.param("172.17.0.2.example", False, id="a name"),
        pytest.param("fd00::2", False, id="IPv6"),
    ],
)
def test_only_the_bridges_of_docker_count_as_this_machine(tmp_path: Path, host: str, *, allowed: bool) -> None:
    """A container has an address of its own, and nothing else that has one is allowed with it."""
    routes = tmp_path / "route"
    routes.write_text(ROUTES, encoding="ascii")

    assert is_container(host, routes) is allowed


def test_where_there_are_no_routes_to_read_nothing_is_a_container(tmp_path: Path) -> None:
    """On macOS, containers are reached by their ports on loopback only."""
    assert not is_container("172.17.0.2", tmp_path / "absent")

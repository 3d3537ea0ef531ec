"""A service is started on a port that is nobody else's."""

from __future__ import annotations

import socket
from collections import deque
from concurrent.futures import ThreadPoolExecutor

import pytest

from processor_conformance import ports
from processor_conformance.outcome import FailedError
from processor_conformance.ports import free_port


def test_a_port_is_one_that_the_system_gives_to_nobody() -> None:
    """It would be given to a connection of anybody's before the service listens on it."""
    assert max(free_port() for _ in range(500)) < ports._first_ephemeral_port()


def test_no_two_services_are_given_one_port() -> None:
    """Although the first one does not listen yet."""
    with ThreadPoolExecutor(8) as threads:
        given = list(threads.map(lambda _: free_port(), range(500)))

    assert len(set(given)) == len(given)


def test_a_port_that_somebody_has_is_not_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another one is, and where there is none that is said."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", free_port()))
        taken.listen()
        port = taken.getsockname()[1]
        monkeypatch.setattr(ports, "_first_ephemeral_port", lambda: port + 1)
        monkeypatch.setattr(ports, "_PORTS", 1)
        monkeypatch.setattr(ports, "_given", deque())

        with pytest.raises(FailedError, match="a free port"):
            free_port()

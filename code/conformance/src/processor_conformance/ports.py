"""Ports for services that are about to be started."""

from __future__ import annotations

import contextlib
import secrets
import socket
import threading
from collections import deque
from pathlib import Path
from typing import Final

from .outcome import FailedError

_EPHEMERAL: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")
_USUAL_FIRST: Final = 32768
_LOWEST_PORT: Final = 10_000
_PORTS: Final = 20_000
_TRIES: Final = 100
_given: Final[deque[int]] = deque(maxlen=1000)
_giving: Final = threading.Lock()


def free_port() -> int:
    """Return a port of the loopback interface that nobody has now, and that nobody is given without asking for it.

    Until the service listens there, a port that the system hands out may become
    that of anybody's connection, and a port that is given twice that of another
    service, which would then be judged in its place.

    Raises:
        FailedError: many were tried, and all are taken.
    """
    highest = _first_ephemeral_port()
    lowest = max(_LOWEST_PORT, highest - _PORTS)
    for _ in range(_TRIES):
        port = lowest + secrets.randbelow(highest - lowest)
        with _giving:
            if port in _given:
                continue
            _given.append(port)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise FailedError(sent="the start of the service", expected="a free port", seen=f"none of {_TRIES} was")


def _first_ephemeral_port() -> int:
    """Return the first port that the system hands out, where Linux says so: what it says as a rule, elsewhere."""
    try:
        first = int(_EPHEMERAL.read_text("ascii").split()[0])
    except (OSError, ValueError):
        first = _USUAL_FIRST
    return first if first > _LOWEST_PORT else _USUAL_FIRST

"""What must be known of Docker before any test runs: whether this is CI, and which addresses are containers."""

from __future__ import annotations

import re
import socket
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Final

import pytest

IN_CI: Final = pytest.StashKey[bool]()  # as the caller said it, before tests take it out of the environment
_BRIDGE: Final = re.compile(r"docker0|br-[0-9a-f]{12}")  # what Docker calls the bridges of its networks


def is_container(host: str, routes: Path = Path("/proc/net/route")) -> bool:
    """Whether *host* lies on the bridge of a Docker network of this machine, and so is a container of ours.

    Source: Linux, `Documentation/networking/proc_net_tcp` and `net/ipv4/fib_trie.c`: one route a line, with device,
    destination and mask as hexadecimal numbers in host byte order.
    """
    try:
        address, lines = IPv4Address(host), routes.read_text("ascii").splitlines()[1:]
    except (OSError, ValueError):
        return False
    for device, destination, gateway, _, _, _, _, mask, *_ in (line.split() for line in lines):
        network = IPv4Network((_dotted(destination), _dotted(mask)))
        if _BRIDGE.fullmatch(device) and int(gateway, 16) == 0 and address.is_private and address in network:
            return True
    return False


def _dotted(number: str) -> str:
    return socket.inet_ntoa(int(number, 16).to_bytes(4, "little"))

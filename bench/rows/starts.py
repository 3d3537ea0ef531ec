"""From the start of the process to the first healthy answer, and the memory of a service that waits (P5, P6)."""

from __future__ import annotations

import time
from typing import Final

from bench.catalogue import LIMITS, OURS, PEERS
from bench.context import Context, alternating
from bench.server import running
from bench.subjects import Subject

_IDLE_S: Final = 0.5
_PEER_STARTS: Final = 3
_MIB: Final = 1024 * 1024


def measure(context: Context) -> None:
    """Start every subject, several times; the first start of each fills caches and does not count."""
    peers = [peer for peer in PEERS if peer.name in context.profile.peers and peer.requests]
    quick: list[Subject] = [*LIMITS, *OURS]
    for subject in [*quick, *peers]:
        with context.skipping(f"starts, {subject.name}"), context.folder("tmpfs") as root, running(subject, root):
            pass
    steps = [
        each
        for number in range(context.profile.starts)
        for each in alternating(quick + peers if number < _PEER_STARTS else quick, number)
    ]
    for subject in context.counted(steps):
        with context.skipping(f"starts, {subject.name}"):
            _start(context, subject)


def _start(context: Context, subject: Subject) -> None:
    with context.folder("tmpfs") as root, running(subject, root) as server:
        time.sleep(_IDLE_S)
        usage = server.usage()
        context.add(
            "start",
            subject.name,
            start_ms=server.start_ms,
            rss_mib=usage.rss_bytes / _MIB,
            pss_mib=usage.pss_bytes / _MIB,
            processes=usage.processes,
        )

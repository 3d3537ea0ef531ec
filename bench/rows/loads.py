"""Requests a second and their latencies, from one to many clients, in alternating rounds (P1, P2, P3)."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench import wrk
from bench.catalogue import LIMITS, OURS, PEERS
from bench.context import Context, Store, alternating
from bench.environments import SkippedError
from bench.server import Server, running
from bench.subjects import Request, Subject

_SETTLE_S: Final = 0.2


@dataclass(frozen=True, slots=True)
class Work:
    """One kind of load.

    Attributes:
        name: As in the results.
        asks: The subject's request.
        store: Where files go.
        writes: Whether every answer leaves something in the folder.
    """

    name: str
    asks: str
    store: Store
    writes: bool = False


WORKS: Final = {
    work.name: work
    for work in (
        Work("echo", "echo", "tmpfs"),
        Work("file-tmpfs", "file", "tmpfs", writes=True),
        Work("file-disk", "file", "disk", writes=True),
        Work("refusal", "refusal", "tmpfs"),
        Work("replay", "replay", "tmpfs"),
    )
}


def measure(context: Context) -> None:
    """Load every subject with every work that it can do."""
    chosen = [*LIMITS, *OURS, *(peer for peer in PEERS if peer.name in context.profile.peers)]
    for name in context.profile.works:
        work = WORKS[name]
        subjects = [subject for subject in chosen if work.asks in subject.requests]
        for number in range(context.profile.rounds):
            for subject in alternating(subjects, number):
                with context.skipping(f"{work.name}, {subject.name}"):
                    _round(context, work, subject)


def _round(context: Context, work: Work, subject: Subject) -> None:
    request = subject.requests[work.asks]
    with context.folder(work.store) as root:
        files = root / "outputs"
        with running(subject, root, files=files if work.asks == "file" else None) as server:
            server.check(request)
            right = wrk.load(server, request, connections=8, seconds=context.profile.warm_s).right
            for connections in context.profile.connections:
                right += _load(context, work, server, request, connections)
            if work.writes:
                _check_written(files, right)


def _load(context: Context, work: Work, server: Server, request: Request, connections: int) -> int:
    if work.store == "disk":
        os.sync()  # nobody pays for what somebody before has written
    time.sleep(_SETTLE_S)
    before = server.usage().cpu_us
    load = wrk.load(server, request, connections=connections, seconds=context.profile.seconds)
    cpu_us = server.usage().cpu_us - before
    context.add(
        work.name,
        server.subject.name,
        f"c{connections}",
        rate=load.rate,
        p50_ms=load.p50_ms,
        p99_ms=load.p99_ms,
        cpu_us=cpu_us / max(load.right, 1),
        failed_share=load.failed_share,
    )
    return load.right


def _check_written(files: Path, right: int) -> None:
    """See that there is a file, or a run's folder, for every right answer."""
    with os.scandir(files) as entries:
        written = sum(1 for _ in entries)
    if written < right:
        raise SkippedError(f"answered {right} times and wrote {written} times")

"""Requests a second and their latencies, from one to many clients, in alternating rounds (P1, P2, P3)."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
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
    profile = context.profile
    chosen = [*LIMITS, *OURS, *(peer for peer in PEERS if peer.name in profile.peers)]
    steps = []
    for works in _groups([WORKS[name] for name in profile.works]):
        subjects = [subject for subject in chosen if any(work.asks in subject.requests for work in works)]
        steps += [(works, each) for number in range(profile.rounds) for each in alternating(subjects, number)]
    for works, subject in context.counted(steps):
        what = ", ".join(work.name for work in works if work.asks in subject.requests)
        with context.skipping(f"{what}, {subject.name}"):
            _round(context, works, subject)


def _groups(works: Sequence[Work]) -> list[list[Work]]:
    """Return *works* by how a server is started for them: those of one group are asked of one server in turn."""
    groups: dict[tuple[Store, bool], list[Work]] = {}
    for work in works:
        groups.setdefault((work.store, work.writes), []).append(work)
    return list(groups.values())


def _round(context: Context, works: Sequence[Work], subject: Subject) -> None:
    with context.folder(works[0].store) as root:
        files = root / "outputs"
        with running(subject, root, files=files if works[0].writes else None) as server:
            for work in works:
                if request := subject.requests.get(work.asks):
                    server.check(request)
                    right = wrk.load(server, request, connections=8, seconds=context.profile.warm_s).right
                    for connections in _connections(context, work, subject):
                        right += _load(context, work, server, request, connections)
                    if work.writes:
                        _check_written(files, right)


def _connections(context: Context, work: Work, subject: Subject) -> Sequence[int]:
    """Return how many clients there are in turn: a single one only where a goal asks for what it sees."""
    if work.writes and subject.kind != "peer":
        return context.profile.connections
    return [each for each in context.profile.connections if each > 1]


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

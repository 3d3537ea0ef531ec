"""Memory before and after many runs (P6)."""

from __future__ import annotations

import asyncio
import time
from typing import Final

from bench import client
from bench.catalogue import SUBJECTS
from bench.context import Context, alternating
from bench.environments import SkippedError
from bench.ids import fresh_id
from bench.server import Server, running
from bench.subjects import ID, Request, Subject

_SUBJECTS: Final = ("fastapi", "ours-async", "ours-sync")
_CLIENTS: Final = 8
_SETTLE_S: Final = 1.0
_MIB: Final = 1024 * 1024


def measure(context: Context) -> None:
    """Look at the memory of a service that has done nothing, let it do its work many times, and look again."""
    subjects = [SUBJECTS[name] for name in _SUBJECTS]
    steps = [each for number in range(context.profile.rounds) for each in alternating(subjects, number)]
    for subject in context.counted(steps):
        with context.skipping(f"memory, {subject.name}"):
            _round(context, subject)


def _round(context: Context, subject: Subject) -> None:
    runs = context.profile.runs
    with context.folder("tmpfs") as root, running(subject, root, files=root / "outputs") as server:
        time.sleep(_SETTLE_S)
        before = server.usage().rss_bytes
        client.run(Asked(server, subject.requests["file"], runs).all())
        time.sleep(_SETTLE_S)
        after = server.usage().rss_bytes
        context.add("memory", subject.name, f"{runs} runs", before_mib=before / _MIB, after_mib=after / _MIB)


class Asked:
    """A number of requests, sent by a few clients."""

    def __init__(self, server: Server, request: Request, count: int) -> None:
        self._server = server
        self._request = request
        self._left = count

    async def all(self) -> None:
        """Send them.

        Raises:
            SkippedError: one of them got another answer than the right one.
        """
        await asyncio.gather(*(self._some() for _ in range(_CLIENTS)))

    async def _some(self) -> None:
        connection = await client.Connection.open(self._server.port)
        while self._left > 0:
            self._left -= 1
            raw = self._request.raw(self._server.host).replace(ID.encode(), fresh_id().encode())
            exchange = await connection.ask(raw)
            if exchange.status != self._request.status:
                raise SkippedError(f"answered {exchange.status}: {exchange.body[:200]!r}")
        connection.close()

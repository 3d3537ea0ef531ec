"""How soon `/healthz` answers while every slot runs something (P7)."""

from __future__ import annotations

import asyncio
import time
from typing import Any, Final

from bench import client
from bench.catalogue import OURS
from bench.catalogue.ours import run
from bench.context import Context
from bench.environments import SkippedError
from bench.ids import fresh_id
from bench.server import Server, running
from bench.subjects import ID, Request, Subject

RUNS: Final = 64
CASES: Final[dict[str, dict[str, Any]]] = {"waiting": {"wait_s": 0.5}, "spinning": {"spin_s": 0.1}}
_EVERY_S: Final = 0.01


def measure(context: Context) -> None:
    """Keep 64 runs in flight, in every kind of handler, and ask for the health meanwhile."""
    cases = [(subject, case) for subject in OURS for case in CASES]
    for subject, case in context.counted(cases * context.profile.rounds):
        with context.skipping(f"health, {subject.name}, {case}"):
            _case(context, subject, case, run(**CASES[case]))


def _case(context: Context, subject: Subject, case: str, request: Request) -> None:
    with context.folder("tmpfs") as root, running(subject, root) as server:
        server.check(request)
        times = client.run(_asked(server, request, context.profile.health_s))
    p50_ms, p99_ms = (times[int(len(times) * share)] * 1000 for share in (0.5, 0.99))
    context.add("health", subject.name, case, p50_ms=p50_ms, p99_ms=p99_ms, max_ms=times[-1] * 1000)


async def _asked(server: Server, request: Request, seconds: float) -> list[float]:
    """Return how long each answer took, in seconds, the shortest first."""
    busy = [asyncio.ensure_future(_keep_running(server, request)) for _ in range(RUNS)]
    await asyncio.sleep(1.0)  # until all are in flight
    connection = await client.Connection.open(server.port)
    raw = f"GET /healthz HTTP/1.1\r\nHost: {server.host}\r\n\r\n".encode()
    times = []
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        exchange = await connection.ask(raw)
        if exchange.status != 200:  # noqa: PLR2004  # healthy
            raise SkippedError(f"/healthz answered {exchange.status}: {exchange.body!r}")
        times.append(exchange.seconds)
        await asyncio.sleep(_EVERY_S)
    if failed := next((each.exception() for each in busy if each.done()), None):
        raise failed
    for each in busy:
        each.cancel()
    await asyncio.gather(*busy, return_exceptions=True)
    return sorted(times)


async def _keep_running(server: Server, request: Request) -> None:
    connection = await client.Connection.open(server.port)
    try:
        while True:
            exchange = await connection.ask(request.raw(server.host).replace(ID.encode(), fresh_id().encode()))
            if exchange.status != request.status:
                raise SkippedError(f"answered {exchange.status}: {exchange.body[:200]!r}")
    finally:
        connection.close()

"""Many streams at once, and how soon the first event comes (P4)."""

from __future__ import annotations

import asyncio
import contextlib
import time

from bench import client
from bench.catalogue import LIMITS, OURS, PEERS
from bench.catalogue.ours import run
from bench.context import Context, alternating
from bench.environments import SkippedError
from bench.ids import fresh_id
from bench.server import Server, running
from bench.subjects import ID, Request, Stream, Subject


def measure(context: Context) -> None:
    """Let every subject that streams tell its tokens to many readers, then to one after another."""
    packages = {name.split("-")[0] for name in context.profile.peers}
    peers = [peer for peer in PEERS if peer.name.split("-")[0] in packages]
    subjects = [subject for subject in (*LIMITS, *OURS, *peers) if subject.stream]
    steps = [each for number in range(context.profile.rounds) for each in alternating(subjects, number)]
    for subject in context.counted(steps):
        with context.skipping(f"streams, {subject.name}"):
            _round(context, subject)


def _round(context: Context, subject: Subject) -> None:
    profile, stream = context.profile, subject.stream
    assert stream is not None  # noqa: S101  # chosen for it
    with context.folder("tmpfs") as root, running(subject, root) as server:
        with contextlib.suppress(SkippedError):  # Cog may end a short stream without its tokens; what counts is checked
            client.run(_many(server, stream, streams=8, tokens=10))  # what is made at the first use is made here
        rate, tokens, cpu_us = client.run(_many(server, stream, profile.streams, profile.tokens))
        context.add(
            "streams", subject.name, f"{profile.streams}x{profile.tokens}", rate=rate, tokens_rate=tokens, cpu_us=cpu_us
        )
        first_ms = client.run(_first(server, stream, profile.asks))
        context.add("first-event", subject.name, first_ms=first_ms)
        if subject.kind == "ours":
            run_ms = client.run(_runs(server, run(), profile.asks))
            context.add("first-event", subject.name, run_ms=run_ms)


async def _many(server: Server, stream: Stream, streams: int, tokens: int) -> tuple[float, float, float]:
    """Return events a second, tokens a second, and processor microseconds an event, of *streams* at once."""
    connections = [await client.Connection.open(server.port) for _ in range(streams)]
    request = stream.request(tokens)
    before = server.usage().cpu_us
    began = time.perf_counter()
    asked = [each.ask(_raw(server, request), stream.event, stream.token) for each in connections]
    exchanges = await asyncio.gather(*asked)
    seconds = time.perf_counter() - began
    cpu_us = server.usage().cpu_us - before
    for connection in connections:
        connection.close()
    seen = sum(exchange.marks[1] for exchange in exchanges)
    events = sum(exchange.marks[0] for exchange in exchanges)
    if seen != streams * tokens or any(exchange.status != request.status for exchange in exchanges):
        raise SkippedError(f"told {seen} of {streams * tokens} tokens in {events} events")
    return events / seconds, seen / seconds, cpu_us / events


async def _first(server: Server, stream: Stream, asks: int) -> float:
    """Return the median milliseconds to the first event of a stream, one stream after another."""
    connection = await client.Connection.open(server.port)
    times = []
    for _ in range(asks):
        exchange = await connection.ask(_raw(server, stream.request(1)), stream.event)
        if exchange.first_s is None:
            raise SkippedError("a stream without an event")
        times.append(exchange.first_s)
    connection.close()
    return _median_ms(times)


async def _runs(server: Server, request: Request, asks: int) -> float:
    """Return the median milliseconds of a whole `/run`, asked by the same client."""
    connection = await client.Connection.open(server.port)
    times = [(await connection.ask(_raw(server, request))).seconds for _ in range(asks)]
    connection.close()
    return _median_ms(times)


def _median_ms(times: list[float]) -> float:
    return sorted(times)[len(times) // 2] * 1000


def _raw(server: Server, request: Request) -> bytes:
    return request.raw(server.host).replace(ID.encode(), fresh_id().encode())

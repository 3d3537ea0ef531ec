"""One output from small to large, and from one output to many, each a run on disk."""

from __future__ import annotations

import os
from typing import Any, Final

from bench import client
from bench.catalogue import SUBJECTS
from bench.catalogue.ours import run
from bench.context import Context
from bench.environments import SkippedError
from bench.ids import fresh_id
from bench.server import Server, running
from bench.subjects import ID

_MIB: Final = 1024 * 1024


def measure(context: Context) -> None:
    """Let runs write what the profile asks for, one after another."""
    with (
        context.skipping("files, ours-sync"),
        context.folder("disk") as root,
        running(SUBJECTS["ours-sync"], root) as server,
    ):
        server.check(run(size_bytes=1))
        for _ in context.counted(range(context.profile.repeats)):
            for size in context.profile.sizes:
                seconds = _run_s(server, size_bytes=size)
                rss_mib = server.usage().rss_bytes / _MIB
                mib_s = size / _MIB / seconds
                context.add("size", "ours-sync", _size(size), ms=seconds * 1000, mib_s=mib_s, rss_mib=rss_mib)
            for outputs in context.profile.outputs:
                seconds = _run_s(server, outputs=outputs)
                context.add("outputs", "ours-sync", str(outputs), ms=seconds * 1000)


def _run_s(server: Server, **params: Any) -> float:
    os.sync()
    request = run(**params)
    raw = request.raw(server.host).replace(ID.encode(), fresh_id().encode())

    async def ask() -> client.Exchange:
        connection = await client.Connection.open(server.port)
        exchange = await connection.ask(raw)
        connection.close()
        return exchange

    exchange = client.run(ask())
    if exchange.status != request.status:
        raise SkippedError(f"answered {exchange.status}: {exchange.body[:200]!r}")
    return exchange.seconds


def _size(size_bytes: int) -> str:
    for unit, name in ((1024**3, "GiB"), (1024**2, "MiB"), (1024, "KiB")):
        if size_bytes >= unit:
            return f"{size_bytes // unit} {name}"
    return f"{size_bytes} B"

"""A cold and a warm run through the LocalAdapter, beside the same steps by hand (P8)."""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from typing import Any, Final

from bench.commands import runs
from bench.context import Context
from bench.engine import Engine, connected, post, until_healthy
from bench.ids import fresh_id
from bench.pinned import Pinned, pinned

_REF: Final = "llm/chat@1"
_INPUTS: Final = {"schema": "v1", "params": {"messages": [{"role": "user", "content": "Hello"}]}}
_REQUEST: Final = {"ref": _REF, "adapter": "local", "inputs": _INPUTS}
_COLD: Final = 3
_NETWORK: Final = "processors-mock"  # the adapter's own, without a way out
_UID: Final = 10001
_GIB: Final = 2**30


def measure(context: Context) -> None:
    """Run the same image in alternation: through the adapter, and by Docker's API alone."""
    with context.skipping("adapters"), context.folder("disk") as root:
        engine = Engine()
        with pinned(_REF, "llm_chat", root) as made:
            host = {"processors": made.processors, "artifacts_root": root}
            for _ in range(context.profile.repeats):
                # the first run of a process imports what the others have: it does not count
                ours = runs(_REQUEST, repeat=context.profile.asks + 1, host=host, warm=True)[0][1:]
                context.add("adapter", "local", warm_ms=statistics.median(ours) * 1000)
                context.add("adapter", "docker", warm_ms=_warm_by_hand(engine, made, root, context.profile.asks))
            for _ in range(context.profile.repeats):
                ours = runs(_REQUEST, repeat=_COLD + 1, host=host)[0][1:]
                context.add("adapter", "local", cold_ms=statistics.median(ours) * 1000)
                by_hand = [_cold_by_hand(engine, made, root) for _ in range(_COLD)]
                context.add("adapter", "docker", cold_ms=statistics.median(by_hand))


def _payload() -> dict[str, Any]:
    return {
        "schema": "v1",
        "execution_id": fresh_id(),
        "write_prefix": "/artifacts/outputs/{execution_id}/",
        "mode": "mock",
        "inputs": _INPUTS,
    }


def _config(made: Pinned, root: Path) -> dict[str, Any]:
    """Return a container as the adapter makes it, in all that decides how fast it is."""
    folder = root / "by-hand"
    folder.mkdir(mode=0o777, exist_ok=True)
    folder.chmod(0o777)  # the container's user is another one
    return {
        "Image": made.image,
        "User": f"{_UID}:{_UID}",
        "Env": [f"IMAGE_DIGEST={made.digest}", "PROCESSOR_MODE=mock", "HOME=/tmp"],
        "Healthcheck": {"Test": ["NONE"]},
        "HostConfig": {
            "NetworkMode": _NETWORK,
            "Dns": ["127.0.0.1"],
            "ReadonlyRootfs": True,
            "CapDrop": ["ALL"],
            "CpuPeriod": 100_000,
            "CpuQuota": 100_000,
            "Memory": _GIB,
            "MemorySwap": _GIB,
            "Mounts": [{"Type": "bind", "Source": str(folder), "Target": "/artifacts"}],
            "Tmpfs": {"/tmp": "rw,nosuid,nodev,noexec,mode=1777"},  # noqa: S108  # inside
            "LogConfig": {"Type": "local"},
        },
    }


def _cold_by_hand(engine: Engine, made: Pinned, root: Path) -> float:
    """Return the milliseconds from nothing to an answer and back to nothing."""
    config = _config(made, root)
    began = time.perf_counter()
    container, address = engine.start(config)
    try:
        until_healthy(address)
        connection = connected(address)
        post(connection, _payload())
        connection.close()
    finally:
        engine.remove(container)
    return (time.perf_counter() - began) * 1000


def _warm_by_hand(engine: Engine, made: Pinned, root: Path, asks: int) -> float:
    """Return the median milliseconds of a run over one open connection."""
    container, address = engine.start(_config(made, root))
    try:
        until_healthy(address)
        connection = connected(address)
        times = []
        for _ in range(asks):
            payload = _payload()
            began = time.perf_counter()
            post(connection, payload)
            times.append(time.perf_counter() - began)
        connection.close()
    finally:
        engine.remove(container)
    return statistics.median(times) * 1000

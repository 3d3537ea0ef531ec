"""Runs inside the LocalAdapter, in alternation with the same done without it; imported where Django is set up."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import orjson

from apps.core.adapters import http
from apps.core.adapters.journal import Journal
from apps.core.adapters.local import control, warm
from apps.core.adapters.local.adapter import LocalAdapter
from apps.core.executions import local_site, resolve
from apps.core.host import Host
from apps.core.request import ExecutionRequest, new_execution_id

from .by_hand import INPUTS, REF, ByHand, payload
from .engine import Engine

_TIMEOUT_S: Final = 60.0
_BLOCK: Final = 25  # so many runs one way, then as many the other: what slows one slows both

Seconds = dict[str, list[float]]


async def cold(asked: dict[str, Any]) -> Seconds:
    """Return the seconds of runs with a container each, through the adapter (``local``) and by hand (``docker``)."""
    adapter = LocalAdapter(_site(asked), Journal())
    folder = Path(asked["host"]["artifacts_root"]) / "by-hand"
    by_hand = ByHand(Engine(), asked["image"], asked["digest"], folder)
    found: Seconds = {"local": [], "docker": []}
    for number in range(asked["times"] + 1):
        ours, theirs = await _timed(lambda: _run(adapter)), by_hand.run()
        if number:  # the first one imports and makes what the others have
            found["local"].append(ours)
            found["docker"].append(theirs)
    return found


async def warm_and_direct(asked: dict[str, Any]) -> Seconds:
    """Return the seconds of runs in one warm container: through the adapter (``local``), and as ``direct`` requests.

    Those are keep-alive POSTs by the adapter's own client, httpx2 over our wire,
    whose answers are read and not looked at.
    """
    site = _site(asked)
    container = await control.up(site, "mock", Journal())
    found: Seconds = {"local": [], "direct": []}
    try:
        token = warm.token(await site.engine().ask("GET", f"/containers/{container.id}/json"))
        for number in range(-(-asked["times"] // _BLOCK) + 1):
            async with LocalAdapter(site, Journal()).joined("mock") as adapter:
                ours = [await _timed(lambda: _run(adapter)) for _ in range(_BLOCK)]  # called at once
            async with http.tcp_client(container.url, token) as client:
                theirs = [await _timed(lambda: _post(client)) for _ in range(_BLOCK)]  # the same
            if number:  # as above
                found["local"] += ours
                found["direct"] += theirs
    finally:
        await control.down(site.engine(), [container], Journal())
    return found


def _site(asked: dict[str, Any]) -> Any:
    folders: dict[str, Any] = {name: Path(value) for name, value in asked["host"].items()}
    host = replace(Host.here(), **folders)
    request = ExecutionRequest(ref=REF, adapter="local", inputs=INPUTS, execution_id=new_execution_id())
    return local_site(request, resolve(REF, host.processors), host)


async def _timed(work: Callable[[], Awaitable[None]]) -> float:
    began = time.perf_counter()
    await work()
    return time.perf_counter() - began


async def _run(adapter: Any) -> None:
    envelope = await adapter.run(payload(), timeout_s=_TIMEOUT_S)
    if envelope["status"] != "success":
        raise SystemExit(orjson.dumps(envelope).decode())


async def _post(client: Any) -> None:
    headers = {"content-type": "application/json"}
    answer = await client.post("/run", content=orjson.dumps(payload()), headers=headers, timeout=_TIMEOUT_S)
    if not answer.is_success:
        raise SystemExit(answer.text)

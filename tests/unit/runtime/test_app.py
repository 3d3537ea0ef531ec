"""What the app makes of its process while it serves."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from processor_runtime.app import ProcessorApp
from tests.unit.runtime.services import DIGEST, DOCUMENT, GENEROUS_S, Bench, payload, write_hello

SERVES = """
import asyncio, gc, weakref
from processor_runtime import create_app
from app.handler import entry

class Leaf: ...

async def main():
    app = create_app(entry)
    async with app.router.lifespan_context(app):
        leaf = Leaf()
        leaf.itself, seen = leaf, weakref.ref(leaf)
        del leaf
        kept, made = [], 0
        while seen() is not None and made < 1_000_000:
            kept.append([])
            made += 1
        print(gc.isenabled(), gc.get_freeze_count() > 0, made)

asyncio.run(main())
"""


def test_cycles_are_still_collected_but_not_at_every_few_runs(tmp_path: Path) -> None:
    """Later than by default, when 700 new objects suffice, and not much later."""
    (tmp_path / "registry.yaml").write_text(json.dumps(DOCUMENT))
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "handler.py").write_text(
        "from processor_runtime import processor\n@processor\ndef entry(run): ...\n"
    )
    environ: dict[str, Any] = {"IMAGE_DIGEST": DIGEST, "PYTHONPATH": str(tmp_path)}

    said = subprocess.run([sys.executable, "-c", SERVES], env=environ, capture_output=True, text=True, check=True)
    collects, frozen, made = said.stdout.split()

    assert (collects, frozen) == ("True", "True")
    assert 5_000 < int(made) < 20_000


async def _post(app: ProcessorApp, body: bytes) -> int:
    """Return the status of `POST /run` with *body*."""
    statuses = list[int]()

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    async with asyncio.timeout(GENEROUS_S):
        await app({"type": "http", "method": "POST", "path": "/run", "headers": headers}, receive, send)
    return statuses[0]


def test_a_request_that_cannot_be_handed_over_costs_its_neighbours_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All that came in one turn of the loop are handed over together, and each has its own fate."""
    service = Bench(tmp_path, write_hello, runtime={"concurrency": 4}).service
    call, calls = service.call, list[int]()

    def fails_at_first(*args: Any) -> None:
        calls.append(len(calls))
        if len(calls) == 1:
            raise MemoryError
        call(*args)

    async def ask() -> list[int | BaseException]:
        app = ProcessorApp(service)
        posts = [_post(app, json.dumps(payload(f"e{number}")).encode()) for number in range(4)]
        return await asyncio.gather(*posts, return_exceptions=True)

    monkeypatch.setattr(service, "call", fails_at_first)
    first, *others = asyncio.run(ask())

    assert isinstance(first, MemoryError)  # the server answers 500
    assert others == [200] * 3

"""What a run held is given up when it ends, and not when the collector of cycles comes by."""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from processor_runtime import InputsError, Run
from processor_runtime.execution import Caller
from processor_runtime.handler import Work
from processor_runtime.loops import Handback
from processor_runtime.stream import Stream
from tests.unit.runtime.services import Bench, payload


@pytest.fixture(autouse=True)
def _uncollected() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


class Large:
    """Something whose memory is missed."""


def _larges() -> int:
    return sum(isinstance(found, Large) for found in gc.get_objects())


def writes(run: Run) -> None:
    """Succeed with one output."""
    held = Large()
    run.log("held", what=type(held).__name__)
    run.write_text("outputs/a.txt", "a")


async def writes_async(run: Run) -> None:
    """The same on the handlers' loop."""
    writes(run)


def crashes(run: Run) -> None:
    """Fail by a fault of its own."""
    held = [Large(), run]
    raise KeyError(len(held))


async def crashes_async(run: Run) -> None:
    """The same on the handlers' loop."""
    crashes(run)


def refuses(run: Run) -> None:
    """Fail by what it was sent."""
    held = [Large(), run]
    try:
        crashes(run)
    except KeyError as exc:
        raise InputsError from exc
    held.clear()


@pytest.mark.parametrize("work", [writes, writes_async, crashes, crashes_async, refuses])
@pytest.mark.parametrize("changes", [{}, {"write_prefix": "/elsewhere/"}], ids=["run", "refused"])
def test_a_run_leaves_nothing_for_the_collector(tmp_path: Path, work: Work, changes: dict[str, Any]) -> None:
    """Whatever became of it."""
    bench = Bench(tmp_path, work)
    bench.ask(payload("warm")).verdict  # noqa: B018  # what is made once is made now
    bench.until_idle()
    gc.collect()

    for number in range(10):
        bench.ask(payload(f"e{number}", **changes)).verdict  # noqa: B018  # it waits for the answer
        bench.until_idle()

    assert _larges() == 0
    assert gc.collect() < 10, "something for each run"


def test_a_stream_leaves_nothing_for_the_collector(tmp_path: Path) -> None:
    """Neither the reader's side nor the run's."""

    def tells(run: Run) -> None:
        run.token("a")

    async def read(name: str) -> bytes:
        stream = Stream(Handback(asyncio.get_running_loop(), bench.service.at_pause))
        body = json.dumps(payload(name)).encode()
        bench.service.call(body, Caller(stream.reply, stream.accepted, stream.events))
        await stream.begun()
        return b"".join([chunk async for chunk in stream.read(bench.service.mask.dumps)])

    async def main() -> int:
        await read("warm")
        gc.collect()
        for number in range(10):
            assert (await read(f"e{number}")).count(b"event: done") == 1
            bench.until_idle()
        return gc.collect()

    bench = Bench(tmp_path, tells)
    assert asyncio.run(main()) < 10


def test_a_cycle_of_the_author_is_not_ours_to_break(tmp_path: Path) -> None:
    """And so it shows in the count: the test above can fail."""

    def tangles(_run: Run) -> None:
        held = [Large()]
        held.append(held)  # type: ignore[arg-type]

    bench = Bench(tmp_path, tangles)
    assert bench.ask(payload()).verdict == (200, "success")
    bench.until_idle()

    assert _larges() == 1
    gc.collect()
    assert _larges() == 0

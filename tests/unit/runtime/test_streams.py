"""A stream is told what happens, gets the same envelope, and cancels when its last reader has left."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

import orjson
import pytest

from processor_runtime.execution import Answer
from processor_runtime.loops import Handback
from processor_runtime.run import Run
from processor_runtime.sse import MANY
from processor_runtime.stream import Stream
from processor_runtime.workers import Job
from tests.unit.runtime.services import GENEROUS_S, Bench, Held, payload, until, write_hello

LONG_S: Final = 3600.0


def test_a_stream_is_told_what_happens_and_gets_the_same_envelope(tmp_path: Path) -> None:
    """Progress, tokens, its own log lines and outputs, in order."""

    def work(run: Run) -> None:
        run.progress(2.0, "half")
        run.token("a")
        run.token("")
        run.log("noted", n=1)
        write_hello(run)
        run.progress(None)

    bench = Bench(tmp_path, work)
    reader = bench.read(payload())
    envelope = reader.envelope
    events = reader.events.take()

    names = [name for name, data in events if name != "log" or data["event"].startswith("handler.")]
    assert names == ["progress", "token", "log", "output", "progress"]
    assert all(data["execution_id"] == "e1" for _, data in events)
    assert events[-1][1] == {"execution_id": "e1", "fraction": None, "message": ""}
    assert next(data for name, data in events if name == "progress")["fraction"] == 1.0
    assert next(data for name, data in events if name == "output").items() >= envelope["outputs"][0].items()


def test_a_run_is_cancelled_when_its_last_reader_leaves(tmp_path: Path) -> None:
    """Not when the first of two does."""
    held = Held()
    bench = Bench(tmp_path, held)
    first = bench.read(payload())
    held.wait_until_running()
    second = bench.read(payload())
    first.wait_until_accepted()
    second.wait_until_accepted()

    first.leave()
    assert not bench.service._executor._by_id["e1"].stopped
    second.leave()

    assert first.verdict == second.verdict == (499, "ERR_CANCELLED")
    held.release.set()
    bench.until_idle()


def test_a_run_that_a_plain_caller_wants_goes_on_without_readers(tmp_path: Path) -> None:
    """Only where all callers were streams does leaving cancel."""
    held = Held()
    bench = Bench(tmp_path, held)
    reader = bench.read(payload())
    held.wait_until_running()
    asked = bench.ask(payload())
    until(lambda: len(bench.service._executor._by_id["e1"].callers()) == 2)

    reader.wait_until_accepted()
    reader.leave()
    held.release.set()

    assert asked.verdict == reader.verdict == (200, "success")


def test_a_stream_that_is_refused_is_not_accepted_first(tmp_path: Path) -> None:
    """It answers with a status and plain JSON."""
    reader = Bench(tmp_path, write_hello).read(payload(schema="v2"))

    assert reader.answer.refused is True
    assert not reader._accepted.is_set()


# --- a reader's own side


class Reading:
    """A stream that is read on this loop, as the app does."""

    def __init__(self) -> None:
        self.at_pause: list[Job] = []
        self.stream = Stream(Handback(asyncio.get_running_loop(), self.at_pause.append))
        self._chunks = self.stream.read(orjson.dumps)

    def tell(self, *texts: str) -> None:
        """Put a token for each of *texts*."""
        for text in texts:
            self.stream.events.put("token", {"text": text})

    async def next(self) -> list[str]:
        """Return the events of the next chunk."""
        async with asyncio.timeout(GENEROUS_S):
            chunk = (await anext(self._chunks)).decode()
        return [event.partition("data: ")[2].partition("\n")[0] for event in chunk.split("\n\n") if event]


async def seen() -> None:
    """Return when the reader has seen what it was woken for."""
    for _ in range(10):
        await asyncio.sleep(0)


def token(text: str) -> str:
    """Return the data of a token."""
    return f'{{"text":"{text}"}}'


@pytest.mark.parametrize("tells", [False, True])
def test_a_reader_learns_that_it_was_accepted_with_the_first_event_or_at_a_pause(*, tells: bool) -> None:
    """Woken for each by itself, the loop would hold up the run that is just being made ready."""

    async def read() -> None:
        reading = Reading()
        begun = asyncio.create_task(reading.stream.begun())
        reading.stream.accepted(lambda: None)
        await seen()
        assert not begun.done()

        if tells:
            reading.tell("a")
        else:
            reading.at_pause.pop()()
        await seen()
        assert begun.done()

    asyncio.run(read())


def test_what_comes_soon_after_a_write_goes_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first event waits for nothing; those that follow wait a moment for more, but not when the end is there."""
    monkeypatch.setattr("processor_runtime.stream._REST_S", LONG_S)

    async def read() -> None:
        reading = Reading()
        reading.tell("a")
        assert await reading.next() == [token("a")]

        following = asyncio.ensure_future(reading.next())
        for text in "bc":
            reading.tell(text)
            await seen()
            assert not following.done()
        reading.stream.reply(Answer(200, b"{}"))

        assert await following == [token("b"), token("c"), "{}"]

    asyncio.run(read())


def test_a_rest_ends_by_itself() -> None:
    """An event is told soon, whether or not another one comes."""

    async def read() -> None:
        reading = Reading()
        for text in "abc":
            following = asyncio.ensure_future(reading.next())
            await seen()
            reading.tell(text)
            assert await following == [token(text)]

    asyncio.run(read())


def test_who_has_much_to_tell_waits_for_no_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else it would be dropped, though the reader is not slow."""
    monkeypatch.setattr("processor_runtime.stream._REST_S", LONG_S)

    async def read() -> None:
        reading = Reading()
        reading.tell("a")
        await reading.next()

        following = asyncio.ensure_future(reading.next())
        for _ in range(MANY // 2):
            reading.tell("b")
            await asyncio.sleep(0)

        assert await following == [token("b")] * (MANY // 2)

    asyncio.run(read())

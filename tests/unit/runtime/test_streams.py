"""A stream is told what happens, gets the same envelope, and cancels when its last reader has left."""

from __future__ import annotations

from pathlib import Path

from processor_runtime.run import Run
from tests.unit.runtime.services import Bench, Held, payload, until, write_hello


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

"""A run settles once: by its result, its deadline or a cancel; what comes later is refused."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from processor_runtime import logs
from processor_runtime.errors import CancelledRunError, DeadlineError
from processor_runtime.execution import Caller, Execution
from processor_runtime.prefix import Roots
from processor_runtime.request import RunRequest
from processor_runtime.run import Run
from processor_runtime.schemas import validator
from processor_runtime.workspace import RunStoppedError
from tests.unit.runtime.services import GENEROUS_S, Bench, Held, payload, until, write_hello


def test_the_deadline_answers_without_waiting_for_the_handler(tmp_path: Path) -> None:
    """What the handler writes after that is refused, and its slot is held until it ends."""
    held = Held()
    bench = Bench(tmp_path, held)

    asked = bench.ask(payload(timeout_s=0.02))

    assert asked.verdict == (504, "ERR_TIMEOUT")
    assert held.ended == []
    assert bench.service.health() == "failed"
    assert bench.receipt()["envelope"] == asked.envelope
    held.release.set()
    held.wait_until_ended()
    bench.until_idle()
    assert bench.service.health() == "ok"
    assert not (tmp_path / "outputs/e1/outputs/a.txt").exists()


def test_a_file_that_is_open_at_the_deadline_never_appears(tmp_path: Path) -> None:
    """Not under its name, and not under a temporary one once the handler has ended."""
    inside, release, raised = threading.Event(), threading.Event(), list[BaseException]()

    def work(run: Run) -> None:
        try:
            with run.open_output("outputs/a.txt") as file:
                inside.set()
                assert release.wait(GENEROUS_S)
                file.write(b"late")
        except BaseException as exc:
            raised.append(exc)
            raise

    bench = Bench(tmp_path, work)
    asked = bench.ask(payload(timeout_s=0.02))
    assert asked.verdict == (504, "ERR_TIMEOUT")
    assert inside.is_set()
    release.set()
    bench.until_idle()

    assert [type(exc) for exc in raised] == [RunStoppedError]
    assert list((tmp_path / "outputs/e1/outputs").iterdir()) == []


@pytest.mark.parametrize("call", ["check", "progress", "token", "write_text", "open_output"])
def test_a_handler_learns_that_its_run_has_settled(tmp_path: Path, call: str) -> None:
    """By an exception that no `except Exception` swallows."""
    raised: list[BaseException] = []

    def late(run: Run) -> None:
        calls: dict[str, Callable[[], object]] = {
            "check": run.check,
            "progress": lambda: run.progress(0.5),
            "token": lambda: run.token("x"),
            "write_text": lambda: run.write_text("outputs/a.txt", "x"),
            "open_output": lambda: run.open_output("outputs/a.txt"),
        }
        try:
            calls[call]()
        except BaseException as exc:
            raised.append(exc)
            raise

    held = Held(late)
    bench = Bench(tmp_path, held)
    asked = bench.ask(payload())
    held.wait_until_running()
    assert bench.service.cancel("e1") is True
    assert asked.verdict == (499, "ERR_CANCELLED")
    held.release.set()
    bench.until_idle()

    assert [type(exc) for exc in raised] == [RunStoppedError]
    assert not isinstance(raised[0], Exception)


def test_an_async_handler_is_interrupted(tmp_path: Path) -> None:
    """By a cancel and by a deadline; the slot comes back without its help."""
    running, interrupted = threading.Event(), list[str]()

    async def work(run: Run) -> None:
        running.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            interrupted.append(run.execution_id)
            raise

    bench = Bench(tmp_path, work)
    cancelled = bench.ask(payload("e1"))
    assert running.wait(GENEROUS_S)
    assert bench.service.cancel("e1")
    assert cancelled.verdict == (499, "ERR_CANCELLED")
    assert bench.ask(payload("e2", timeout_s=0.02)).verdict == (504, "ERR_TIMEOUT")
    bench.until_idle()

    assert interrupted == ["e1", "e2"]


def test_cancelling_what_is_not_in_flight_says_so(tmp_path: Path) -> None:
    """Never asked for, settled, or refused."""
    bench = Bench(tmp_path, write_hello)
    assert bench.service.cancel("e1") is False

    assert bench.ask(payload()).verdict == (200, "success")

    assert bench.service.cancel("e1") is False


def test_a_cancelled_execution_in_the_queue_leaves_a_receipt(tmp_path: Path) -> None:
    """It never started: no durations, no handler, no index. The one that runs is not touched."""
    held = Held()
    bench = Bench(tmp_path, held)
    running = bench.ask(payload("e1"))
    held.wait_until_running()
    queued = bench.ask(payload("e2"))
    bench.until_waiting(1)

    assert bench.service.cancel("e2") is True

    assert queued.verdict == (499, "ERR_CANCELLED")
    receipt = bench.receipt("e2")
    assert receipt["envelope"] == queued.envelope
    assert (receipt["started_at"], receipt["duration_ms"]) == (None, None)
    assert validator("receipt").is_valid(receipt)
    held.release.set()
    assert running.verdict == (200, "success")
    assert held.calls == ["e1"]
    bench.until_idle()


@pytest.mark.parametrize("winner", range(6))
def test_result_deadline_and_cancel_settle_a_run_once(tmp_path: Path, winner: int) -> None:
    """They race: one outcome, one answer, one receipt that agrees with it, and every slot comes back."""
    start = threading.Barrier(3)

    def work(run: Run) -> None:
        start.wait(GENEROUS_S)
        run.write_text("outputs/a.txt", "x")

    bench = Bench(tmp_path, work, runtime={"concurrency": 2})
    verdicts = set()
    for number in range(12):
        name = f"e{winner}-{number}"
        asked = bench.ask(payload(name))

        def cancel(name: str = name) -> None:
            start.wait(GENEROUS_S)
            bench.service.cancel(name)

        def deadline(name: str = name) -> None:
            executor = bench.service._executor
            execution = executor._by_id[name]
            start.wait(GENEROUS_S)
            executor._stop(execution, DeadlineError())

        until(lambda name=name: name in bench.service._executor._by_id)  # type: ignore[misc]  # binds the variable
        threads = [threading.Thread(target=each) for each in (cancel, deadline)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        verdicts.add(asked.verdict)
        receipt = bench.receipt(name)
        assert receipt["envelope"] == asked.envelope
        index = tmp_path / "outputs" / name / "outputs.json"
        assert index.exists() is (asked.envelope["status"] == "success")
    bench.until_idle()

    assert bench.service._executor._overdue == 0
    assert verdicts <= {(200, "success"), (499, "ERR_CANCELLED"), (504, "ERR_TIMEOUT")}


@pytest.mark.parametrize("deciders", [2, 8])
def test_the_first_decision_wins(deciders: int) -> None:
    """Whoever comes later is told so."""
    for _ in range(20):
        execution = Execution(_request(), Caller(lambda _: None), logs.get_logger())
        barrier, firsts = threading.Barrier(deciders), list[CancelledRunError]()

        def decide(
            execution: Execution = execution, barrier: threading.Barrier = barrier, firsts: list[Any] = firsts
        ) -> None:
            error = CancelledRunError()
            barrier.wait(GENEROUS_S)
            if execution.decide(error):
                firsts.append(error)

        threads = [threading.Thread(target=decide) for _ in range(deciders)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(firsts) == 1
        assert execution.error is firsts[0]


def _request() -> Any:
    return RunRequest(
        execution_id="e1", place=Roots.of("/tmp", "", "").check_write("/tmp/e1/"), mode="mock", inputs={}, params={},
        inputs_sha256="", timeout_s=1.0, context={}, artifacts=(), trace_id=None,
    )  # fmt: skip

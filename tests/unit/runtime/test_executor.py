"""Who waits, who runs and who is told to come back; slots that are taken come back."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from processor_runtime import errors
from processor_runtime.execution import Answer, Caller, Execution
from processor_runtime.run import Run
from processor_runtime.workers import HELD_UP_S
from processor_runtime.workspace import Workspace
from tests.unit.runtime.services import GENEROUS_S, Asked, Bench, Held, payload, until, write_hello


def test_no_more_run_at_once_than_there_are_slots(tmp_path: Path) -> None:
    """And no fewer."""
    held = Held()
    bench = Bench(tmp_path, held, runtime={"concurrency": 2})
    asked = [bench.ask(payload(f"e{number}")) for number in range(5)]
    held.wait_until_running(2)
    bench.until_waiting(3)

    assert len(held.calls) == 2
    held.release.set()
    assert [each.verdict for each in asked] == [(200, "success")] * 5
    bench.until_idle()


def test_those_that_wait_run_in_the_order_in_which_they_came(tmp_path: Path) -> None:
    """With one slot there is one order."""
    held = Held()
    bench = Bench(tmp_path, held)
    asked = [bench.ask(payload("e0"))]
    held.wait_until_running()
    for number in range(1, 6):
        asked.append(bench.ask(payload(f"e{number}")))
        bench.until_waiting(number)

    held.release.set()

    assert [each.verdict for each in asked] == [(200, "success")] * 6
    assert held.calls == [f"e{number}" for number in range(6)]


def _late_to_let_go(bench: Bench, monkeypatch: pytest.MonkeyPatch, first: Asked, meanwhile: Callable[[], None]) -> None:
    """Keep the thread that queues `e2` on its way until *first* is answered and what that frees was given away."""
    executor = bench.service._executor
    accept = executor._accept

    def late(execution: Execution, caller: Caller) -> None:
        accept(execution, caller)
        if execution.request.execution_id == "e2":
            meanwhile()
            until(lambda: execution.answered or (first.answered and executor._slots_taken == 0))

    monkeypatch.setattr(executor, "_accept", late)


def test_a_run_that_begins_while_it_is_still_being_queued_is_answered_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The slot comes free between taking the waiting place and letting go of the execution."""
    settled: list[str] = []
    held = Held()
    bench = Bench(tmp_path, held)
    settle = bench.service._recorder.settle

    def noted(execution: Execution) -> Answer:
        settled.append(execution.request.execution_id)
        return settle(execution)

    monkeypatch.setattr(bench.service._recorder, "settle", noted)
    first = bench.ask(payload("e1"))
    held.wait_until_running()
    _late_to_let_go(bench, monkeypatch, first, held.release.set)

    second = bench.ask(payload("e2"))

    assert second.verdict == (200, "success")
    assert bench.ask(payload("e3")).verdict == (200, "success")
    bench.until_idle()
    assert sorted(settled) == ["e1", "e2", "e3"]
    assert len(second._answers) == 1


def test_a_run_that_begins_while_it_is_still_being_queued_keeps_its_deadline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The alarm for waiting too long must not take the place of the deadline's."""
    held, stuck = Held(), threading.Event()

    def work(run: Run) -> None:
        if run.execution_id == "e1":
            held(run)
        else:
            assert stuck.wait(GENEROUS_S)

    bench = Bench(tmp_path, work)
    executor = bench.service._executor
    first = bench.ask(payload("e1"))
    held.wait_until_running()
    alarm, late = executor._alarms.set, threading.Event()

    def set_late(key: object, after_s: float, ring: Callable[[], None]) -> None:
        if getattr(getattr(key, "request", None), "execution_id", "") == "e2" and not late.is_set():
            late.set()
            held.release.set()
            if executor._lock.acquire(timeout=0.1):  # else it is ours, and nobody can start anything meanwhile
                executor._lock.release()
                until(lambda: key in executor._alarms._entries or (first.answered and executor._slots_taken == 0))
        alarm(key, after_s, ring)

    monkeypatch.setattr(executor._alarms, "set", set_late)
    second = bench.ask(payload("e2", timeout_s=0.3))
    try:
        until(lambda: second.answered)
        assert second.verdict == (504, "ERR_TIMEOUT")
    finally:
        stuck.set()
    bench.until_idle()


def test_a_request_that_is_cancelled_just_when_it_has_waited_too_long_is_answered_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What comes first decides; what comes later is dropped."""
    held = Held()
    bench = Bench(tmp_path, held)
    executor = bench.service._executor
    refuse = executor._refuse

    def cancelled_first(execution: Execution, error: errors.ProcessorError) -> None:
        assert bench.service.cancel("e2")
        until(lambda: second.answered or execution.held)  # settled by the cancel, or left to who holds it
        refuse(execution, error)

    first = bench.ask(payload("e1"))
    held.wait_until_running()
    monkeypatch.setattr(executor, "_refuse", cancelled_first)
    second = Asked()
    bench.service.call(json.dumps(payload("e2", timeout_s=0.05)).encode(), Caller(second))
    until(lambda: second.answered)
    alarms_are_quiet = threading.Event()
    executor._alarms.set("quiet", 0.0, alarms_are_quiet.set)  # rings in the thread that refuses, after it has
    assert alarms_are_quiet.wait(GENEROUS_S)

    assert second.verdict in {(499, "ERR_CANCELLED"), (429, "ERR_BUSY")}
    held.release.set()
    assert first.verdict == (200, "success")
    bench.until_idle()
    assert second.verdict[0] in {499, 429}


def test_beyond_slots_and_places_a_request_is_told_to_come_back(tmp_path: Path) -> None:
    """It writes nothing; as soon as there is a place it is welcome."""
    held = Held()
    bench = Bench(tmp_path, held, environ={"PROCESSOR_QUEUE": "1"})
    first = bench.ask(payload("e1"))
    held.wait_until_running()
    second = bench.ask(payload("e2"))
    bench.until_waiting(1)

    third = bench.ask(payload("e3"))

    assert third.verdict == (429, "ERR_BUSY")
    assert third.answer.retry_after_s is not None
    assert third.envelope["error"]["retryable"] is True
    assert not (tmp_path / "outputs/e3").exists()
    held.release.set()
    assert [first.verdict, second.verdict] == [(200, "success")] * 2
    assert bench.ask(payload("e3")).verdict == (200, "success")


def test_without_waiting_places_only_slots_count(tmp_path: Path) -> None:
    """`PROCESSOR_QUEUE=0`."""
    held = Held()
    bench = Bench(tmp_path, held, environ={"PROCESSOR_QUEUE": "0"})
    first = bench.ask(payload("e1"))
    held.wait_until_running()

    assert bench.ask(payload("e2")).verdict == (429, "ERR_BUSY")
    held.release.set()
    assert first.verdict == (200, "success")
    assert bench.ask(payload("e2")).verdict == (200, "success")


def test_who_waited_for_its_whole_timeout_is_told_to_come_back(tmp_path: Path) -> None:
    """It was no run: nothing is written."""
    held = Held()
    bench = Bench(tmp_path, held)
    first = bench.ask(payload("e1"))
    held.wait_until_running()

    second = bench.ask(payload("e2", timeout_s=0.05))

    assert second.verdict == (429, "ERR_BUSY")
    assert not (tmp_path / "outputs/e2").exists()
    held.release.set()
    assert first.verdict == (200, "success")
    bench.until_idle()


def test_many_runs_at_once_leave_every_slot_free(tmp_path: Path) -> None:
    """Successes, failures, cancels, deadlines and conflicts, all mixed."""

    def work(run: Run) -> None:
        number = int(run.execution_id[1:])
        if number % 4 == 1:
            raise ValueError
        if number % 4 == 2:
            while run.remaining_s() > 0:
                run.check()
            run.check()
        write_hello(run)

    bench = Bench(tmp_path, work, runtime={"concurrency": 3}, environ={"PROCESSOR_QUEUE": "100"})
    asked = [
        bench.ask(payload(f"e{number}", inputs={"n": n}, timeout_s=0.02 if number % 4 == 2 else 10))
        for n in (1, 2)
        for number in range(40)
    ]
    for number in range(3, 40, 4):
        bench.service.cancel(f"e{number}")

    statuses = {each.verdict[0] for each in asked}

    assert statuses <= {200, 409, 429, 499, 500, 504}
    assert {200, 409, 500} <= statuses
    bench.until_idle()
    assert bench.service._executor._overdue == 0
    assert bench.service.health() == "ok"


# --- draining


def test_draining_refuses_new_runs_and_waits_for_those_in_flight(tmp_path: Path) -> None:
    """Running and queued ones keep their places; when all are answered it is over."""
    held, drained = Held(), threading.Event()
    bench = Bench(tmp_path, held)
    running = bench.ask(payload("e1"))
    held.wait_until_running()
    queued = bench.ask(payload("e2"))
    bench.until_waiting(1)

    bench.service.drain(drained.set)

    refused = bench.ask(payload("e3"))
    assert refused.verdict == (503, "ERR_DRAINING")
    assert refused.answer.retry_after_s is not None
    assert bench.service.health() == "draining"
    assert not drained.is_set()
    held.release.set()
    assert running.verdict == queued.verdict == (200, "success")
    assert drained.wait(GENEROUS_S)


def test_after_the_grace_what_still_runs_is_cancelled(tmp_path: Path) -> None:
    """With its receipt; a handler that does not stop is not waited for."""
    held, drained = Held(), threading.Event()
    bench = Bench(tmp_path, held, environ={"PROCESSOR_GRACE_S": "0.02"})
    running = bench.ask(payload("e1"))
    held.wait_until_running()
    queued = bench.ask(payload("e2"))
    bench.until_waiting(1)

    bench.service.drain(drained.set)

    assert drained.wait(GENEROUS_S)
    assert running.verdict == queued.verdict == (499, "ERR_CANCELLED")
    assert bench.receipt("e1")["envelope"] == running.envelope
    assert bench.receipt("e2")["envelope"] == queued.envelope
    held.release.set()


def test_draining_an_idle_service_is_over_at_once(tmp_path: Path) -> None:
    """Exactly once."""
    drained: list[None] = []

    Bench(tmp_path, write_hello).service.drain(lambda: drained.append(None))

    assert drained == [None]


def test_a_request_that_breaks_a_rule_is_told_so_even_while_draining(tmp_path: Path) -> None:
    """The rules of section 2 come before draining."""
    bench = Bench(tmp_path, write_hello)
    bench.service.drain(lambda: None)

    assert bench.ask(payload(schema="v2")).verdict == (400, "ERR_INPUTS")


@pytest.mark.parametrize(
    ("seconds", "expected"), [((), True), ((HELD_UP_S / 2,) * 32, False), ((HELD_UP_S,) * 32, True)]
)
def test_what_waits_for_a_pause_goes_ahead_of_a_handler_that_may_take_its_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: tuple[float, ...], *, expected: bool
) -> None:
    """And ahead of its file calls, at which others get the interpreter's lock; a quick one delays nobody."""
    order = list[str]()
    bench = Bench(tmp_path, lambda _run: order.append("handler"))
    executor = bench.service._executor
    for each in seconds:
        executor._pace.note(each)
    pause, make = executor.workers.pause, Workspace.make

    def noted_pause() -> None:
        order.append("pause")
        pause()

    def noted_make(workspace: Workspace) -> None:
        order.append("make")
        make(workspace)

    monkeypatch.setattr(executor.workers, "pause", noted_pause)
    monkeypatch.setattr(Workspace, "make", noted_make)

    bench.ask(payload("e1")).verdict  # noqa: B018  # it waits for the answer

    before = order[: order.index("make")]
    assert before == (["pause"] if expected else [])

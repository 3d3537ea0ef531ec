"""The same request again is joined, replayed or run again; another one in its place is a conflict."""

from __future__ import annotations

import json
import os
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from processor_runtime.execution import Execution
from processor_runtime.run import Run
from processor_runtime.workspace import Workspace
from tests.unit.runtime.services import GENEROUS_S, Asked, Bench, Held, payload, until, write_hello


def test_callers_that_join_get_the_same_bytes(tmp_path: Path) -> None:
    """One handler call; everybody but the first is told that it is a replay. No place is taken."""
    held = Held()
    bench = Bench(tmp_path, held, environ={"PROCESSOR_QUEUE": "0"})
    first = bench.ask(payload())
    held.wait_until_running()
    joined = [bench.ask(payload()) for _ in range(5)]
    until(lambda: len(bench.service._executor._by_id["e1"].callers()) == 6)

    held.release.set()

    assert {each.answer.body for each in joined} == {first.answer.body}
    assert [each.answer.status for each in (first, *joined)] == [200] * 6
    assert [each.answer.replayed for each in (first, *joined)] == [False, *[True] * 5]
    assert held.calls == ["e1"]


def test_a_settled_success_is_replayed_without_a_handler_call(tmp_path: Path) -> None:
    """By this service and by one that starts later."""
    calls: list[str] = []

    def work(run: Run) -> None:
        calls.append(run.execution_id)
        write_hello(run)

    bench = Bench(tmp_path, work)
    first = bench.ask(payload())
    assert first.verdict == (200, "success")

    for service in (bench, Bench(tmp_path, work)):
        again = service.ask(payload())
        assert again.envelope == first.envelope
        assert again.answer.replayed is True
    assert calls == ["e1"]
    assert first.answer.replayed is False


def test_context_timeout_and_the_spelling_of_the_prefix_do_not_matter_to_sameness(tmp_path: Path) -> None:
    """They are no part of the result."""
    bench = Bench(tmp_path, write_hello)
    first = bench.ask(payload())
    assert first.verdict == (200, "success")

    again = bench.ask(payload(context={"try": 2}, timeout_s=1, ref="ns/name@1", write_prefix="/artifacts/outputs/e1"))

    assert (again.envelope, again.answer.replayed) == (first.envelope, True)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"inputs": {"schema": "v1", "params": {"n": 1}}}, id="other inputs"),
        pytest.param({"mode": "real"}, id="the other mode"),
    ],
)
@pytest.mark.parametrize("when", ["in flight", "settled"])
def test_another_request_under_a_taken_prefix_is_a_conflict(tmp_path: Path, change: dict[str, Any], when: str) -> None:
    """Nothing of the first one is changed."""
    held = Held()
    bench = Bench(tmp_path, held, secrets={"NEEDED_KEY": "value"})
    first = bench.ask(payload())
    held.wait_until_running()
    if when == "settled":
        held.release.set()
        assert first.verdict == (200, "success")

    assert bench.ask(payload(**change)).verdict == (409, "ERR_EXECUTION_CONFLICT")

    held.release.set()
    envelope = first.envelope
    assert bench.receipt()["envelope"] == envelope


def test_another_id_under_a_settled_prefix_is_a_conflict(tmp_path: Path) -> None:
    """Its receipt names the one that was there."""
    bench = Bench(tmp_path, write_hello)
    prefix = "/artifacts/outputs/shared/"
    assert bench.ask(payload("e1", write_prefix=prefix)).verdict == (200, "success")

    assert bench.ask(payload("e2", write_prefix=prefix)).verdict == (409, "ERR_EXECUTION_CONFLICT")


def test_an_id_in_flight_cannot_be_used_under_another_prefix_and_a_settled_one_can(tmp_path: Path) -> None:
    """CONTRACT section 4."""
    held = Held()
    bench = Bench(tmp_path, held)
    first = bench.ask(payload("e1"))
    held.wait_until_running()
    elsewhere = payload("e1", write_prefix="/artifacts/elsewhere/{execution_id}/")

    assert bench.ask(elsewhere).verdict == (409, "ERR_EXECUTION_CONFLICT")

    held.release.set()
    assert first.verdict == (200, "success")
    assert bench.ask(elsewhere).verdict == (200, "success")
    assert held.calls == ["e1", "e1"]


@pytest.mark.parametrize("other", [{"ref": "ns/name@2"}, {"environ": {"IMAGE_DIGEST": "sha256:" + "f" * 64}}])
def test_another_image_does_not_replay(tmp_path: Path, other: dict[str, Any]) -> None:
    """The receipt's ref and digest must be this service's."""
    assert Bench(tmp_path, write_hello).ask(payload()).verdict == (200, "success")

    assert Bench(tmp_path, write_hello, **other).ask(payload()).verdict == (409, "ERR_EXECUTION_CONFLICT")


def test_a_failed_run_is_run_again_and_forgets_the_failed_one_first(tmp_path: Path) -> None:
    """While the second attempt runs there is neither receipt nor index."""
    seen: list[list[str]] = []
    bench: Bench

    def work(run: Run) -> None:
        seen.append([name for name in bench.files() if name.endswith(".json")])
        if len(seen) == 1:
            raise ValueError
        write_hello(run)

    bench = Bench(tmp_path, work)

    assert bench.ask(payload()).verdict == (500, "ERR_RUNTIME")
    assert (tmp_path / "outputs/e1/receipt.json").exists()
    again = bench.ask(payload())
    assert again.verdict == (200, "success")
    assert again.answer.replayed is False
    assert seen == [[], []]


@pytest.mark.parametrize("locked", [False, True])
@pytest.mark.parametrize(("fails", "left"), [(True, ["receipt.json"]), (False, ["outputs.json", "receipt.json"])])
def test_no_index_is_left_of_a_run_that_was_killed_in_the_same_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, locked: bool, fails: bool, left: list[str]
) -> None:
    """Another process died between its index and its receipt, in its own folder or in the one that we had just made."""
    folder = tmp_path / "outputs/e1"
    make = Workspace.make
    seen: list[bool] = []

    def left_by_another() -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "outputs.json").write_bytes(b'{"execution_id":"e1","outputs":["of another"]}')

    def made(self: Workspace) -> None:
        if self.opened:  # the second time, for the evidence
            return
        if not locked:
            left_by_another()
        make(self)
        if locked:
            left_by_another()

    monkeypatch.setattr(Workspace, "make", made)

    def work(run: Run) -> None:
        seen.append((folder / "outputs.json").exists())
        if fails:
            raise ValueError
        write_hello(run)

    assert Bench(tmp_path, work).ask(payload()).verdict[0] == (500 if fails else 200)

    assert seen == [locked]
    assert sorted(path.name for path in folder.glob("*.json")) == left
    assert fails or b"of another" not in (folder / "outputs.json").read_bytes()


def test_a_receipt_is_read_whole_where_the_system_gives_it_in_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As network file systems may."""
    bench = Bench(tmp_path, write_hello)
    assert bench.ask(payload()).verdict == (200, "success")
    read = os.read
    monkeypatch.setattr(os, "read", lambda fd, size: read(fd, min(size, 100)))

    assert bench.ask(payload()).answer.replayed is True


@pytest.mark.parametrize("damage", ["removed", "shortened", "lengthened"])
def test_a_success_whose_outputs_are_gone_is_run_again(tmp_path: Path, damage: str) -> None:
    """What an envelope names must be there."""
    bench = Bench(tmp_path, write_hello)
    assert bench.ask(payload()).verdict == (200, "success")
    output = tmp_path / "outputs/e1/outputs/a.txt"
    if damage == "removed":
        output.unlink()
    else:
        output.write_text("hell" if damage == "shortened" else "hello!")

    again = bench.ask(payload())

    assert again.verdict == (200, "success")
    assert again.answer.replayed is False
    assert output.read_text() == "hello"


@pytest.mark.parametrize(
    "receipt",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"{", id="torn"),
        pytest.param(b"[]", id="a list"),
    ],
)
def test_an_unreadable_receipt_is_no_receipt(tmp_path: Path, receipt: bytes) -> None:
    """A killed run left it, or a full disk."""
    (tmp_path / "outputs/e1").mkdir(parents=True)
    (tmp_path / "outputs/e1/receipt.json").write_bytes(receipt)

    assert Bench(tmp_path, write_hello).ask(payload()).verdict == (200, "success")


@pytest.mark.parametrize("outputs", [["x"], [None], "x", None, [{}], [{"path": 1}]])
def test_a_receipt_whose_outputs_are_no_rows_is_not_replayed(tmp_path: Path, outputs: Any) -> None:
    """Somebody edited it: what it promises cannot be found, so it is run again."""
    bench = Bench(tmp_path, write_hello)
    assert bench.ask(payload()).verdict == (200, "success")
    receipt = bench.receipt()
    receipt["envelope"]["outputs"] = outputs
    (tmp_path / "outputs/e1/receipt.json").write_text(json.dumps(receipt))

    again = bench.ask(payload())

    assert again.verdict == (200, "success")
    assert again.answer.replayed is False


def test_an_execution_whose_handler_has_not_ended_cannot_run_again(tmp_path: Path) -> None:
    """It would write beside itself. Once it has ended, it can."""
    held = Held()
    bench = Bench(tmp_path, held, runtime={"concurrency": 2})
    assert bench.ask(payload(timeout_s=0.02)).verdict == (504, "ERR_TIMEOUT")

    assert bench.ask(payload()).verdict == (429, "ERR_BUSY")

    held.release.set()
    held.wait_until_ended()
    bench.until_idle()
    assert bench.ask(payload()).verdict == (200, "success")


def test_the_same_request_is_never_busy_while_the_first_one_is_being_put_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its handler has ended: it is either in flight, and joined, or settled, and replayed."""
    bench = Bench(tmp_path, write_hello)
    executor, close, register = bench.service._executor, Execution.close, bench.service._executor._register
    registered, again = threading.Event(), list[Asked]()

    def noted(*arguments: Any) -> Any:
        try:
            return register(*arguments)
        finally:
            if again:
                registered.set()

    def closing(execution: Execution) -> None:
        if not again:
            again.append(Asked())
            again[0] = bench.ask(payload())
            assert registered.wait(GENEROUS_S)
        close(execution)

    monkeypatch.setattr(executor, "_register", noted)
    monkeypatch.setattr(Execution, "close", closing)
    first = bench.ask(payload())
    assert first.verdict == (200, "success")

    until(lambda: bool(again) and again[0].answered)
    assert again[0].verdict == (200, "success")
    assert again[0].envelope == first.envelope


def test_a_hundred_times_the_same_request_is_one_handler_call(tmp_path: Path) -> None:
    """From eight threads, with no pause: joined or replayed, never busy, never run twice."""
    calls: list[str] = []

    def work(run: Run) -> None:
        calls.append(run.execution_id)
        write_hello(run)

    bench = Bench(tmp_path, work, environ={"PROCESSOR_QUEUE": "100"})
    asked: list[Asked] = []

    def ask() -> None:
        asked.extend([bench.ask(payload(f"e{number}")) for number in range(25)])

    threads = [threading.Thread(target=ask) for _ in range(8)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        verdicts = {each.verdict for each in asked}
    finally:
        sys.setswitchinterval(interval)

    assert verdicts == {(200, "success")}
    assert sorted(calls) == sorted({f"e{number}" for number in range(25)})


def test_a_request_that_turns_out_to_be_no_run_is_in_nobodys_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is looked at while the right one comes: the wrong one is a conflict, and the right one is replayed."""
    bench = Bench(tmp_path, write_hello)
    assert bench.ask(payload()).verdict == (200, "success")
    executor = bench.service._executor
    look, register = executor._look, executor._register
    looking, registered = threading.Event(), threading.Event()

    def slow_look(execution: Execution) -> Any:
        if not looking.is_set():
            looking.set()
            assert registered.wait(GENEROUS_S)
        return look(execution)

    def noted(*arguments: Any) -> Any:
        try:
            return register(*arguments)
        finally:
            if looking.is_set():
                registered.set()

    monkeypatch.setattr(executor, "_look", slow_look)
    monkeypatch.setattr(executor, "_register", noted)
    wrong = bench.ask(payload(inputs={"other": 1}))
    assert looking.wait(GENEROUS_S)
    right = bench.ask(payload())

    assert wrong.verdict == (409, "ERR_EXECUTION_CONFLICT")
    assert right.verdict == (200, "success")
    assert right.answer.replayed is True

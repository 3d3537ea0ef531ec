"""Two services on one folder stand in for two processes: the lock in the prefix decides between them."""

from __future__ import annotations

from pathlib import Path

from processor_runtime.run import Run
from tests.unit.runtime.services import Asked, Bench, Held, payload, until, write_hello


def test_two_services_on_one_folder_call_the_handler_once(tmp_path: Path) -> None:
    """Each has its own descriptors, as two processes have: the lock in the prefix decides."""
    held = Held()
    one, other = Bench(tmp_path, held), Bench(tmp_path, held)
    first = one.ask(payload())
    held.wait_until_running()
    second = other.ask(payload())
    other.until_asked_for(1)

    held.release.set()

    assert first.verdict == second.verdict == (200, "success")
    assert second.envelope == first.envelope
    assert (first.answer.replayed, second.answer.replayed) == (False, True)
    assert held.calls == ["e1"]
    other.until_idle()


def test_two_services_that_race_call_each_handler_once(tmp_path: Path) -> None:
    """Twenty executions, asked of both at the same moment."""
    calls: list[str] = []

    def work(run: Run) -> None:
        calls.append(run.execution_id)
        write_hello(run)

    benches = [Bench(tmp_path, work, environ={"PROCESSOR_QUEUE": "100"}) for _ in range(2)]
    asked = [bench.ask(payload(f"e{number}")) for number in range(20) for bench in benches]

    assert {each.verdict for each in asked} == {(200, "success")}
    assert sorted(calls) == sorted({f"e{number}" for number in range(20)})
    for number in range(20):
        assert asked[2 * number].envelope == asked[2 * number + 1].envelope


def test_another_request_under_a_prefix_that_another_service_runs_is_a_conflict(tmp_path: Path) -> None:
    """As soon as the other one has settled, at the latest."""
    held = Held()
    one, other = Bench(tmp_path, held), Bench(tmp_path, write_hello)
    first = one.ask(payload())
    held.wait_until_running()
    second = other.ask(payload(inputs={"other": True}))
    other.until_asked_for(1)

    held.release.set()

    assert first.verdict == (200, "success")
    assert second.verdict == (409, "ERR_EXECUTION_CONFLICT")


def test_a_request_that_waits_for_another_service_can_be_cancelled(tmp_path: Path) -> None:
    """It writes nothing into the other one's folder."""
    held = Held()
    one, other = Bench(tmp_path, held), Bench(tmp_path, held)
    first = one.ask(payload())
    held.wait_until_running()
    second = other.ask(payload())
    other.until_asked_for(1)

    until(lambda: other.service.cancel("e1"))

    assert second.verdict == (499, "ERR_CANCELLED")
    assert not (tmp_path / "outputs/e1/receipt.json").exists()
    held.release.set()
    assert first.verdict == (200, "success")
    assert _receipt_is(one, first)
    other.until_idle()


def _receipt_is(bench: Bench, asked: Asked) -> bool:
    """Return whether the receipt holds the envelope that was answered."""
    return bool(bench.receipt()["envelope"] == asked.envelope)


def test_a_request_that_waits_too_long_for_another_service_is_busy(tmp_path: Path) -> None:
    """`timeout_s` is all that anybody waits."""
    held = Held()
    one, other = Bench(tmp_path, held), Bench(tmp_path, held)
    first = one.ask(payload())
    held.wait_until_running()

    assert other.ask(payload(timeout_s=0.02)).verdict == (429, "ERR_BUSY")

    held.release.set()
    assert first.verdict == (200, "success")
    other.until_idle()


def test_a_receipt_of_another_machine_is_found_after_a_refresh(tmp_path: Path) -> None:
    """Once, when nothing is at the prefix."""
    (tmp_path / "a").mkdir()
    first = Bench(tmp_path / "a", write_hello).ask(payload())
    assert first.verdict == (200, "success")
    refreshed: list[None] = []

    def refresh() -> None:
        refreshed.append(None)
        (tmp_path / "a").rename(tmp_path / "b")

    again = Bench(tmp_path / "b", write_hello, refresh=refresh).ask(payload())

    assert (again.envelope, again.answer.replayed) == (first.envelope, True)
    assert len(refreshed) == 1

"""`DELETE /run/{execution_id}` asks for the end of an execution; the answer never waits for its handler (§1, §5)."""

from __future__ import annotations

import json
from collections.abc import Iterator

import httpx2
import pytest

from tests.contract.judge import BEFORE_A_RUN, check_receipt, failure, prefix_of, refusal, success
from tests.contract.slots import with_runtime
from tests.support.callers import Callers, is_replayed, joined, replayed_on
from tests.support.service import JsonObject, Service, wait_until
from tests.support.sse import Stream


@pytest.fixture
def callers(steps: Service) -> Iterator[Callers]:
    """Those who call the fixture with four slots, with a sync handler and then with an async one."""
    with Callers(steps) as callers:
        yield callers


@pytest.fixture(scope="module", params=["sync", "async"])
def one_slot(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Service]:
    """The fixture with one slot and two waiting places."""
    room = tmp_path_factory.mktemp("one-slot")
    environ = {"PROCESSOR_QUEUE": "2", "PROCESSOR_MODE": "mock", "FIXTURE_KIND": request.param}
    with Service(with_runtime(room, concurrency=1), room / "service", environ) as service:
        yield service


@pytest.fixture
def single(one_slot: Service) -> Iterator[Callers]:
    """Those who call the fixture with one slot."""
    with Callers(one_slot) as callers:
        yield callers


@pytest.fixture(scope="module")
def no_queue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The fixture with one slot, no waiting place and a sync handler."""
    room = tmp_path_factory.mktemp("no-queue")
    environ = {"PROCESSOR_QUEUE": "0", "PROCESSOR_MODE": "mock"}
    with Service(with_runtime(room, concurrency=1), room / "service", environ) as service:
        yield service


# --- the answer to the question --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "execution_id", ["nobody", "a" * 128, "a" * 5000, "..", "%2e%2e", "a%2Fb", "a%00b", "%ff", "é"]
)
def test_an_id_that_is_unknown_is_not_found(steps: Service, execution_id: str) -> None:
    """Whatever it looks like: 404 and an envelope without an id."""
    refusal(steps, steps.http.delete(f"/run/{execution_id}"), "ERR_NOT_FOUND")


@pytest.mark.parametrize("do", [[["write", "outputs/text.txt", "x"]], [["raise", "ValueError", "x"]]])
def test_a_settled_execution_is_not_found(callers: Callers, do: list[list[str]]) -> None:
    """There is nothing to cancel any more, and what it left stays."""
    payload = callers.exactly(*do)
    envelope = callers.service.run(payload)
    receipt = callers.service.file(f"{prefix_of(payload)}receipt.json").read_bytes()

    refusal(callers.service, callers.cancel(payload["execution_id"]), "ERR_NOT_FOUND")

    assert callers.service.file(f"{prefix_of(payload)}receipt.json").read_bytes() == receipt
    assert json.loads(receipt)["envelope"] == envelope


def test_a_refused_request_is_not_found(callers: Callers) -> None:
    """It is no execution."""
    payload = callers.payload(mode="dream")
    callers.service.run(payload)

    refusal(callers.service, callers.cancel(payload["execution_id"]), "ERR_NOT_FOUND")


def test_a_running_execution_is_being_cancelled_until_it_settled(callers: Callers) -> None:
    """202, as often as one asks; then 404."""
    service, gate = callers.service, callers.gate()
    payload = callers.payload(callers.held(gate))
    answer = callers.running(gate, payload)

    answers = [callers.cancel(payload["execution_id"])]
    while answers[-1].status_code == 202:
        assert answers[-1].json() == {"execution_id": payload["execution_id"], "state": "cancelling"}
        assert answers[-1].headers["content-type"].partition(";")[0] == "application/json"
        answers.append(callers.cancel(payload["execution_id"]))

    assert len(answers) > 1
    refusal(service, answers[-1], "ERR_NOT_FOUND")
    failure(service, answer.result(), "ERR_CANCELLED", execution_id=payload["execution_id"])


# --- running ---------------------------------------------------------------------------------------------------------


def test_a_running_handler_is_stopped_where_it_can_be(callers: Callers) -> None:
    """A sync one where it checks, an async one where it waits; the receipt holds the envelope."""
    service, gate = callers.service, callers.gate()
    payload = callers.payload(callers.held(gate), ["mark", f"{gate}.went-on"])
    answer = callers.running(gate, payload)

    assert callers.cancel(payload["execution_id"]).status_code == 202

    envelope = failure(service, answer.result(), "ERR_CANCELLED", execution_id=payload["execution_id"])
    assert set(envelope["meta"]) >= BEFORE_A_RUN | {"queued_ms", "duration_ms"}
    check_receipt(service, envelope, payload)
    service.wait_for_mark(f"{gate}.stopped")
    assert not service.marked(f"{gate}.went-on")
    assert not service.file(f"{prefix_of(payload)}outputs.json").exists()
    settled = service.wait_for_line(event="http.run.settle", execution_id=payload["execution_id"])
    assert (settled["status"], settled["code"]) == ("error", "ERR_CANCELLED")


@pytest.mark.parametrize("step", ["wait", "spin", "keep_checking"])
def test_the_answer_does_not_wait_for_a_handler_that_goes_on(callers: Callers, step: str) -> None:
    """It sleeps, spins, or does not listen: the caller is told at once, and what comes late is dropped and logged."""
    service, gate = callers.service, callers.gate()
    payload = callers.payload([step, gate])
    answer = callers.running(gate, payload)

    callers.cancel(payload["execution_id"])

    envelope = failure(service, answer.result(), "ERR_CANCELLED", execution_id=payload["execution_id"])  # gate is shut
    check_receipt(service, envelope, payload)
    before = service.tree()
    service.allow(gate)
    wait_until(lambda: told_after_settling(service, payload), lambda: "a line about the late result")
    assert service.tree() == before
    check_receipt(service, envelope, payload)


@pytest.mark.parametrize("steps", ["async"], indirect=True)  # a sync handler that does not listen is above
def test_an_async_handler_that_does_not_stop_is_not_waited_for(callers: Callers) -> None:
    """It swallows its cancellation and stays."""
    service, gate = callers.service, callers.gate()
    payload = callers.payload(["stay", gate])
    answer = callers.running(gate, payload)

    callers.cancel(payload["execution_id"])

    failure(service, answer.result(), "ERR_CANCELLED", execution_id=payload["execution_id"])
    service.wait_for_mark(f"{gate}.stopped")


def test_late_writes_are_refused(callers: Callers) -> None:
    """Once the run has settled its handler writes nothing more, and finds out."""
    service, gate = callers.service, callers.gate()
    payload = callers.exactly(["wait_and_write", gate, "outputs/text.txt"])
    answer = callers.running(gate, payload)
    callers.cancel(payload["execution_id"])
    failure(service, answer.result(), "ERR_CANCELLED", execution_id=payload["execution_id"])
    before = service.tree()

    service.allow(gate)

    service.wait_for_mark(f"{gate}.refused")
    assert not service.marked(f"{gate}.written")
    assert service.tree() == before


def test_an_output_half_written_at_the_end_is_no_output(callers: Callers) -> None:
    """Cancelled between two pieces: no file under the final name, no row, and the rest of it is refused."""
    service, gate = callers.service, callers.gate()
    payload = callers.payload(["output_in_pieces", "outputs/blob.bin", 4, 70_000, gate])
    answer = callers.running(gate, payload)

    callers.cancel(payload["execution_id"])

    envelope = failure(service, answer.result(), "ERR_CANCELLED", execution_id=payload["execution_id"])
    assert check_receipt(service, envelope, payload)["outputs"] == []
    service.allow(gate)
    wait_until(lambda: told_after_settling(service, payload), lambda: "a line about the late result")
    assert not service.file(f"{prefix_of(payload)}outputs/blob.bin").exists()


def test_a_cancelled_run_can_be_asked_for_again(callers: Callers) -> None:
    """It settled with an error: the same request runs anew, once its handler has ended."""
    service, gate = callers.service, callers.gate()
    payload = callers.payload(["count", gate], callers.held(gate))
    answer = callers.running(gate, payload)
    callers.cancel(payload["execution_id"])
    failure(service, answer.result(), "ERR_CANCELLED", execution_id=payload["execution_id"])
    service.allow(gate)

    again = wait_until(lambda: not_busy(callers, payload), lambda: "the handler to have ended")

    success(service, again, payload)
    assert not is_replayed(again)
    assert (service.marks / gate).read_bytes() == b".."


def test_all_who_joined_get_the_same_envelope(callers: Callers) -> None:
    """One run, one end: runs and streams alike."""
    service, gate = callers.service, callers.gate()
    payload = callers.payload(callers.held(gate))
    answer = callers.running(gate, payload)
    with joined(service, payload, 5) as others, Stream.opened(service, payload) as stream:
        callers.cancel(payload["execution_id"])
        done = stream.rest()[-1].data
        told = [replayed_on(other) for other in others]

    failure(service, answer.result(), "ERR_CANCELLED", execution_id=payload["execution_id"])
    assert told == [answer.result().content] * 5
    assert done == answer.result().json()


def test_a_cancel_stops_nobody_else(callers: Callers) -> None:
    """Of two runs the one that was named."""
    service, gates = callers.service, [callers.gate(), callers.gate()]
    payloads = [callers.payload(callers.held(gate)) for gate in gates]
    answers = [callers.running(gate, payload) for gate, payload in zip(gates, payloads, strict=True)]

    callers.cancel(payloads[0]["execution_id"])
    failure(service, answers[0].result(), "ERR_CANCELLED", execution_id=payloads[0]["execution_id"])
    service.allow(gates[1])

    success(service, answers[1].result(), payloads[1])
    assert not service.marked(f"{gates[1]}.stopped")


def test_a_cancel_that_comes_with_the_result_leaves_one_of_both(callers: Callers) -> None:
    """A request, not a promise: the answer and the receipt say the same, whichever it is."""
    service = callers.service
    ended = set()
    for _ in range(40):
        payload = callers.payload(["token", "a"])
        answer = callers.run(payload)
        cancelled = callers.cancel(payload["execution_id"])
        while cancelled.status_code == 404 and not answer.done():
            cancelled = callers.cancel(payload["execution_id"])
        envelope = answer.result().json()
        if envelope["status"] == "success":
            success(service, answer.result(), payload)
        else:
            failure(service, answer.result(), "ERR_CANCELLED", execution_id=payload["execution_id"])
            assert cancelled.status_code == 202
            receipt = json.loads(service.file(f"{prefix_of(payload)}receipt.json").read_bytes())
            assert receipt["envelope"] == envelope
            assert not service.file(f"{prefix_of(payload)}outputs.json").exists()
        ended.add(envelope["status"])
    assert ended


# --- waiting ---------------------------------------------------------------------------------------------------------


def test_a_waiting_execution_is_cancelled_without_having_begun(single: Callers) -> None:
    """499 at once, a receipt that says it never started, and its place is free again."""
    service, gate, never = single.service, single.gate(), single.gate()
    running = single.running(gate, single.payload(single.held(gate)))
    (payload, answer), other = single.fill(2, ["mark", never])

    assert single.cancel(payload["execution_id"]).json()["state"] == "cancelling"

    envelope = failure(service, answer.result(), "ERR_CANCELLED", execution_id=payload["execution_id"])
    assert set(envelope["meta"]) == BEFORE_A_RUN
    receipt = receipt_of(service, payload)
    assert receipt["envelope"] == envelope
    assert (receipt["started_at"], receipt["duration_ms"], receipt["outputs"]) == (None, None, [])
    assert receipt["finished_at"] is not None
    assert not service.marked(never)
    assert not other[1].done()

    (next_one,) = single.fill(1)
    service.allow(gate)
    assert [a.result().status_code for a in (running, other[1], next_one[1])] == [200] * 3


def test_a_cancelled_waiting_execution_is_not_found_and_can_be_asked_for_again(single: Callers) -> None:
    """It has settled, with an error."""
    service, gate = single.service, single.gate()
    single.running(gate, single.payload(single.held(gate)))
    (payload, answer), _ = single.fill(2)
    single.cancel(payload["execution_id"])
    answer.result()

    refusal(service, single.cancel(payload["execution_id"]), "ERR_NOT_FOUND")
    service.allow(gate)
    again = service.post(payload)

    success(service, again, payload)
    assert not is_replayed(again)


def test_those_who_joined_a_waiting_execution_get_its_end(single: Callers) -> None:
    """The queue is no reason to answer them differently."""
    service, gate = single.service, single.gate()
    single.running(gate, single.payload(single.held(gate)))
    (payload, answer), _ = single.fill(2)
    with joined(service, payload, 3) as others, Stream.opened(service, payload) as stream:
        single.cancel(payload["execution_id"])
        events = stream.checked(payload["execution_id"])
        told = [replayed_on(other) for other in others]

    assert [event.data for event in events] == [answer.result().json()]
    assert told == [answer.result().content] * 3
    failure(service, answer.result(), "ERR_CANCELLED", execution_id=payload["execution_id"])


# --- the slot of a handler that goes on ------------------------------------------------------------------------------


def test_a_slot_stays_taken_until_its_handler_ends(no_queue: Service) -> None:
    """Cancelled is not ended: the one slot is free when the handler returns, and not before."""
    with Callers(no_queue) as callers:
        gate = callers.gate()
        payload = callers.payload(["wait", gate])
        answer = callers.running(gate, payload)
        callers.cancel(payload["execution_id"])
        envelope = failure(no_queue, answer.result(), "ERR_CANCELLED", execution_id=payload["execution_id"])

        other = callers.payload()
        refusal(no_queue, no_queue.post(other), "ERR_BUSY", execution_id=other["execution_id"])
        same_again = no_queue.post(payload)
        refusal(no_queue, same_again, "ERR_BUSY", execution_id=payload["execution_id"])
        assert int(same_again.headers["retry-after"]) > 0
        check_receipt(no_queue, envelope, payload)

        no_queue.allow(gate)
        success(no_queue, wait_until(lambda: not_busy(callers, other), lambda: "the slot to be free"), other)
        success(no_queue, no_queue.post(payload), payload)


def test_an_execution_whose_handler_goes_on_cannot_run_again(callers: Callers) -> None:
    """Although other slots are free."""
    service, gate = callers.service, callers.gate()
    payload = callers.payload(["wait" if service.environ["FIXTURE_KIND"] == "sync" else "stay", gate])
    answer = callers.running(gate, payload)
    callers.cancel(payload["execution_id"])
    failure(service, answer.result(), "ERR_CANCELLED", execution_id=payload["execution_id"])

    refusal(service, service.post(payload), "ERR_BUSY", execution_id=payload["execution_id"])
    success(service, service.post(other := callers.payload()), other)
    service.allow(gate)

    success(service, wait_until(lambda: not_busy(callers, payload), lambda: "the handler to have ended"), payload)


def test_one_who_waits_gets_the_slot_when_the_handler_ends(single: Callers) -> None:
    """A waiting run is not lost because the one before it was cancelled."""
    service, gate = single.service, single.gate()
    payload = single.payload(["wait", gate])
    answer = single.running(gate, payload)
    waiting = single.fill(2)
    single.cancel(payload["execution_id"])
    failure(service, answer.result(), "ERR_CANCELLED", execution_id=payload["execution_id"])
    assert not any(other.done() for _, other in waiting)

    service.allow(gate)

    for other_payload, other in waiting:
        success(service, other.result(), other_payload)


# --- helpers ---------------------------------------------------------------------------------------------------------


def told_after_settling(service: Service, payload: JsonObject) -> list[JsonObject]:
    """Return the lines about *payload* that came after the one that says it settled."""
    lines = service.lines(execution_id=payload["execution_id"])
    events = [line["event"] for line in lines]
    return lines[events.index("http.run.settle") + 1 :] if "http.run.settle" in events else []


def not_busy(callers: Callers, payload: JsonObject) -> httpx2.Response | None:
    """Return the answer to *payload*, or nothing while that is busy."""
    answer = callers.service.post(payload)
    return None if answer.status_code == 429 else answer


def receipt_of(service: Service, payload: JsonObject) -> JsonObject:
    """Return the receipt of *payload*."""
    receipt: JsonObject = json.loads(service.file(f"{prefix_of(payload)}receipt.json").read_bytes())
    return receipt

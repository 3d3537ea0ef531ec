"""So many run, so many wait, and the next one is told at once (§5)."""

from __future__ import annotations

import time
from collections.abc import Iterator

import httpx2
import pytest

from tests.contract.judge import refusal, success
from tests.contract.slots import with_runtime
from tests.support.callers import Callers, is_replayed, same
from tests.support.service import JsonObject, Service, wait_until
from tests.support.sse import Stream


@pytest.fixture(scope="module", params=[(1, 0), (2, 3)], ids=["1 slot, no queue", "2 slots, 3 places"])
def bounded(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Service]:
    """The fixture with so many slots and so many waiting places."""
    slots, places = request.param
    room = tmp_path_factory.mktemp("bounded")
    environ = {"PROCESSOR_QUEUE": str(places), "PROCESSOR_MODE": "mock"}
    with Service(with_runtime(room, concurrency=slots), room / "service", environ) as service:
        yield service


@pytest.fixture(scope="module")
def queue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The fixture with one slot and eight waiting places."""
    room = tmp_path_factory.mktemp("queue")
    environ = {"PROCESSOR_QUEUE": "8", "PROCESSOR_MODE": "mock"}
    with Service(with_runtime(room, concurrency=1), room / "service", environ) as service:
        yield service


@pytest.fixture(scope="module", params=["sync", "async"])
def sequential(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Service]:
    """The fixture with one slot and no waiting place."""
    room = tmp_path_factory.mktemp("sequential")
    environ = {"PROCESSOR_QUEUE": "0", "PROCESSOR_MODE": "mock", "FIXTURE_KIND": request.param}
    with Service(with_runtime(room, concurrency=1), room / "service", environ) as service:
        yield service


def limits(service: Service) -> tuple[int, int]:
    """Return how many may run and how many may wait."""
    said = service.http.get("/contract").json()["limits"]
    assert said["queue"] == int(service.environ["PROCESSOR_QUEUE"])
    return said["concurrency"], said["queue"]


def test_so_many_run_so_many_wait_and_the_next_is_told_at_once(bounded: Service) -> None:
    """Exactly: with all places taken every further request is busy, and none of the first is lost."""
    slots, places = limits(bounded)
    with Callers(bounded) as callers:
        gates = [callers.gate() for _ in range(slots)]
        running = [callers.running(gate, callers.payload(["wait", gate])) for gate in gates]
        waiting = callers.fill(places, ["token", "x"])
        before = bounded.tree()

        for _ in range(3):
            payload = callers.payload()
            asked = time.monotonic()
            answer = bounded.post(payload)
            assert time.monotonic() - asked < 5
            error = refusal(bounded, answer, "ERR_BUSY", execution_id=payload["execution_id"])
            assert error["retryable"] is True
            assert int(answer.headers["retry-after"]) > 0

        assert bounded.tree() == before
        assert not any(held.done() for held in running)
        assert not any(queued.done() for _, queued in waiting)
        for gate in gates:
            bounded.allow(gate)
        assert [held.result().status_code for held in running] == [200] * slots
        for payload, queued in waiting:
            success(bounded, queued.result(), payload)


def test_no_more_run_at_the_same_time_than_there_are_slots(bounded: Service) -> None:
    """Those who wait have not begun."""
    slots, places = limits(bounded)
    with Callers(bounded) as callers:
        gates = [callers.gate() for _ in range(slots)]
        for gate in gates:
            callers.running(gate, callers.payload(["wait", gate]))
        later = callers.gate()
        waiting = callers.fill(places, ["count", later])
        assert not bounded.marked(later)

        for gate in gates:
            bounded.allow(gate)

        assert [answer.result().status_code for _, answer in waiting] == [200] * places
        assert len((bounded.marks / later).read_bytes() if places else b"") == places


def test_a_freed_slot_takes_the_next_one(bounded: Service) -> None:
    """After a burst the service is as before it."""
    slots, places = limits(bounded)
    with Callers(bounded) as callers:
        for _ in range(3):
            payloads = [callers.payload(["token", "x"]) for _ in range(slots + places)]
            answers = [callers.run(payload) for payload in payloads]
            assert [answer.result().status_code for answer in answers] == [200] * (slots + places)


def test_joined_requests_take_no_place(bounded: Service) -> None:
    """As many as you like may ask for what runs or waits already."""
    slots, places = limits(bounded)
    with Callers(bounded) as callers:
        gates = [callers.gate() for _ in range(slots)]
        payloads = [callers.payload(["count", f"{gate}.count"], ["wait", gate]) for gate in gates]
        running = [callers.running(*pair) for pair in zip(gates, payloads, strict=True)]
        waiting = callers.fill(places)

        joined = [callers.run(payloads[0]) for _ in range(20)]
        joined_waiting = [(answer, callers.run(payload)) for payload, answer in waiting]
        with Stream.opened(bounded, payloads[0]) as stream:
            assert stream.response.status_code == 200
            for gate in gates:
                bounded.allow(gate)
            done = stream.rest()[-1].data

        assert same(running[0].result(), *(answer.result() for answer in joined))
        assert done == running[0].result().json()
        assert all(is_replayed(answer.result()) for answer in joined)
        assert all(same(first.result(), second.result()) for first, second in joined_waiting)
        assert (bounded.marks / f"{gates[0]}.count").read_bytes() == b"."


def test_replayed_requests_take_no_place(bounded: Service) -> None:
    """What is stored is answered while every slot and every waiting place is taken."""
    slots, places = limits(bounded)
    with Callers(bounded) as callers:
        settled = callers.payload()
        first = bounded.post(settled)
        gates = [callers.gate() for _ in range(slots)]
        for gate in gates:
            callers.running(gate, callers.payload(["wait", gate]))
        callers.fill(places)

        again = bounded.post(settled)

        assert same(first, again)
        assert is_replayed(again)
        with Stream.opened(bounded, settled) as stream:
            assert stream.rest()[-1].data == first.json()


def test_what_is_refused_for_another_reason_takes_no_place(bounded: Service) -> None:
    """The rules of §2 and sameness come before free places."""
    slots, places = limits(bounded)
    with Callers(bounded) as callers:
        gates = [callers.gate() for _ in range(slots)]
        payloads = [callers.payload(["wait", gate]) for gate in gates]
        for gate, payload in zip(gates, payloads, strict=True):
            callers.running(gate, payload)
        callers.fill(places)

        wrong = callers.payload(mode="dream")
        refusal(bounded, bounded.post(wrong), "ERR_MODE_INVALID", execution_id=wrong["execution_id"])
        other = payloads[0] | {"inputs": callers.payload()["inputs"]}
        refusal(bounded, bounded.post(other), "ERR_EXECUTION_CONFLICT", execution_id=other["execution_id"])


def test_who_waits_too_long_is_told(queue: Service) -> None:
    """After `timeout_s` in the queue the answer is busy: it never ran and left nothing."""
    with Callers(queue) as callers:
        gate, never = callers.gate(), callers.gate()
        callers.running(gate, callers.payload(["wait", gate]))
        before = queue.tree()
        payload = callers.payload(["mark", never], timeout_s=0.3)
        asked = time.monotonic()

        answer = queue.post(payload)

        assert 0.3 <= time.monotonic() - asked < 10
        refusal(queue, answer, "ERR_BUSY", execution_id=payload["execution_id"])
        assert int(answer.headers["retry-after"]) > 0
        assert queue.tree() == before
        queue.allow(gate)
        other = callers.payload()
        success(queue, wait_until(lambda: not_busy(queue, other), lambda: "the slot"), other)
        assert not queue.marked(never)


def test_a_stream_that_waits_too_long_is_told(queue: Service) -> None:
    """As `/run` is: by a status, or in `done` where the stream has begun; it never ran and left nothing."""
    with Callers(queue) as callers:
        gate = callers.gate()
        callers.running(gate, callers.payload(["wait", gate]))
        before = queue.tree()
        payload = callers.payload(timeout_s=0.3)

        with Stream.opened(queue, payload) as stream:
            if stream.response.status_code == 429:
                refusal(queue, stream.response, "ERR_BUSY", execution_id=payload["execution_id"])
            else:
                (done,) = stream.checked(payload["execution_id"])
                assert done.data["error"]["code"] == "ERR_BUSY"

        assert queue.tree() == before


def test_those_who_wait_are_served_in_the_order_in_which_they_came(queue: Service) -> None:
    """First come, first served."""
    with Callers(queue) as callers:
        gate = callers.gate()
        running = callers.running(gate, callers.payload(["wait", gate]))
        order = []
        for _ in range(6):
            order.append(callers.payload(["log", "turn", {}]))
            callers.waiting(order[-1])

        queue.allow(gate)

        assert running.result().status_code == 200
        last = order[-1]["execution_id"]
        queue.wait_for_line(event="http.run.settle", execution_id=last)
        turns = [line["execution_id"] for line in queue.lines(event="handler.turn")]
        assert turns[-len(order) :] == [payload["execution_id"] for payload in order]


def test_a_client_that_has_gone_still_holds_its_place_until_it_ran(queue: Service) -> None:
    """`/run` runs to the end although nobody waits for it: also when it has not begun."""
    with Callers(queue) as callers:
        gate, ran = callers.gate(), callers.gate()
        callers.running(gate, callers.payload(["wait", gate]))
        payload = callers.payload(["count", ran])
        with callers.waiting_on_a_connection("/run", payload):
            pass

        queue.allow(gate)
        again = queue.post(payload)

        success(queue, again, payload)
        assert is_replayed(again)
        assert (queue.marks / ran).read_bytes() == b"."


def test_a_client_that_asks_one_after_another_is_never_refused(sequential: Service) -> None:
    """Over and over, by `/run` and by `/run-stream`, with one slot and no queue: an answer means a free slot."""
    times = 2000 if sequential.environ["FIXTURE_KIND"] == "sync" else 500
    with Callers(sequential) as callers:
        for number in range(times):
            payload = callers.payload() if number % 5 else callers.exactly(["raise", "ValueError", "x"])
            expected = "success" if number % 5 else "error"
            if number % 4 == 0:
                with Stream.opened(sequential, payload) as stream:
                    assert stream.response.status_code == 200, (number, stream.response.text)
                    status = stream.until("done").data["status"]
            else:
                status = sequential.run(payload)["status"]
            assert status == expected, number


def test_a_client_that_asks_one_after_another_on_new_connections_is_never_refused(sequential: Service) -> None:
    """The same without a kept connection."""
    address = f"http://127.0.0.1:{sequential.port}/run"
    with (
        Callers(sequential) as callers,
        httpx2.Client(trust_env=False, limits=httpx2.Limits(max_keepalive_connections=0)) as client,
    ):
        for number in range(300):
            answer = client.post(address, json=callers.payload())
            assert answer.status_code == 200, (number, answer.text)


def test_nothing_is_dropped_under_load(bounded: Service) -> None:
    """200 requests from 32 callers who try again when told to: each is answered with its own success, each ran once."""
    with Callers(bounded, at_once=32) as callers:
        payloads = [callers.payload(["count", f"load-{number}"], ["token", "x"]) for number in range(200)]

        def insist(payload: JsonObject) -> httpx2.Response:
            return wait_until(lambda: not_busy(bounded, payload), lambda: f"{payload} to be served")

        answers = callers.each(insist, payloads)

        for payload, answer in zip(payloads, answers, strict=True):
            success(bounded, answer, payload)
        assert {(bounded.marks / f"load-{number}").read_bytes() for number in range(200)} == {b"."}


def not_busy(service: Service, payload: JsonObject) -> httpx2.Response | None:
    """Return the answer to *payload*, or nothing if that is busy."""
    answer = service.post(payload)
    if answer.status_code != 429:
        return answer
    assert int(answer.headers["retry-after"]) > 0
    return None

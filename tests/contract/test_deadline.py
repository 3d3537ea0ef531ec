"""A run has so many seconds from its handler's start; then its answer goes out, whatever the handler does (§1, §5)."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.contract.judge import BEFORE_A_RUN, check_receipt, failure, prefix_of, refusal, success
from tests.contract.slots import with_runtime
from tests.support.callers import Callers, is_replayed, joined, replayed_on
from tests.support.service import READY, JsonObject, Service, wait_until
from tests.support.sse import Stream

FAILED = {"ok": False, "state": "failed"}
SHORT_S = 0.3


@pytest.fixture
def callers(steps: Service) -> Iterator[Callers]:
    """Those who call the fixture with four slots and 30 seconds, with a sync handler and then with an async one."""
    with Callers(steps) as callers:
        yield callers


@pytest.fixture(scope="module", params=["sync", "async"])
def two_slots(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Service]:
    """The fixture with two slots, four waiting places and half a second."""
    room = tmp_path_factory.mktemp("two-slots")
    environ = {"PROCESSOR_QUEUE": "4", "PROCESSOR_MODE": "mock", "FIXTURE_KIND": request.param}
    with Service(with_runtime(room, concurrency=2, timeout_s=0.5), room / "service", environ) as service:
        yield service


# --- the answer ------------------------------------------------------------------------------------------------------


def test_a_handler_is_stopped_at_the_deadline_where_it_can_be(callers: Callers) -> None:
    """A sync one where it checks, an async one where it waits; the receipt keeps the envelope of the 504."""
    service, gate = callers.service, callers.gate()
    payload = callers.payload(callers.held(gate), ["mark", f"{gate}.went-on"], timeout_s=SHORT_S)

    answer = service.post(payload)

    envelope = failure(service, answer, "ERR_TIMEOUT", execution_id=payload["execution_id"])
    assert envelope["meta"]["duration_ms"] >= SHORT_S * 1000 - 10
    check_receipt(service, envelope, payload)
    service.wait_for_mark(f"{gate}.stopped")
    assert not service.marked(f"{gate}.went-on")
    assert not service.file(f"{prefix_of(payload)}outputs.json").exists()
    settled = service.wait_for_line(event="http.run.settle", execution_id=payload["execution_id"])
    assert (settled["status"], settled["code"]) == ("error", "ERR_TIMEOUT")


@pytest.mark.parametrize(
    ("steps", "step"),
    [*((kind, step) for kind in ("sync", "async") for step in ("wait", "spin", "keep_checking")), ("async", "stay")],
    indirect=["steps"],
)
def test_the_answer_is_on_time_whatever_the_handler_does(callers: Callers, step: str) -> None:
    """It sleeps, spins, blocks its event loop or swallows its end: the answer goes out while it goes on."""
    service, gate = callers.service, callers.gate()
    payload = callers.payload([step, gate], timeout_s=SHORT_S)
    asked = time.monotonic()

    answer = service.post(payload)  # the gate is shut

    assert SHORT_S <= time.monotonic() - asked < 10
    envelope = failure(service, answer, "ERR_TIMEOUT", execution_id=payload["execution_id"])
    check_receipt(service, envelope, payload)
    before = service.tree()
    service.allow(gate)
    wait_until(lambda: told_after_settling(service, payload), lambda: "a line about the late result")
    assert service.tree() == before
    check_receipt(service, envelope, payload)


def test_late_writes_are_refused(callers: Callers) -> None:
    """Once the run has settled its handler writes nothing more, and finds out."""
    service, gate = callers.service, callers.gate()
    payload = callers.exactly(["wait_and_write", gate, "outputs/text.txt"], timeout_s=SHORT_S)
    failure(service, service.post(payload), "ERR_TIMEOUT", execution_id=payload["execution_id"])
    before = service.tree()

    service.allow(gate)

    service.wait_for_mark(f"{gate}.refused")
    assert not service.marked(f"{gate}.written")
    assert service.tree() == before


def test_all_who_joined_get_the_same_envelope(callers: Callers) -> None:
    """Runs and streams alike, although the handler goes on."""
    service, gate = callers.service, callers.gate()
    payload = callers.payload(["wait", gate], timeout_s=4)
    answer = callers.running(gate, payload)
    with joined(service, payload, 5) as others, Stream.opened(service, payload) as stream:
        done = stream.rest()[-1].data
        told = [replayed_on(other) for other in others]

    failure(service, answer.result(), "ERR_TIMEOUT", execution_id=payload["execution_id"])
    assert told == [answer.result().content] * 5
    assert done == answer.result().json()


def test_an_execution_past_its_deadline_runs_again_once_its_handler_has_ended(callers: Callers) -> None:
    """Until then it is busy."""
    service, gate = callers.service, callers.gate()
    payload = callers.payload(["count", gate], ["wait" if is_sync(service) else "stay", gate], timeout_s=SHORT_S)
    failure(service, service.post(payload), "ERR_TIMEOUT", execution_id=payload["execution_id"])

    refusal(service, busy := service.post(payload), "ERR_BUSY", execution_id=payload["execution_id"])
    assert int(busy.headers["retry-after"]) > 0
    service.allow(gate)
    again = wait_until(
        lambda: answer if (answer := service.post(payload)).status_code != 429 else None, lambda: "the handler's end"
    )

    success(service, again, payload)
    assert not is_replayed(again)
    assert (service.marks / gate).read_bytes() == b".."


# --- how long --------------------------------------------------------------------------------------------------------


def test_the_registry_says_how_long_and_a_request_may_say_less(two_slots: Service) -> None:
    """Half a second by the registry; a request's `timeout_s` lowers it and never raises it."""
    with Callers(two_slots) as callers:
        for asked, expected in ((None, 0.5), (0.2, 0.2), (1e9, 0.5)):
            payload = callers.payload(callers.held(callers.gate()))
            if asked is not None:
                payload["timeout_s"] = asked
            envelope = failure(two_slots, two_slots.post(payload), "ERR_TIMEOUT", execution_id=payload["execution_id"])
            assert expected * 1000 - 10 <= envelope["meta"]["duration_ms"] < expected * 1000 + 5000


def test_a_handler_knows_how_long_it_has(callers: Callers) -> None:
    """What it is told is what was asked for."""
    payload = callers.payload(["remaining"], timeout_s=12.5)

    extra = success(callers.service, callers.service.post(payload), payload)["meta"]["extra"]

    assert extra["timeout_s"] == 12.5
    assert 7.5 < extra["remaining_s"] <= 12.5


def test_a_run_that_is_over_in_time_is_a_success(callers: Callers) -> None:
    """The deadline alone is no failure."""
    payload = callers.payload(["progress", 0.5, "x"], timeout_s=10)

    success(callers.service, callers.service.post(payload), payload)


def test_the_deadline_runs_from_the_handlers_start(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What was spent in the queue is not taken from it."""
    room = tmp_path_factory.mktemp("one-slot")
    folder = with_runtime(room, concurrency=1, timeout_s=20)
    with Service(folder, room / "service", {"PROCESSOR_MODE": "mock"}) as service, Callers(service) as callers:
        gate = callers.gate()
        callers.running(gate, callers.payload(["wait", gate]))
        payload = callers.payload(["remaining"])
        answer = callers.waiting(payload)
        waits_since = time.monotonic()
        wait_until(lambda: time.monotonic() - waits_since > 1, lambda: "a second to pass")
        service.allow(gate)

        meta = success(service, answer.result(), payload)["meta"]

    assert meta["queued_ms"] >= 1000
    assert meta["extra"]["remaining_s"] > 19.5
    assert meta["duration_ms"] < meta["queued_ms"]


# --- health ----------------------------------------------------------------------------------------------------------


def test_health_fails_while_every_slot_is_past_its_deadline(two_slots: Service) -> None:
    """One of two is no failure; both are; one that ends is none any more. Health is quick all the time."""
    with Callers(two_slots) as callers:
        gates = [callers.gate(), callers.gate()]
        payloads = [callers.payload(["wait", gate]) for gate in gates]
        if not is_sync(two_slots):  # an async handler that blocks its loop would hold the second one too
            payloads = [callers.payload(["stay", gate]) for gate in gates]

        failure(two_slots, two_slots.post(payloads[0]), "ERR_TIMEOUT", execution_id=payloads[0]["execution_id"])
        assert two_slots.health() == READY
        failure(two_slots, two_slots.post(payloads[1]), "ERR_TIMEOUT", execution_id=payloads[1]["execution_id"])
        two_slots.wait_for_health(FAILED)
        response = two_slots.http.get("/healthz")
        assert (response.status_code, response.json()) == (503, FAILED)
        assert health_takes_s(two_slots) < 0.25

        two_slots.allow(gates[0])
        two_slots.wait_for_health(READY)
        payload = callers.payload()
        success(two_slots, two_slots.post(payload), payload)
        two_slots.allow(gates[1])


def test_who_waits_behind_handlers_past_their_deadline_is_served_or_told(two_slots: Service) -> None:
    """A request takes a waiting place; when no slot comes free in its time it is busy, and not forgotten."""
    with Callers(two_slots) as callers:
        gates = [callers.gate(), callers.gate()]
        step = "wait" if is_sync(two_slots) else "stay"
        held = [callers.run(callers.payload([step, gate])) for gate in gates]
        assert [answer.result().status_code for answer in held] == [504, 504]
        payload = callers.payload()

        refusal(two_slots, two_slots.post(payload), "ERR_BUSY", execution_id=payload["execution_id"])

        for gate in gates:
            two_slots.allow(gate)
        served = wait_until(
            lambda: answer if (answer := two_slots.post(payload)).status_code != 429 else None, lambda: "a slot"
        )
        success(two_slots, served, payload)


@pytest.mark.parametrize("step", ["wait", "spin"])
def test_health_and_refusals_are_quick_while_handlers_are_busy(callers: Callers, step: str) -> None:
    """A handler that sleeps, spins in Python or blocks its event loop takes nobody else's time."""
    service, gate = callers.service, callers.gate()
    callers.running(gate, callers.payload([step, gate], timeout_s=20))

    assert health_takes_s(service) < 0.25
    assert service.health() == READY
    refused = callers.payload(mode="dream")
    refusal(service, service.post(refused), "ERR_MODE_INVALID", execution_id=refused["execution_id"])


@pytest.mark.parametrize("steps", ["async"], indirect=True)  # sync handlers have threads of their own
def test_handlers_behind_a_blocked_loop_are_answered_on_time_too(callers: Callers) -> None:
    """An async handler that blocks its event loop keeps others from beginning, not from being answered."""
    service, gate = callers.service, callers.gate()
    callers.running(gate, callers.payload(["wait", gate]))
    payload = callers.payload(["await_until", callers.gate()], timeout_s=SHORT_S)

    envelope = failure(service, service.post(payload), "ERR_TIMEOUT", execution_id=payload["execution_id"])

    assert set(envelope["meta"]) >= BEFORE_A_RUN


# --- helpers ---------------------------------------------------------------------------------------------------------


def is_sync(service: Service) -> bool:
    """Whether the fixture's handler is a plain function."""
    return service.environ.get("FIXTURE_KIND") != "async"


def health_takes_s(service: Service) -> float:
    """Return how long `/healthz` takes: the quickest of ten, as the machine may be busy with other things."""
    took = []
    for _ in range(10):
        asked = time.monotonic()
        service.http.get("/healthz")
        took.append(time.monotonic() - asked)
    return min(took)


def told_after_settling(service: Service, payload: JsonObject) -> list[JsonObject]:
    """Return the lines about *payload* that came after the one that says it settled."""
    lines = service.lines(execution_id=payload["execution_id"])
    events = [line["event"] for line in lines]
    return lines[events.index("http.run.settle") + 1 :] if "http.run.settle" in events else []

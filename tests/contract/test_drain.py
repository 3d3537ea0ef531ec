"""SIGTERM: no new runs, some seconds for those in flight, then the end, whatever handlers do (§1)."""

from __future__ import annotations

import signal
import socket
import time
from contextlib import suppress
from pathlib import Path

import httpx2
import pytest

from tests.contract.discovery import STEPS
from tests.contract.judge import check_receipt, failure, prefix_of, refusal, success
from tests.contract.slots import with_runtime
from tests.support.callers import Callers, joined, replayed_on, sent
from tests.support.service import JsonObject, Service, wait_until
from tests.support.sse import Stream

DRAINING = {"ok": False, "state": "draining"}
KINDS = ["sync", "async"]


def environ(grace_s: float, kind: str = "sync", **more: str) -> dict[str, str | None]:
    """Return the environment of a service with so much grace."""
    return {"PROCESSOR_MODE": "mock", "PROCESSOR_GRACE_S": str(grace_s), "FIXTURE_KIND": kind, **more}


def told_to_end(service: Service) -> None:
    """Send SIGTERM, and return once `/healthz` says so or is not there any more."""
    service.process.send_signal(signal.SIGTERM)

    def draining() -> bool:
        with suppress(httpx2.TransportError):
            return service.health() == DRAINING
        return True

    wait_until(draining, lambda: "the service to drain")


def is_refused(service: Service, path: str, payload: JsonObject) -> bool:
    """Whether a request is refused for draining, by an envelope or by the connection."""
    try:
        with httpx2.Client(trust_env=False) as client:
            answer = client.post(f"http://127.0.0.1:{service.port}{path}", json=payload)
    except httpx2.TransportError:
        return True
    refusal(service, answer, "ERR_DRAINING", execution_id=payload["execution_id"])
    assert int(answer.headers["retry-after"]) > 0
    return True


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: str(number.name))
def test_an_idle_service_ends_at_once(tmp_path: Path, number: signal.Signals) -> None:
    """It has nothing to wait for, however long its grace, and whoever keeps a connection."""
    with Service(STEPS, tmp_path, environ(50)) as service, Callers(service) as callers:
        service.run(callers.payload())
        asked = time.monotonic()
        service.stop(number)
        assert time.monotonic() - asked < 10


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_in_flight_is_finished_and_no_new_one_begun(tmp_path: Path, kind: str) -> None:
    """Health turns, new runs are told when to come back, and those in flight get their answers."""
    with Service(STEPS, tmp_path, environ(50, kind)) as service, Callers(service) as callers:
        gates = [callers.gate(), callers.gate()]
        payloads = [callers.payload(callers.held(gate), ["token", "x"]) for gate in gates]
        answer = callers.running(gates[0], payloads[0])
        streamed = callers.stream(payloads[1])
        service.wait_for_mark(f"{gates[1]}.began")

        with joined(service, payloads[0]) as (other,):
            told_to_end(service)
            new = callers.payload()
            assert is_refused(service, "/run", new)
            assert is_refused(service, "/run-stream", new)
            assert is_refused(service, "/run", payloads[0])  # draining comes before sameness
            with suppress(httpx2.TransportError):
                response = httpx2.get(f"http://127.0.0.1:{service.port}/healthz", trust_env=False)
                assert (response.status_code, response.json()) == (503, DRAINING)
            assert not service.file(prefix_of(new)).exists()
            for gate in gates:
                service.allow(gate)
            told = replayed_on(other)

        success(service, answer.result(), payloads[0])
        assert told == answer.result().content
        assert streamed.result()[-1].data["status"] == "success"
        service.process.wait(30)


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_that_outlasts_the_grace_is_cancelled(tmp_path: Path, kind: str) -> None:
    """The callers are told, streams by their `done`, and the receipts are there; then the process ends."""
    with Service(STEPS, tmp_path, environ(0.5, kind)) as service, Callers(service) as callers:
        gates = [callers.gate(), callers.gate()]
        payloads = [callers.payload(callers.held(gate)) for gate in gates]
        answer = callers.running(gates[0], payloads[0])
        streamed = callers.stream(payloads[1])
        service.wait_for_mark(f"{gates[1]}.began")

        service.stop()

        envelope = failure(service, answer.result(), "ERR_CANCELLED", execution_id=payloads[0]["execution_id"])
        check_receipt(service, envelope, payloads[0])
        done = streamed.result()[-1].data
        assert done["error"]["code"] == "ERR_CANCELLED"
        check_receipt(service, done, payloads[1])
        assert all(service.marked(f"{gate}.stopped") for gate in gates)


@pytest.mark.parametrize(("kind", "steps"), [("sync", ["wait", "spin", "keep_checking"]), ("async", ["stay", "wait"])])
def test_handlers_that_never_end_do_not_keep_the_process(tmp_path: Path, kind: str, steps: list[str]) -> None:
    """They sleep, spin, do not listen or block their event loop: answers and receipts are written, then it is gone."""
    with Service(STEPS, tmp_path, environ(0.5, kind)) as service, Callers(service) as callers:
        asked = []
        for step in steps:
            gate = callers.gate()
            payload = callers.payload([step, gate])
            asked.append((payload, callers.running(gate, payload)))

        ends_soon(service)

        for payload, answer in asked:
            envelope = failure(service, answer.result(), "ERR_CANCELLED", execution_id=payload["execution_id"])
            check_receipt(service, envelope, payload)
            assert not service.file(f"{prefix_of(payload)}outputs.json").exists()


def test_a_handler_past_its_deadline_does_not_keep_the_process_at_all(tmp_path: Path) -> None:
    """Its run has settled: there is nothing to wait for, however long the grace."""
    with Service(STEPS, tmp_path, environ(50)) as service, Callers(service) as callers:
        gate = callers.gate()
        payload = callers.payload(["wait", gate], timeout_s=0.2)
        failure(service, service.post(payload), "ERR_TIMEOUT", execution_id=payload["execution_id"])
        asked = time.monotonic()

        service.stop()

        assert time.monotonic() - asked < 40


def test_those_who_wait_are_not_forgotten(tmp_path: Path) -> None:
    """A run in the queue runs in the grace that is left, or is refused, or cancelled with its receipt."""
    folder = with_runtime(tmp_path, concurrency=1)
    with Service(folder, tmp_path / "room", environ(0.5, PROCESSOR_QUEUE="2")) as service, Callers(service) as callers:
        gate = callers.gate()
        running = callers.payload(["wait", gate])
        answer = callers.running(gate, running)
        waiting = callers.fill(2)

        service.stop()

        failure(service, answer.result(), "ERR_CANCELLED", execution_id=running["execution_id"])
        for payload, queued in waiting:
            code = queued.result().json()["error"]["code"]
            if code == "ERR_DRAINING":
                refusal(service, queued.result(), code, execution_id=payload["execution_id"])
                assert not service.file(prefix_of(payload)).exists()
            else:
                failure(service, queued.result(), "ERR_CANCELLED", execution_id=payload["execution_id"])
                assert service.file(f"{prefix_of(payload)}receipt.json").exists()


def test_a_second_signal_does_no_harm(tmp_path: Path) -> None:
    """An impatient supervisor changes nothing: the run in flight is finished or cancelled with its receipt."""
    with Service(STEPS, tmp_path, environ(2)) as service, Callers(service) as callers:
        gate = callers.gate()
        payload = callers.payload(callers.held(gate))
        answer = callers.running(gate, payload)
        told_to_end(service)

        service.stop()

        with suppress(httpx2.TransportError):
            failure(service, answer.result(), "ERR_CANCELLED", execution_id=payload["execution_id"])
        assert service.file(f"{prefix_of(payload)}receipt.json").exists()


def test_a_cancel_works_while_draining(tmp_path: Path) -> None:
    """Who wants the end sooner may still ask for it, if anybody is listening."""
    with Service(STEPS, tmp_path, environ(50)) as service, Callers(service) as callers:
        gate = callers.gate()
        payload = callers.payload(callers.held(gate))
        with Stream.opened(service, payload) as stream:
            service.wait_for_mark(f"{gate}.began")
            told_to_end(service)
            with suppress(httpx2.TransportError):
                assert callers.cancel(payload["execution_id"]).status_code == 202
            service.allow(gate)
            assert stream.rest()[-1].name == "done"
        service.process.wait(30)


def test_half_a_request_does_not_keep_the_process(tmp_path: Path) -> None:
    """It is no run in flight, and may never be complete."""
    with (
        Service(STEPS, tmp_path, environ(0.5)) as service,
        socket.create_connection(("127.0.0.1", service.port)) as half,
    ):
        half.sendall(b"POST /run HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{")
        ends_soon(service)


def test_a_reader_that_does_not_read_does_not_keep_the_process(tmp_path: Path) -> None:
    """Its run has settled or is cancelled; what cannot be sent is not waited for."""
    with Service(STEPS, tmp_path, environ(0.5)) as service, Callers(service) as callers:
        mark = callers.gate()
        payload = callers.payload(["tokens", 50_000, 20], ["mark", mark])
        with sent(service, "/run-stream", payload, receive_buffer=1024):
            service.wait_for_mark(mark)
            ends_soon(service)


def ends_soon(service: Service) -> None:
    """Send SIGTERM; fails unless the process ends well within any supervisor's patience."""
    service.process.send_signal(signal.SIGTERM)
    service.process.wait(20)

"""A run is answered on time, whatever its handler does, and health stays quick meanwhile (§1, §5)."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import pytest

from tests.contract.conftest import SECRET, Services
from tests.contract.discovery import STEPS
from tests.contract.judge import check_receipt, failure, success
from tests.support.service import READY, JsonObject, Service, variant

WRITE: Final = ["write", "outputs/text.txt", "hello"]
SOON_S: Final = 0.2
LATE_S: Final = 15.0  # an answer that waits for the handler would never come at all
QUICK_S: Final = 0.25

STUCK = [
    pytest.param("sync", "wait", id="a sync handler that sleeps"),
    pytest.param("sync", "spin", id="a sync handler that computes"),
    pytest.param("async", "wait", id="an async handler that blocks its loop"),
    pytest.param("async", "spin", id="an async handler that computes"),
]
STOPPED = [
    pytest.param("sync", "check_until", id="a sync handler that checks"),
    pytest.param("async", "await_until", id="an async handler"),
]


def serving(services: Services, kind: str) -> Service:
    """Return the fixture with a handler of that *kind*."""
    return services.get(STEPS, FIXTURE_KIND=kind, FIX_SECRET=SECRET)


def asking(service: Service, *do: list[Any], **changes: object) -> JsonObject:
    """Return a request for the steps *do*, which may take `SOON_S`."""
    return service.payload(**{"inputs": {"schema": "v1", "params": {"do": list(do)}}, "timeout_s": SOON_S, **changes})


@pytest.mark.parametrize(("kind", "step"), STOPPED)
def test_a_handler_that_can_be_stopped_is(passing_services: Services, kind: str, step: str) -> None:
    """The answer is a timeout, with a receipt, and the handler ends."""
    service = serving(passing_services, kind)
    payload = asking(service, [step, f"stoppable-{kind}"], WRITE)
    envelope = failure(service, service.post(payload), "ERR_TIMEOUT", execution_id=payload["execution_id"])

    service.wait_for_mark(f"stoppable-{kind}.stopped")
    check_receipt(service, envelope, payload)
    assert SOON_S * 1000 <= envelope["meta"]["duration_ms"] < LATE_S * 1000
    settle = service.wait_for_line(event="http.run.settle", execution_id=payload["execution_id"])
    assert (settle["status"], settle["code"]) == ("error", "ERR_TIMEOUT")
    assert not service.file(f"/artifacts/outputs/{payload['execution_id']}/outputs.json").exists()


@pytest.mark.parametrize(("kind", "step"), STUCK)
def test_a_handler_that_cannot_be_stopped_keeps_nobody_waiting(
    passing_services: Services, kind: str, step: str
) -> None:
    """The answer comes without it, health is quick meanwhile, and what it does later is refused."""
    service = serving(passing_services, kind)
    name = f"stuck-{kind}-{step}"
    payload = asking(service, [step, name], ["try_write", "outputs/text.txt", name])
    try:
        started = time.monotonic()
        envelope = failure(service, service.post(payload), "ERR_TIMEOUT", execution_id=payload["execution_id"])
        took = time.monotonic() - started

        assert service.marked(f"{name}.began")
        assert SOON_S <= took < LATE_S
        assert min(service.http.get("/healthz").elapsed.total_seconds() for _ in range(30)) < QUICK_S
        check_receipt(service, envelope, payload)
    finally:
        service.allow(name)
    service.wait_for_mark(f"{name}.refused")
    folder = service.file(f"/artifacts/outputs/{payload['execution_id']}")
    assert not service.marked(f"{name}.written")
    assert not [path for path in folder.rglob("*") if path.name not in {"outputs", "logs", "trace.ndjson", "receipt.json"}]
    check_receipt(service, envelope, payload)


@pytest.mark.parametrize(("kind", "step"), STUCK)
def test_health_is_quick_while_a_handler_works(passing_services: Services, kind: str, step: str) -> None:
    """Within its deadline, too."""
    service = serving(passing_services, kind)
    name = f"busy-{kind}-{step}"
    payload = asking(service, [step, name], WRITE, timeout_s=30)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(service.post, payload)
        try:
            service.wait_for_mark(f"{name}.began")
            assert service.health() == READY
            assert min(service.http.get("/healthz").elapsed.total_seconds() for _ in range(30)) < QUICK_S
        finally:
            service.allow(name)
        success(service, answer.result(), payload)


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_handler_that_ends_on_time_never_notices_its_deadline(passing_services: Services, kind: str) -> None:
    """The deadline is lowered for one run, not for the next one."""
    service = serving(passing_services, kind)
    first = asking(service, ["wait", f"missed-{kind}"], WRITE)
    failure(service, service.post(first), "ERR_TIMEOUT", execution_id=first["execution_id"])
    service.allow(f"missed-{kind}")
    second = asking(service, WRITE, timeout_s=30)

    success(service, service.post(second), second)


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_the_registrys_deadline_holds_without_any_in_the_request(tmp_path: Path, kind: str) -> None:
    """`runtime.timeout_s`."""
    folder = variant(STEPS, tmp_path, lambda registry: registry["runtime"].update(timeout_s=SOON_S))
    with Service(folder, tmp_path / "room", {"FIXTURE_KIND": kind, "PROCESSOR_GRACE_S": "0.1"}) as service:
        payload = asking(service, ["wait", "too-long"], WRITE, timeout_s=60)
        failure(service, service.post(payload), "ERR_TIMEOUT", execution_id=payload["execution_id"])
        del payload["timeout_s"]
        payload["execution_id"] += "-b"
        payload["inputs"]["params"]["do"][0][1] = "too-long-b"
        # the first one still holds a slot: there are four
        failure(service, service.post(payload), "ERR_TIMEOUT", execution_id=payload["execution_id"])
        service.allow("too-long")
        service.allow("too-long-b")


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_health_fails_while_every_slot_is_held_past_its_deadline(tmp_path: Path, kind: str) -> None:
    """And is well again when one is free: a slot counts until its handler has really ended."""
    folder = variant(STEPS, tmp_path, lambda registry: registry["runtime"].update(concurrency=1))
    with Service(folder, tmp_path / "room", {"FIXTURE_KIND": kind, "PROCESSOR_GRACE_S": "0.1"}) as service:
        payload = asking(service, ["wait", "held"], WRITE)
        failure(service, service.post(payload), "ERR_TIMEOUT", execution_id=payload["execution_id"])

        service.wait_for_health({"ok": False, "state": "failed"})
        assert service.http.get("/healthz").status_code == 503
        service.allow("held")
        service.wait_for_health(READY)
        after = asking(service, WRITE, timeout_s=30)
        success(service, service.post(after), after)


def test_as_many_runs_as_the_registry_says_run_at_once(passing_services: Services) -> None:
    """`concurrency: 4`, sync handlers in threads."""
    service = serving(passing_services, "sync")
    payloads = [asking(service, ["wait", f"at-once-{number}"], WRITE, timeout_s=30) for number in range(4)]
    with ThreadPoolExecutor(4) as pool:
        answers = [pool.submit(service.post, payload) for payload in payloads]
        try:
            for number in range(4):
                service.wait_for_mark(f"at-once-{number}.began")
        finally:
            for number in range(4):
                service.allow(f"at-once-{number}")
        for payload, answer in zip(payloads, answers, strict=True):
            success(service, answer.result(), payload)

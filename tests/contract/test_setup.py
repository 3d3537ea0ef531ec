"""Set-up belongs to `real`: `/healthz` tells how it goes, and a mock run never notices (§1)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import httpx2
import pytest

from tests.contract.conftest import OPTION, SECRET
from tests.contract.discovery import STEPS
from tests.contract.judge import failure, refusal, success
from tests.support.service import READY, JsonObject, Service, wait_until

STARTING: Final = {"ok": False, "state": "starting"}
FAILED: Final = {"ok": False, "state": "failed"}
QUICK_S: Final = 0.25  # on an idle machine: the best of many answers has to be
KINDS: Final = ["sync", "async", "spin"]


@contextmanager
def slow(room: Path, kind: str = "sync", **environ: str | None) -> Iterator[Service]:
    """A service whose set-up lasts until the test allows it to end."""
    given = {"FIX_SECRET": SECRET, "FIX_OPTION": OPTION, "FIXTURE_SETUP": kind, **environ}
    with Service(STEPS, room / "room", given, ready=False) as service:
        yield service


def asking(service: Service, mode: str, **changes: object) -> JsonObject:
    """Return a request whose handler reports what it got."""
    do = [["report"], ["write", "outputs/text.txt", "hello"]]
    return service.payload(mode=mode, inputs={"schema": "v1", "params": {"do": do}}, **changes)


def seen(service: Service, payload: JsonObject, response: httpx2.Response) -> Any:
    """Return what set-up made, as the handler got it."""
    envelope = success(service, response, payload)
    return json.loads(service.file(envelope["outputs"][0]["path"]).read_bytes())["resource"]


def begun(service: Service) -> int:
    """Return how often set-up began."""
    path = service.marks / "setup.count"
    return path.stat().st_size if path.exists() else 0


def in_background(pool: ThreadPoolExecutor, service: Service, payload: JsonObject) -> Future[httpx2.Response]:
    """Send *payload*, and return once the service has it."""
    answer = pool.submit(service.post, payload)
    # nothing tells from outside that a request waits: another one, sent later on another connection, was answered
    for _ in range(5):
        service.health()
    return answer


@pytest.mark.parametrize("kind", KINDS)
def test_while_set_up_runs_mock_runs_and_real_waits(tmp_path: Path, kind: str) -> None:
    """Health says starting, quickly; then everybody gets what set-up made, which began once."""
    with slow(tmp_path, kind) as service, ThreadPoolExecutor(2) as pool:
        service.wait_for_mark("setup.began")
        response = service.http.get("/healthz")
        assert (response.status_code, response.json()) == (503, STARTING)
        assert min(service.http.get("/healthz").elapsed.total_seconds() for _ in range(20)) < QUICK_S
        mock = asking(service, "mock")
        assert seen(service, mock, service.post(mock)) is None

        real = asking(service, "real")
        answer = in_background(pool, service, real)
        mock = asking(service, "mock")
        assert seen(service, mock, service.post(mock)) is None
        assert not answer.done()
        assert service.health() == STARTING
        service.allow("setup")

        assert seen(service, real, answer.result()) == {"made": "by set-up", "secrets": ["FIX_OPTION", "FIX_SECRET"]}
        service.wait_for_health(READY)
        again = asking(service, "real")
        assert seen(service, again, service.post(again))["made"] == "by set-up"
        assert begun(service) == 1


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize("word", ["fail", "exit"])
def test_after_a_failed_set_up_real_is_refused_and_mock_runs(tmp_path: Path, kind: str, word: str) -> None:
    """Health says failed; who waited and who comes later get the same; the cause is for the log."""
    with slow(tmp_path, kind) as service, ThreadPoolExecutor(1) as pool:
        service.wait_for_mark("setup.began")
        waiting = asking(service, "real")
        answer = in_background(pool, service, waiting)
        service.allow("setup", word)

        failure(service, answer.result(), "ERR_SETUP", execution_id=waiting["execution_id"])
        service.wait_for_health(FAILED)
        assert service.http.get("/healthz").status_code == 503
        assert service.http.head("/healthz").status_code == 503
        later = asking(service, "real")
        response = service.post(later)
        failure(service, response, "ERR_SETUP", execution_id=later["execution_id"])
        assert "canary-of-the-set-up" not in answer.result().text + response.text
        mock = asking(service, "mock")
        assert seen(service, mock, service.post(mock)) is None
        assert begun(service) == 1
        assert word == "exit" or "canary-of-the-set-up" in service.stderr()


def test_a_process_for_mock_never_sets_up(tmp_path: Path) -> None:
    """Not at start, not for a run; health is ok at once, secrets or not."""
    with slow(tmp_path, PROCESSOR_MODE="mock") as service:
        assert service.health() == READY
        mock = asking(service, "mock")
        assert seen(service, mock, service.post(mock)) is None
        real = asking(service, "real")
        refusal(service, service.post(real), "ERR_MODE_INVALID", execution_id=real["execution_id"])
        assert service.health() == READY
    assert begun(service) == 0


@pytest.mark.parametrize("secret", [None, ""], ids=["unset", "empty"])
def test_without_a_required_secret_nothing_is_set_up(tmp_path: Path, secret: str | None) -> None:
    """Health is about a set-up that began: there is none."""
    with slow(tmp_path, FIX_SECRET=secret) as service:
        assert service.health() == READY
        mock = asking(service, "mock")
        assert seen(service, mock, service.post(mock)) is None
        real = asking(service, "real")
        refusal(service, service.post(real), "ERR_MISSING_SECRET", execution_id=real["execution_id"])
        assert service.health() == READY
    assert begun(service) == 0


def test_without_an_optional_secret_set_up_runs(tmp_path: Path) -> None:
    """Only what is required is required."""
    with slow(tmp_path, FIX_OPTION=None) as service:
        service.wait_for_mark("setup.began")
        service.allow("setup")
        service.wait_for_health(READY)
        real = asking(service, "real")
        assert seen(service, real, service.post(real)) == {"made": "by set-up", "secrets": ["FIX_SECRET"]}


def test_a_process_for_real_sets_up_at_start(tmp_path: Path) -> None:
    """And serves nothing else."""
    with slow(tmp_path, PROCESSOR_MODE="real") as service:
        service.wait_for_mark("setup.began")
        mock = asking(service, "mock")
        refusal(service, service.post(mock), "ERR_MODE_INVALID", execution_id=mock["execution_id"])
        service.allow("setup")
        service.wait_for_health(READY)


def test_in_ci_a_request_for_real_waits_for_nothing(tmp_path: Path) -> None:
    """§2's checks come before set-up."""
    with slow(tmp_path, CI="1") as service:
        real = asking(service, "real")
        refusal(service, service.post(real), "ERR_CI_SAFETY", execution_id=real["execution_id"])


def test_what_is_refused_does_not_wait_for_set_up(tmp_path: Path) -> None:
    """Nor does what fails §2 after the mode."""
    with slow(tmp_path) as service:
        service.wait_for_mark("setup.began")
        real = asking(service, "real", ref="other/one@1")
        refusal(service, service.post(real), "ERR_REF_MISMATCH", execution_id=real["execution_id"])
        assert service.health() == STARTING


def test_a_slow_set_up_does_not_eat_the_deadline(tmp_path: Path) -> None:
    """The deadline runs from the handler's start."""
    with slow(tmp_path) as service, ThreadPoolExecutor(1) as pool:
        service.wait_for_mark("setup.began")
        real = asking(service, "real", timeout_s=20)
        answer = in_background(pool, service, real)
        service.allow("setup")
        envelope = success(service, answer.result(), real)
        report = json.loads(service.file(envelope["outputs"][0]["path"]).read_bytes())
        assert report["timeout_s"] == 20
        assert envelope["meta"]["queued_ms"] >= 0


def test_the_process_ends_while_set_up_runs(tmp_path: Path) -> None:
    """SIGTERM waits for no set-up."""
    with slow(tmp_path, PROCESSOR_GRACE_S="0.2") as service:
        service.wait_for_mark("setup.began")
        service.stop()
        service.check_streams()
        wait_until(lambda: service.process.poll() is not None, lambda: "the end")

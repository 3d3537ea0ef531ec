"""Set-up belongs to `real`: what `/healthz` and both modes do while it runs and after it failed."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from processor_conformance.catalogue import Phase, check
from processor_conformance.outcome import NotApplicableError
from processor_conformance.service import Service
from processor_conformance.waiting import eventually, prompt
from processor_conformance.wire import Answer

STARTING = {"ok": False, "state": "starting"}
FAILED = {"ok": False, "state": "failed"}
PROMPT_S = 0.25
BEGUN_S = 2.0


@contextlib.asynccontextmanager
async def _started(service: Service, name: str, **changes: str | None) -> AsyncIterator[Service]:
    env: dict[str, str | None] = {"PROCESSOR_MODE": None, **service.example(name).env, **changes}
    async with service.fresh(env, until="listening") as other:
        yield other


async def _health(service: Service) -> Answer:
    return await service.send("GET", "/healthz")


async def _until_failed(service: Service) -> None:
    async def failed() -> bool:
        answer = await _health(service)
        answer.expect(answer.status == 503, "503 while and after a set-up that fails")
        return bool(answer.document == FAILED)

    last = await _health(service)
    last.expect(await eventually(failed, 20), '{"ok": false, "state": "failed"} within 20 s')


@check("C-SETUP-01", "1", start=True, examples=["setup_slow"], phase=Phase.QUIET)
async def starting(service: Service) -> None:
    """`/healthz` is 503 `starting` while set-up runs, in under 250 ms, and `ok` after."""
    async with _started(service, "setup_slow") as other:
        idle = await prompt(service, limit_s=10, expected="an answer")
        answer = await prompt(other, limit_s=PROMPT_S, idle_s=idle.seconds, expected="an answer while set-up runs")
        answer.expect(answer.status == 503 and answer.document == STARTING, "503 starting")
        await other.process.until_ready()


@check("C-SETUP-02", "1", start=True, examples=["setup_slow"])
async def mock_does_not_wait(service: Service) -> None:
    """A `mock` run does not wait for set-up."""
    async with _started(service, "setup_slow") as other:
        (await other.run(other.request("setup_slow", mode="mock"))).expect_success()
        health = await _health(other)
        health.expect(health.document == STARTING, "a mock run's success while set-up still runs")


@check("C-SETUP-03", "1", start=True, examples=["setup_slow"])
async def real_waits(service: Service) -> None:
    """A `real` run sent while set-up runs waits in the queue and is then run."""
    async with _started(service, "setup_slow") as other:
        health = await _health(other)
        health.expect(health.document == STARTING, "503 starting")
        (await other.run(other.request("setup_slow", mode="real"))).expect_success()
        (await _health(other)).expect_ok()


@check("C-SETUP-04", "1", start=True, examples=["setup_failing"])
async def failed(service: Service) -> None:
    """`/healthz` is 503 `failed` after set-up failed."""
    async with _started(service, "setup_failing") as other:
        await _until_failed(other)


@check("C-SETUP-05", "1", start=True, examples=["setup_failing"])
async def real_fails(service: Service) -> None:
    """A `real` run is 500 `ERR_SETUP` after set-up failed, and when it fails while the run waits."""
    async with _started(service, "setup_failing") as other:
        waiting = await other.run(other.request("setup_failing", mode="real"))
        waiting.expect_refused(500, "ERR_SETUP", "set-up failed")
        await _until_failed(other)
        late = await other.run(other.request("setup_failing", mode="real"))
        late.expect_refused(500, "ERR_SETUP", "set-up failed")


@check("C-SETUP-06", "1", start=True, examples=["setup_failing"])
async def mock_goes_on(service: Service) -> None:
    """A `mock` run does not fail by a set-up that failed."""
    async with _started(service, "setup_failing") as other:
        await _until_failed(other)
        (await other.run(other.request("setup_failing", mode="mock"))).expect_success()


@check("C-SETUP-07", "1", start=True, examples=["setup_failing"])
async def never_in_mock(service: Service) -> None:
    """With `PROCESSOR_MODE=mock` set-up never begins, so `/healthz` is `ok`."""
    async with _started(service, "setup_failing", PROCESSOR_MODE="mock") as other:
        (await other.run(other.request("setup_failing", mode="mock"))).expect_success()
        await asyncio.sleep(BEGUN_S)  # a set-up that began would have failed by now
        (await _health(other)).expect_ok()


@check("C-SETUP-08", "1", start=True, examples=["setup_failing"])
async def not_without_secrets(service: Service) -> None:
    """With a required secret unset set-up does not begin, so `/healthz` is `ok`."""
    required = service.facts.secrets("required")
    if not required:
        raise NotApplicableError("the service requires no secret")
    async with _started(service, "setup_failing", **dict.fromkeys(required)) as other:
        await asyncio.sleep(BEGUN_S)  # as above
        (await _health(other)).expect_ok()

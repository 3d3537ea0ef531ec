"""`POST /run`: one envelope, on time, whatever the handler does."""

from __future__ import annotations

import asyncio

from processor_conformance.catalogue import Phase, check
from processor_conformance.outcome import expect
from processor_conformance.service import Service
from processor_conformance.waiting import UNDER_WAY_S, run_when_free, under_way

SHORT_S = 0.5


@check("C-RUN-01", "1", examples=["valid"])
async def valid(service: Service) -> None:
    """A valid run is 200, `application/json`, one success envelope."""
    request, answer = await service.success()
    answer.expect(answer.media_type == "application/json", "application/json", answer.header("content-type"))
    told = answer.envelope.get("execution_id")
    answer.expect(told == request["execution_id"], f"execution_id {request['execution_id']}", told)


@check("C-RUN-02", "1", examples=["slow"], phase=Phase.ALONE)
async def client_gone(service: Service) -> None:
    """`/run` runs to the end when its client goes away: asking again, the same way, gets the envelope."""
    request = service.request("slow")
    leaving = asyncio.create_task(service.run(request))
    await asyncio.sleep(UNDER_WAY_S)
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    await asyncio.sleep(SHORT_S)  # so that a service that ends the run with its client has done so
    answer = await service.run(request)
    answer.expect_success()
    answer.expect(answer.replayed, "the first run's envelope, with idempotent-replayed: true", "a run of its own")


@check("C-RUN-03", "5", examples=["slow"], phase=Phase.ALONE)
async def deadline(service: Service) -> None:
    """A run past its deadline is 504 `ERR_TIMEOUT` "deadline passed", on time; `timeout_s` lowers the registry's."""
    await _expect_deadline(service, "slow")


@check("C-RUN-04", "5", examples=["blocking"], phase=Phase.ALONE)
async def stubborn(service: Service) -> None:
    """The answer never waits for a handler that does not stop."""
    await _expect_deadline(service, "blocking")


async def _expect_deadline(service: Service, name: str) -> None:
    on_time_s = await service.on_time_s(name)
    answer = await service.run(service.request(name, timeout_s=SHORT_S))
    answer.expect_refused(504, "ERR_TIMEOUT", "deadline passed")
    late = f"after {answer.seconds:.1f} s"
    answer.expect(answer.seconds + 0.05 >= SHORT_S, f"not before {SHORT_S} s", late)
    answer.expect(answer.seconds < on_time_s, f"soon after a deadline of {SHORT_S} s, before the handler ends", late)


@check("C-RUN-05", "5", examples=["slow"], phase=Phase.ALONE)
async def queue_does_not_count(service: Service) -> None:
    """The deadline runs from the handler's start: time in the queue does not count."""
    slots = service.concurrency
    _, first = await service.success("slow")
    takes_s = first.envelope["meta"]["duration_ms"] / 1000
    async with under_way(service, *(service.request("slow") for _ in range(slots))) as runs:
        answer = await service.run(service.request("slow", timeout_s=takes_s * 1.4))
        answer.expect_success()
        await asyncio.gather(*runs)


@check("C-RUN-06", "5", examples=["failing"])
async def failing(service: Service) -> None:
    """A handler that fails is 500 `ERR_RUNTIME` "handler failed"."""
    answer = await service.run(service.request("failing"))
    answer.expect_refused(500, "ERR_RUNTIME", "handler failed")


@check("C-RUN-07", "5", examples=["refused"])
async def refused(service: Service) -> None:
    """A handler may refuse its inputs: 400 `ERR_INPUTS` "inputs not usable"."""
    answer = await service.run(service.request("refused"))
    answer.expect_refused(400, "ERR_INPUTS", "inputs not usable")


@check("C-RUN-08", "5", examples=["provider"])
async def provider(service: Service) -> None:
    """A handler may blame its provider: 502 `ERR_PROVIDER` "provider failed", retryable or not."""
    answer = await service.run(service.request("provider"))
    answer.expect_refused(502, "ERR_PROVIDER", "provider failed")


@check("C-RUN-09", "2", examples=["valid"])
async def options(service: Service) -> None:
    """`timeout_s`, `context` and the image's own `ref` are accepted in a run."""
    await service.success(timeout_s=30, context={"kit": [1, None]}, ref=service.facts.ref)


@check("C-RUN-10", "5", examples=["failing", "valid"])
async def after_a_failure(service: Service) -> None:
    """After a handler has failed, the service still serves."""
    failed = await service.run(service.request("failing"))
    answer = await run_when_free(service, service.request())
    answer.expect_success()
    health = await service.send("GET", "/healthz")
    expect(health.status == 200, sent=failed.sent, expected="200 on /healthz after it", seen=health.in_short)

"""SIGTERM: refuse new runs, let those in flight end, cancel the rest, end."""

from __future__ import annotations

import asyncio
import time

from processor_conformance.catalogue import check
from processor_conformance.outcome import expect
from processor_conformance.service import Service
from processor_conformance.waiting import eventually, under_way
from processor_conformance.wire import Answer, WireError

DRAINING = {"ok": False, "state": "draining"}
END_S = 15.0


async def _unless_refused(asking: asyncio.Future[Answer] | asyncio.Task[Answer]) -> Answer | None:
    """Return the answer, or ``None`` where the connection was refused, which counts as draining."""
    try:
        return await asking
    except WireError as exc:
        if exc.refused:
            return None
        raise


async def _ask(service: Service, request: dict[str, object]) -> Answer | None:
    return await _unless_refused(asyncio.ensure_future(service.run(request)))


async def _draining(service: Service) -> bool:
    answer = await _unless_refused(asyncio.ensure_future(service.send("GET", "/healthz")))
    if answer is not None and answer.status == 503:
        answer.expect(answer.document == DRAINING, '{"ok": false, "state": "draining"}')
    return answer is None or answer.status == 503


async def _until_draining(service: Service) -> None:
    drains = await eventually(lambda: _draining(service), 2)
    expect(drains, sent="SIGTERM, then GET /healthz for 2 s", expected="503 draining, or refused", seen="200")


@check("C-DRAIN-01", "1", start=True)
async def idle(service: Service) -> None:
    """On SIGTERM an idle process ends."""
    async with service.fresh() as other:
        other.process.terminate()
        await other.process.ended(END_S)


@check("C-DRAIN-02", "1", start=True, examples=["slow"])
async def health(service: Service) -> None:
    """On SIGTERM `/healthz` is 503 `draining`, or refuses connections, while runs are in flight."""
    async with service.fresh() as other, under_way(other, other.request("slow")) as (run,):
        other.process.terminate()
        await _until_draining(other)
        while not run.done():
            expect(await _draining(other), sent="GET /healthz after SIGTERM", expected="503 draining", seen="200")
            await asyncio.sleep(0.1)


@check("C-DRAIN-03", "1", start=True, examples=["slow"])
async def new_runs(service: Service) -> None:
    """While draining, new runs are 503 `ERR_DRAINING` with `Retry-After`, or connections are refused."""
    async with service.fresh() as other, under_way(other, other.request("slow")):
        other.process.terminate()
        await _until_draining(other)
        request = other.request("slow")
        answer = await _ask(other, request)
        if answer is not None:
            answer.expect_refused(503, "ERR_DRAINING", "shutting down")
            answer.expect(answer.header("retry-after"), "a Retry-After header", answer.headers)
            answer.expect(not other.folder(request).exists(), "no directory of what was refused", "it exists")


@check("C-DRAIN-04", "1", start=True, examples=["slow"])
async def in_flight(service: Service) -> None:
    """A run in flight at SIGTERM that ends within the grace gets its own answer; then the process ends."""
    async with service.fresh({"PROCESSOR_GRACE_S": "20"}) as other:
        async with under_way(other, other.request("slow")) as (run,):
            other.process.terminate()
            (await run).expect_success()
        await other.process.ended(END_S)


@check("C-DRAIN-05", "1", start=True, examples=["slow"])
async def grace_is_over(service: Service) -> None:
    """A run still in flight after `PROCESSOR_GRACE_S` is 499 `ERR_CANCELLED` with a receipt; then the process ends."""
    async with service.fresh({"PROCESSOR_GRACE_S": "1"}) as other:
        request = other.request("slow")
        async with under_way(other, request) as (run,):
            other.process.terminate()
            answer = await run
            answer.expect_refused(499, "ERR_CANCELLED", "cancelled")
            receipt = other.read_json(request, "receipt.json")
            answer.expect(receipt.get("envelope") == answer.envelope, "a receipt with this envelope", receipt)
        await other.process.ended(END_S)


@check("C-DRAIN-06", "2", start=True, examples=["slow", "valid"])
async def order(service: Service) -> None:
    """Draining is looked at after the rules of §2 and before sameness."""
    async with service.fresh() as other:
        settled, _ = await other.success()
        async with under_way(other, other.request("slow")):
            other.process.terminate()
            await _until_draining(other)
            broken = await _ask(other, other.probe())
            if broken is not None:
                broken.expect_refused(400, "ERR_REF_MISMATCH")
            again = await _ask(other, settled)
            if again is not None:
                again.expect_refused(503, "ERR_DRAINING")


@check("C-DRAIN-07", "6", start=True, examples=["slow"], capabilities=["stream"])
async def stream(service: Service) -> None:
    """A stream in flight when the service ends gets its `done`."""
    async with service.fresh({"PROCESSOR_GRACE_S": "1"}) as other:
        streaming = asyncio.create_task(other.stream(other.request("slow")))
        await asyncio.sleep(0.6)
        other.process.terminate()
        streamed = await streaming
        streamed.answer.expect(streamed.told.done, "a stream that ends in done", streamed.told.events[-1:])


@check("C-DRAIN-08", "1", start=True, examples=["long"])
async def default_grace(service: Service) -> None:
    """By default the grace is 8 s."""
    async with service.fresh({"PROCESSOR_GRACE_S": None}) as other, under_way(other, other.request("long")) as (run,):
        began = time.monotonic()
        other.process.terminate()
        answer = await run
        took = time.monotonic() - began
        answer.expect_refused(499, "ERR_CANCELLED")
        answer.expect(7 < took < 11, "ERR_CANCELLED 8 s after SIGTERM", f"{answer.in_short} after {took:.1f} s")

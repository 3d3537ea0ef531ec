"""`DELETE /run/{execution_id}`: a request, not a promise."""

from __future__ import annotations

import asyncio

from processor_conformance.catalogue import Phase, check
from processor_conformance.outcome import NotApplicableError
from processor_conformance.service import Request, Service
from processor_conformance.waiting import UNDER_WAY_S, run_when_free, under_way
from processor_conformance.wire import Answer

HERE = ["cancel"]


async def _cancel(service: Service, request: Request) -> Answer:
    return await service.send("DELETE", f"/run/{request['execution_id']}")


def _expect_cancelling(answer: Answer, request: Request) -> None:
    wanted = {"execution_id": request["execution_id"], "state": "cancelling"}
    answer.expect(answer.status == 202 and answer.document == wanted, f"202 {wanted}")


def _expect_unknown(answer: Answer) -> None:
    answer.expect_refused(404, "ERR_NOT_FOUND")
    answer.expect(answer.envelope.get("execution_id") == "", 'execution_id ""')


def _expect_settled(answer: Answer) -> bool:
    """Return whether the run was cancelled; the success that it still reached is as good."""
    if answer.status != 200:
        answer.expect_refused(499, "ERR_CANCELLED", "cancelled")
        return True
    answer.expect_success()
    return False


@check("C-CANCEL-01", "1", capabilities=HERE)
async def unknown(service: Service) -> None:
    """Cancelling an unknown execution is 404, with `execution_id` `""`."""
    for name in (service.new_id(), "%2e%2e", "a%20b"):
        _expect_unknown(await service.send("DELETE", f"/run/{name}"))


@check("C-CANCEL-02", "1", capabilities=HERE, examples=["valid"])
async def settled(service: Service) -> None:
    """Cancelling a settled execution is 404."""
    request, _ = await service.success()
    _expect_unknown(await _cancel(service, request))


@check("C-CANCEL-03", "1", capabilities=HERE, examples=["slow"], phase=Phase.ALONE)
async def running(service: Service) -> None:
    """Cancelling a running execution is 202 and `{"execution_id", "state": "cancelling"}`, again until it settled."""
    request = service.request("slow")
    async with under_way(service, request) as (run,):
        _expect_cancelling(await _cancel(service, request), request)
        again = await _cancel(service, request)
        if again.status != 404:  # it may have settled meanwhile
            _expect_cancelling(again, request)
        await run
        _expect_unknown(await _cancel(service, request))


@check("C-CANCEL-04", "5", capabilities=HERE, examples=["slow"], phase=Phase.ALONE)
async def settles_once(service: Service) -> None:
    """A run that was asked to end settles once: 499 `ERR_CANCELLED`, or the success it still reached."""
    request = service.request("slow")
    async with under_way(service, request) as (run,):
        joined = asyncio.create_task(service.run(request))
        await asyncio.sleep(UNDER_WAY_S / 2)
        await _cancel(service, request)
        first, second = await asyncio.gather(run, joined)
        _expect_settled(first)
        second.expect(second.envelope == first.envelope, "one envelope for all that wait", second.in_short)


@check("C-CANCEL-05", "4", capabilities=HERE, artifacts=True, examples=["slow"], phase=Phase.ALONE)
async def in_the_queue(service: Service) -> None:
    """A run cancelled in the queue gets its answer without having started, and ends in a receipt too."""
    async with under_way(service, *(service.request("slow") for _ in range(service.concurrency))):
        request = service.request("slow")
        waiting = asyncio.create_task(service.run(request))
        await asyncio.sleep(UNDER_WAY_S / 2)
        _expect_cancelling(await _cancel(service, request), request)
        answer = await waiting
        if _expect_settled(answer):
            answer.expect(answer.seconds < 2, "an answer before its turn came", f"after {answer.seconds:.1f} s")
            answer.expect("duration_ms" not in answer.envelope["meta"], "no duration_ms of what never started")
            _expect_receipt(service, request, answer)


@check("C-CANCEL-06", "4", capabilities=HERE, artifacts=True, examples=["slow"], phase=Phase.ALONE)
async def receipt(service: Service) -> None:
    """The receipt of a cancelled run holds the envelope that was answered."""
    request = service.request("slow")
    async with under_way(service, request) as (run,):
        await _cancel(service, request)
        answer = await run
        _expect_settled(answer)
        _expect_receipt(service, request, answer)


def _expect_receipt(service: Service, request: Request, answer: Answer) -> None:
    document = service.read_json(request, "receipt.json")
    answer.expect(document.get("envelope") == answer.envelope, "a receipt with this envelope", document)


@check("C-CANCEL-07", "4", capabilities=HERE, examples=["slow"], phase=Phase.ALONE)
async def again(service: Service) -> None:
    """After a cancel the same request runs again."""
    request = service.request("slow")
    async with under_way(service, request) as (run,):
        await _cancel(service, request)
        if not _expect_settled(await run):
            raise NotApplicableError("the run still succeeded, as it may")
    second = await run_when_free(service, request)
    second.expect_success()
    second.expect(not second.replayed, "a run of its own", "a replay")

"""Slots, waiting places, and what is beyond them."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

from processor_conformance.catalogue import Phase, check
from processor_conformance.outcome import NotCheckedError, expect
from processor_conformance.service import Request, Service
from processor_conformance.waiting import UNDER_WAY_S, RunTask, at_once, expect_under_way, under_way
from processor_conformance.wire import Answer

SLOW = ["slow"]
WAIT_S = 3.0
MOST = 200
SEQUENCE = 20
SEQUENCE_S = 6.0


@contextlib.asynccontextmanager
async def _full(service: Service, queue: int) -> AsyncIterator[tuple[list[Request], list[RunTask]]]:
    """Fill every slot and waiting place; give what fills them, and the runs in the slots.

    Those that wait give up by themselves soon.

    Raises:
        NotCheckedError: there are too many places.
        FailedError: there are fewer than *queue*.
    """
    if service.concurrency + queue > MOST:
        raise NotCheckedError(f"a service of at most {MOST} places; start it with PROCESSOR_QUEUE=1")
    service.dirty = True
    running = [service.request("slow") for _ in range(service.concurrency)]
    waiting = [service.request("slow", timeout_s=WAIT_S) for _ in range(queue)]
    tasks = [asyncio.create_task(service.run(request)) for request in running + waiting]
    try:
        await asyncio.sleep(UNDER_WAY_S)
        await service.send("GET", "/healthz", within_s=5)
        for task in tasks:
            if task.done():
                answer = task.result()
                answer.expect(answer.code != "ERR_BUSY", "a slot or waiting place, because there are as many")
        yield running + waiting, tasks[: len(running)]
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _expect_busy(answer: Answer) -> None:
    answer.expect_refused(429, "ERR_BUSY", "busy")
    answer.expect(answer.header("retry-after"), "a Retry-After header", answer.headers)


@check("C-QUEUE-01", "5", examples=SLOW, phase=Phase.ALONE)
async def beyond(service: Service) -> None:
    """Beyond the slots and waiting places: 429 `ERR_BUSY`, with `Retry-After`, at once."""
    async with _full(service, service.facts.limit("queue", 16)) as (_, slots_taken):
        _expect_busy(await at_once(service, service.request("slow"), slots_taken))


@check("C-QUEUE-02", "5", examples=SLOW, phase=Phase.ALONE)
async def waited_too_long(service: Service) -> None:
    """A run that has waited `timeout_s` for a slot is 429 `ERR_BUSY`."""
    on_time_s = await service.on_time_s("slow")
    async with under_way(service, *(service.request("slow") for _ in range(service.concurrency))):
        answer = await service.run(service.request("slow", timeout_s=0.5))
        answer.expect_refused(429, "ERR_BUSY", "busy")
        late = f"after {answer.seconds:.1f} s"
        answer.expect(0.4 <= answer.seconds < on_time_s, "after half a second, the run's timeout_s", late)


@check("C-QUEUE-03", "5", examples=["slow", "valid"], phase=Phase.ALONE)
async def in_turn(service: Service) -> None:
    """A run that waited gets its turn, and its `queued_ms` says how long it waited."""
    async with under_way(service, *(service.request("slow") for _ in range(service.concurrency))):
        _, answer = await service.success()
        queued, took = answer.envelope["meta"]["queued_ms"], answer.seconds * 1000
        # `slow` takes two seconds, of which less than one has passed
        answer.expect(800 <= queued <= took + 50, f"queued_ms of 800 to {took:.0f}", queued)


@check("C-QUEUE-04", "5", examples=SLOW, phase=Phase.ALONE)
async def slots(service: Service) -> None:
    """As many runs as `runtime.concurrency` go on at once, and no more."""
    count = service.concurrency
    answers = await asyncio.gather(*(service.run(service.request("slow")) for _ in range(count + 1)))
    for answer in answers:
        answer.expect_success()
    waits = sorted(answer.envelope["meta"]["queued_ms"] for answer in answers)
    answers[0].expect(waits[count - 1] < 1000, f"{count} runs that begin at once", f"queued_ms {waits}")
    answers[0].expect(waits[count] >= 1000, f"only {count} runs that begin at once", f"queued_ms {waits}")


@check("C-QUEUE-05", "5", examples=["valid"])
async def one_after_another(service: Service) -> None:
    """A client that sends one request after another is never refused."""
    ends = time.monotonic() + SEQUENCE_S
    for _ in range(SEQUENCE):
        await service.success()
        if time.monotonic() > ends:
            return


@check("C-QUEUE-06", "5", examples=["slow", "valid"], phase=Phase.ALONE)
async def joined_and_replayed(service: Service) -> None:
    """Joined and replayed requests take no place."""
    settled, first = await service.success()
    async with _full(service, service.facts.limit("queue", 16)) as (requests, slots_taken):
        replay = await at_once(service, settled, slots_taken)
        replay.expect(replay.envelope == first.envelope, "the stored envelope although no place is free")
        joined = await service.run(requests[0])
        joined.expect(joined.code != "ERR_BUSY", "to join although no place is free")


@check("C-QUEUE-07", "2", artifacts=True, examples=SLOW, phase=Phase.ALONE)
async def leaves_nothing(service: Service) -> None:
    """What is refused as busy is no run: it writes nothing and makes no directory."""
    async with under_way(service, *(service.request("slow") for _ in range(service.concurrency))) as runs:
        request = service.request("slow", timeout_s=0.2)
        answer = await service.run(request)
        expect_under_way(runs)
        answer.expect_refused(429, "ERR_BUSY")
        folder = service.folder(request)
        expect(not folder.exists(), sent=answer.sent, expected="no directory", seen=f"{folder.name}/ exists")


@check("C-QUEUE-08", "1", start=True, examples=SLOW)
async def set_queue(service: Service) -> None:
    """`PROCESSOR_QUEUE` says how many may wait."""
    async with service.fresh({"PROCESSOR_QUEUE": "1"}) as small, _full(small, 1) as (_, slots_taken):
        _expect_busy(await at_once(small, small.request("slow"), slots_taken))

"""Waiting for conditions, and runs that go on meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Final

from .outcome import FailedError, NotCheckedError
from .service import Request, Service
from .wire import Answer, WireError

UNDER_WAY_S: Final = 0.6
_STEP_S: Final = 0.05
_SAMPLES: Final = 5

RunTask = asyncio.Task[Answer]


@contextlib.asynccontextmanager
async def under_way(service: Service, *requests: Request) -> AsyncIterator[list[RunTask]]:
    """Give the runs of *requests* once they had time to begin; those that are not awaited are let go.

    Raises:
        NotCheckedError: the first one has ended already: what is slow by its name is not.
        FailedError: it was refused.
    """
    tasks = [asyncio.create_task(service.run(request)) for request in requests]
    try:
        await asyncio.wait(tasks[:1], timeout=UNDER_WAY_S)
        await service.send("GET", "/healthz", within_s=5)  # a busy machine may not have come to the runs before
        if tasks[0].done():
            tasks[0].result().expect_success()
            raise NotCheckedError("an example that takes as long as its name says")
        yield tasks
    finally:
        unfinished = [task for task in tasks if not task.done()]
        for task in unfinished:
            task.cancel()
            service.dirty = True
        await asyncio.gather(*unfinished, return_exceptions=True)


AT_ONCE_S: Final = 1.2


async def at_once(service: Service, request: Request, meanwhile: Iterable[RunTask]) -> Answer:
    """Return an answer that must come at once, while the runs *meanwhile* go on.

    Raises:
        FailedError: it does not come at once.
        NotCheckedError: the machine was so slow that the runs had ended before.
    """
    try:
        answer = await service.run(request, within_s=AT_ONCE_S)
    except WireError as exc:
        expect_under_way(meanwhile)
        raise FailedError(sent=exc.sent, expected=f"an answer at once, within {AT_ONCE_S} s", seen=exc.seen) from exc
    expect_under_way(meanwhile)
    return answer


def expect_under_way(runs: Iterable[RunTask]) -> None:
    """Return if *runs* go on.

    Raises:
        NotCheckedError: one has ended: what was seen meanwhile says nothing.
    """
    if any(run.done() for run in runs):
        raise NotCheckedError("a quieter machine: what takes seconds had ended before the kit could look")


async def prompt(service: Service, *, limit_s: float, idle_s: float = 0.0, expected: str) -> Answer:
    """Return an answer of `/healthz` that came within *limit_s*, not counting what an idle service takes here.

    Raises:
        FailedError: none of several did.
    """
    answers = [await service.send("GET", "/healthz") for _ in range(_SAMPLES)]
    best = min(answers, key=lambda answer: answer.seconds)
    seen = f"{best.status} after {best.seconds * 1000:.0f} ms, the best of {_SAMPLES}"
    best.expect(best.seconds - idle_s < limit_s, f"{expected} in under {limit_s * 1000:.0f} ms", seen)
    return best


async def eventually(condition: Callable[[], Awaitable[bool]], within_s: float) -> bool:
    """Return whether *condition* came true in time."""
    ends = time.monotonic() + within_s
    while not await condition():
        if time.monotonic() > ends:
            return False
        await asyncio.sleep(_STEP_S)
    return True


async def run_when_free(service: Service, request: Request, *, within_s: float = 15.0) -> Answer:
    """Return the first answer to *request* that is not `ERR_BUSY`: an earlier handler may not have ended."""
    ends = time.monotonic() + within_s
    while True:
        answer = await service.run(request)
        if answer.code != "ERR_BUSY" or time.monotonic() > ends:
            return answer
        await asyncio.sleep(_STEP_S * 4)

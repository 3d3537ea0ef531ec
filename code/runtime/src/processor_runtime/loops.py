"""Event loops that other threads hand jobs to: the server's, and those of async handlers."""

import asyncio
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any

import uvloop

from .workers import Job, guarded

Started = Callable[[Job], None]
Ended = Callable[[BaseException | None], None]


class Handback:
    """Calls functions on an event loop from other threads, many per wake-up.

    `call_soon_threadsafe` writes to a pipe for each call; under load one write
    serves all that finished meanwhile.

    Args:
        loop: Where they are called.
        defer: Calls what it is given when the loop is to be woken for what can
            wait a little; at once, unless told otherwise.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, defer: Callable[[Job], None] = guarded) -> None:
        self._loop = loop
        self._defer = defer
        self._waiting: deque[Job] = deque()
        self._woken = False
        self._deferred = False

    def __call__(self, job: Job) -> None:
        """Run *job* soon, on the loop."""
        self._waiting.append(job)
        self._wake()

    def later(self, job: Job) -> None:
        """Run *job* on the loop when the wake-up that was deferred comes, or an earlier one."""
        self._waiting.append(job)
        if not (self._woken or self._deferred):
            self._deferred = True
            self._defer(self._wake_deferred)

    def _wake_deferred(self) -> None:
        # first the flag: who comes from here on defers again
        self._deferred = False
        if self._waiting:
            self._wake()

    def _wake(self) -> None:
        if not self._woken:
            self._woken = True
            try:  # noqa: SIM105  # `suppress` is a call, on each run's way
                self._loop.call_soon_threadsafe(self._drain)
            except RuntimeError:  # the loop is closed: nobody waits for an answer any more
                pass

    def _drain(self) -> None:
        # first the flag: a job that arrives from here on wakes the loop again
        self._woken = False
        waiting = self._waiting
        for _ in range(len(waiting)):  # not what these cause: the loop has others to serve
            guarded(waiting.popleft())


class HandlerLoop:
    """An event loop in a thread of its own, started at the first use."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop
        self._thread: threading.Thread
        self._handback: Handback | None = None
        self._tasks: set[asyncio.Task[BaseException | None]] = set()

    def submit(
        self,
        coroutine: Coroutine[Any, Any, None],
        *,
        started: Started,
        ended: Ended,
    ) -> None:
        """Run *coroutine*.

        Args:
            coroutine: What to run; it may raise anything.
            started: Gets a function that cancels it, from any thread.
            ended: Called on the loop when it has ended, with what it raised,
                even if it was cancelled before its first step.
        """
        handback = self._running()
        if threading.get_ident() == self._thread.ident:
            self._begin(coroutine, started, ended)
        else:
            handback(partial(self._begin, coroutine, started, ended))

    def _begin(self, coroutine: Coroutine[Any, Any, None], started: Started, ended: Ended) -> None:
        task = self._loop.create_task(_caught(coroutine))
        self._tasks.add(task)
        task.add_done_callback(partial(self._finished, coroutine, ended))
        started(partial(self.call, partial(_cancel, task)))

    def _finished(
        self, coroutine: Coroutine[Any, Any, None], ended: Ended, task: asyncio.Task[BaseException | None]
    ) -> None:
        self._tasks.discard(task)
        coroutine.close()  # cancelled before its first step, it would warn that nobody awaited it
        ended(asyncio.CancelledError() if task.cancelled() else task.result())

    def call(self, job: Job) -> None:
        """Run *job* on the loop."""
        self._running()(job)

    def wait_for(self, awaitable: Awaitable[Any]) -> Any:
        """Run *awaitable* and return what it returns; called from another thread, which waits."""

        async def awaited() -> Any:
            return await awaitable

        self._running()
        return asyncio.run_coroutine_threadsafe(awaited(), self._loop).result()

    def _running(self) -> Handback:
        if self._handback is None:
            with self._lock:
                if self._handback is None:
                    self._loop = uvloop.new_event_loop()
                    self._thread = threading.Thread(target=self._loop.run_forever, name="handlers", daemon=True)
                    self._thread.start()
                    self._handback = Handback(self._loop)  # last: it says that the loop is there
        return self._handback


async def _caught(coroutine: Coroutine[Any, Any, None]) -> BaseException | None:
    """Return what *coroutine* raises; a SystemExit that left its task would end the whole loop."""
    try:
        await coroutine
    except BaseException as exc:  # noqa: BLE001  # see above
        return exc
    return None


def _cancel(task: asyncio.Task[BaseException | None]) -> None:
    task.cancel()

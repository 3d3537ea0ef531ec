"""Threads for blocking work, an event loop for async handlers, and one way back from both.

The server's loop only serves: whatever may block (files, handlers, large
bodies) runs here. Threads are daemons, because a handler that never ends must
not keep the process alive after its grace.
"""

import asyncio
import contextlib
import queue
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final

import uvloop

Job = Callable[[], None]

SPARE_THREADS: Final = 16


class Workers:
    """Runs jobs in at most *limit* threads, started when all others are busy."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._jobs: queue.SimpleQueue[Job] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._threads = 0
        self._idle = 0

    def submit(self, job: Job) -> None:
        """Run *job* in one of the threads. It must not raise."""
        with self._lock:
            start = self._idle == 0 and self._threads < self._limit
            if start:
                self._threads += 1
            elif self._idle:
                self._idle -= 1
        self._jobs.put(job)
        if start:
            threading.Thread(target=self._work, name=f"worker-{self._threads}", daemon=True).start()

    def _work(self) -> None:
        jobs = self._jobs
        while True:
            job = jobs.get()
            _guarded(job)
            del job  # an idle thread keeps no request alive
            with self._lock:
                self._idle += 1


def _guarded(job: Job) -> None:
    """Run *job*; report what it raises, because the thread must not be lost with it."""
    try:
        job()
    except Exception as exc:  # noqa: BLE001  # see above
        threading.excepthook(threading.ExceptHookArgs((type(exc), exc, exc.__traceback__, threading.current_thread())))


class Handback:
    """Calls functions on an event loop from other threads, many per wake-up.

    `call_soon_threadsafe` writes to a pipe for each call; under load one write
    serves all that finished meanwhile.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: deque[Job] = deque()
        self._woken = False

    def __call__(self, job: Job) -> None:
        """Run *job* soon, on the loop."""
        self._waiting.append(job)
        if not self._woken:
            self._woken = True
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits for an answer any more
                self._loop.call_soon_threadsafe(self._drain)

    def _drain(self) -> None:
        # first the flag: a job that arrives from here on wakes the loop again
        self._woken = False
        waiting = self._waiting
        while waiting:
            _guarded(waiting.popleft())


class HandlerLoop:
    """An event loop in a thread of its own, started at the first use."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop
        self._handback: Handback | None = None
        self._tasks: set[asyncio.Task[BaseException | None]] = set()

    def submit(
        self,
        coroutine: Coroutine[Any, Any, None],
        *,
        started: Callable[[Callable[[], None]], None],
        ended: Callable[[BaseException | None], None],
    ) -> None:
        """Run *coroutine*.

        Args:
            coroutine: What to run; it may raise anything.
            started: Gets a function that cancels it, from any thread.
            ended: Called on the loop when it has ended, with what it raised,
                even if it was cancelled before its first step.
        """
        handback = self._running()

        def finished(task: asyncio.Task[BaseException | None]) -> None:
            coroutine.close()  # cancelled before its first step, it would warn that nobody awaited it
            ended(asyncio.CancelledError() if task.cancelled() else task.result())

        def begin() -> None:
            task = asyncio.get_running_loop().create_task(_caught(coroutine))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            task.add_done_callback(finished)
            started(lambda: handback(_cancel(task)))

        handback(begin)

    def wait_for(self, awaitable: Awaitable[Any]) -> Any:
        """Run *awaitable* and return what it returns; called from another thread, which waits."""

        async def awaited() -> Any:
            return await awaitable

        self._running()
        return asyncio.run_coroutine_threadsafe(awaited(), self._loop).result()

    def _running(self) -> Handback:
        with self._lock:
            if self._handback is None:
                self._loop = uvloop.new_event_loop()
                self._handback = Handback(self._loop)
                threading.Thread(target=self._loop.run_forever, name="handlers", daemon=True).start()
            return self._handback


async def _caught(coroutine: Coroutine[Any, Any, None]) -> BaseException | None:
    """Return what *coroutine* raises; a SystemExit that left its task would end the whole loop."""
    try:
        await coroutine
    except BaseException as exc:  # noqa: BLE001  # see above
        return exc
    return None


def _cancel(task: asyncio.Task[BaseException | None]) -> Job:
    def cancel() -> None:
        task.cancel()

    return cancel


class Alarms:
    """Rings at given times, from a thread of its own.

    One entry per execution in flight, so looking for the next one is cheap,
    and a finished run leaves nothing behind: a timer that stays armed for
    `timeout_s` would hold every request of that time in memory.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._entries: dict[object, tuple[float, Job]] = {}
        self._next = 0.0
        self._started = False

    def set(self, key: object, after_s: float, ring: Job) -> None:
        """Call *ring* after *after_s* seconds, in place of what was set for *key*."""
        at = time.monotonic() + after_s
        with self._changed:
            self._entries[key] = (at, ring)
            if not self._started:
                self._started = True
                threading.Thread(target=self._watch, name="alarms", daemon=True).start()
            elif at < self._next:
                self._changed.notify()

    def clear(self, key: object) -> None:
        """Do not ring for *key*."""
        with self._changed:
            self._entries.pop(key, None)

    def _watch(self) -> None:
        while True:
            for ring in self._due():
                _guarded(ring)

    def _due(self) -> list[Job]:
        with self._changed:
            now = time.monotonic()
            due = sorted((at, number, key) for number, (key, (at, _)) in enumerate(self._entries.items()) if at <= now)
            if due:
                return [self._entries.pop(key)[1] for _, _, key in due]
            self._next = min((at for at, _ in self._entries.values()), default=now + 3600.0)
            self._changed.wait(self._next - now)
            return []

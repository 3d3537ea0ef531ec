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
from functools import partial
from typing import Any, Final

import uvloop

Job = Callable[[], None]

SPARE_THREADS: Final = 16
# below what a caller notices, above what a run takes that waits for nothing
HELD_UP_S: Final = 0.005
# the loop has handlers to run between two jobs: this many seconds say that one of them blocks it
_HOME_HELD_UP_S: Final = 0.025
# looks that find nobody waiting, before the next one waits for somebody who does
_QUIET: Final = 50
_JOBS_IN_A_ROW: Final = 16
_SLOW_IN_A_ROW: Final = 32


class Workers:
    """Runs jobs one after another where one thread can, and side by side where that one is held up.

    Threads that run side by side take the interpreter's lock from each other at
    every file call, which costs more than the call. So one thread leads and
    takes the jobs in order. Where a job holds it up while others wait, another
    thread takes the lead, and the first one only finishes its job.

    Args:
        limit: How many threads there are at most.
        home: Runs a function on the loop of async handlers, if there are any:
            the loop leads as long as no handler holds it up, because a run that
            stays in one thread is cheaper still.
    """

    def __init__(self, limit: int, home: Callable[[Job], None] | None = None) -> None:
        self._limit = limit
        self._home = home
        self._lock = threading.Lock()
        self._jobs: deque[Job] = deque()
        self._long_jobs: deque[Job] = deque()
        self._appointed: queue.SimpleQueue[object] = queue.SimpleQueue()
        self._mine = threading.local()
        self._threads = 0
        self._idle = 0
        self._leader: object | None = None
        self._home_led = False
        self._home_held_up = False
        self._taken = 0
        self._waiting = threading.Event()
        self._watched = False

    def submit(self, job: Job) -> None:
        """Run *job*. It must not raise."""
        self._jobs.append(job)
        with self._lock:
            if self._leader is None and self._appoint() and not self._home_led:
                return
            if not self._watched:
                self._watched = True
                threading.Thread(target=self._watch, name="workers", daemon=True).start()
        if not self._waiting.is_set():
            self._waiting.set()

    def submit_long(self, job: Job) -> None:
        """Run *job*, which is known to take its time, in a thread beside the one that leads. It must not raise."""
        self._long_jobs.append(job)
        with self._lock:
            self._wake(object())

    def step_aside(self) -> None:
        """Let another thread take the jobs that wait; the calling one, which runs a job, will be held up by it."""
        with self._lock:
            if self._leader is self._mine.turn:
                self._leader = None
                if self._jobs:
                    self._appoint()

    def _appoint(self) -> bool:
        """Let the loop, an idle or a new thread lead, or who is done first; return whether there is one now.

        The lock is held.
        """
        turn = object()
        if self._home is not None and not self._home_held_up:
            self._leader, self._home_led = turn, True
            self._home(partial(self._lead_home, turn))
            return True
        if self._wake(turn):
            self._leader, self._home_led = turn, False
            return True
        return False

    def _wake(self, turn: object) -> bool:
        """Give *turn* to an idle or a new thread, if there may be one. The lock is held."""
        if self._idle:
            self._idle -= 1
            self._appointed.put(turn)
        elif self._threads < self._limit:
            self._threads += 1
            threading.Thread(target=self._work, args=(turn,), name=f"worker-{self._threads}", daemon=True).start()
        else:
            return False
        return True

    def _work(self, turn: object) -> None:
        while True:
            self._mine.turn = turn
            while (job := self._next(turn)) is not None:
                _guarded(job)
            turn = self._appointed.get()

    def _next(self, turn: object) -> Job | None:
        """Return the next job of the thread that has *turn*; without one, the thread is idle."""
        with self._lock:
            if self._long_jobs:
                return self._long_jobs.popleft()
            if self._leader is None and self._jobs:
                self._leader, self._home_led = turn, False
            job = self._next_of_leader(turn)
            if job is None:
                self._idle += 1
            return job

    def _next_of_leader(self, turn: object) -> Job | None:
        """Return the next job if *turn* leads; if there is none, nobody leads. The lock is held."""
        if self._leader is turn:
            if self._jobs:
                self._taken += 1
                return self._jobs.popleft()
            self._leader = None
        return None

    def _lead_home(self, turn: object) -> None:
        """Run jobs on the loop, in turns with what else it runs."""
        assert self._home is not None  # noqa: S101  # `_appoint` calls it there
        for _ in range(_JOBS_IN_A_ROW):
            with self._lock:
                self._home_held_up = False
                job = self._next_of_leader(turn)
            if job is None:
                return
            _guarded(job)
        self._home(partial(self._lead_home, turn))

    def _watch(self) -> None:
        """Give the lead away where a job has it for long while others wait."""
        seen: tuple[object, int] | None = None
        since = 0.0
        quiet = 0
        while True:
            self._waiting.wait()
            time.sleep(HELD_UP_S)
            at = time.monotonic()
            with self._lock:
                quiet = 0 if self._jobs else quiet + 1
                if quiet == _QUIET:
                    quiet = 0
                    self._waiting.clear()
                now = (self._leader, self._taken) if self._jobs else None
                if now != seen:
                    seen, since = now, at
                elif now and at - since >= (_HOME_HELD_UP_S if self._home_led else HELD_UP_S):
                    self._home_held_up = self._home_held_up or self._home_led
                    self._leader = None
                    self._appoint()


class Pace:
    """Whether handlers hold up the thread that runs them, judged by the recent ones.

    One quick run says that they do not; many slow ones in a row that they do:
    under load a quick one may be slow too, and must not be taken for another kind.
    """

    def __init__(self) -> None:
        self._slow_in_a_row = _SLOW_IN_A_ROW - 1  # the first one decides

    @property
    def slow(self) -> bool:
        """Whether the next one is likely to take longer than `HELD_UP_S`."""
        return self._slow_in_a_row >= _SLOW_IN_A_ROW

    def note(self, seconds: float) -> None:
        """A handler took so long."""
        self._slow_in_a_row = 0 if seconds < HELD_UP_S else self._slow_in_a_row + 1


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
        for _ in range(len(waiting)):  # not what these cause: the loop has others to serve
            _guarded(waiting.popleft())


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
        here = threading.get_ident() == self._thread.ident

        def finished(task: asyncio.Task[BaseException | None]) -> None:
            coroutine.close()  # cancelled before its first step, it would warn that nobody awaited it
            ended(asyncio.CancelledError() if task.cancelled() else task.result())

        def begin() -> None:
            task = asyncio.get_running_loop().create_task(_caught(coroutine))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            task.add_done_callback(finished)
            started(lambda: handback(_cancel(task)))

        if here:
            begin()
        else:
            handback(begin)

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
        with self._lock:
            if self._handback is None:
                self._loop = uvloop.new_event_loop()
                self._handback = Handback(self._loop)
                self._thread = threading.Thread(target=self._loop.run_forever, name="handlers", daemon=True)
                self._thread.start()
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

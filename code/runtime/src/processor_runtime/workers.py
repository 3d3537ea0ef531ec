"""Threads for all that may block: files, sync handlers, large bodies.

The server's loop only serves. Threads are daemons, because a handler that never
ends must not keep the process alive after its grace.
"""

import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Final

Job = Callable[[], None]

SPARE_THREADS: Final = 16
# below what a caller notices, above what a run takes that waits for nothing
HELD_UP_S: Final = 0.005
# the loop has handlers to run between two jobs: this many seconds say that one of them blocks it
_HOME_HELD_UP_S: Final = 0.025
# looks that find nobody waiting, before the next one waits for somebody who does
_QUIET: Final = 50
# looks that what waits for a pause may take while jobs end one after another: the more of it, the fewer wake-ups
_LATE: Final = 4
_JOBS_IN_A_ROW: Final = 16
_SLOW_IN_A_ROW: Final = 32
_QUICK_IN_A_ROW: Final = 32


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
        self._home_thread = 0
        self._home_pauses = False
        self._after: list[Job] = []
        self._waiting = threading.Event()
        self._watched = False

    def submit(self, job: Job) -> None:
        """Run *job*. It must not raise."""
        self._jobs.append(job)
        with self._lock:
            if self._leader is None and self._appoint() and not self._home_led:
                return
        self._look_out()

    def submit_long(self, job: Job) -> None:
        """Run *job*, which is known to take its time, in a thread beside the one that leads. It must not raise."""
        self._long_jobs.append(job)
        with self._lock:
            if self._wake(object()):
                return
        self._look_out()

    def at_pause(self, job: Job) -> None:
        """Run *job* when the calling thread, if it leads, has done what is to do, or has been held up; else at once.

        For what wakes another thread: it would take the interpreter's lock from
        the one that leads, at nearly every file call. *job* must not raise.
        """
        at_home = threading.get_ident() == self._home_thread
        with self._lock:
            leads = at_home or (self._leader is not None and self._leader is getattr(self._mine, "turn", None))
            if leads:
                self._after.append(job)
            first = len(self._after) == 1
        if not leads:
            job()
        elif first:
            if at_home and not self._home_pauses:
                self._home_pauses = True
                self._pause_at_home()
            self._look_out()

    def _pause_at_home(self) -> None:
        """Pause after all that is ready on the loop, and all jobs that it leads. Called there."""
        assert self._home is not None  # noqa: S101  # see `_lead_home`
        self._home(self._paused_at_home)

    def _paused_at_home(self) -> None:
        if self._jobs and self._home_led and self._leader is not None:
            self._pause_at_home()
        else:
            self._home_pauses = False
            self.pause()

    def pause(self) -> None:
        """Run what waits for a pause: the calling thread may hold on to the interpreter's lock."""
        with self._lock:
            after, self._after = self._after, []
        for job in after:
            guarded(job)

    def _look_out(self) -> None:
        """See to it that somebody notices when the one who leads is held up."""
        if not self._watched:
            with self._lock:
                first, self._watched = not self._watched, True
            if first:
                try:
                    threading.Thread(target=self._watch, name="workers", daemon=True).start()
                except RuntimeError:  # the next one tries again
                    self._watched = False
        if not self._waiting.is_set():
            self._waiting.set()

    def step_aside(self) -> None:
        """Let another thread take the jobs that wait; the calling one, which runs a job, will be held up by it."""
        with self._lock:
            if self._leader is self._mine.turn:
                self._leader = None
                if self._jobs:
                    self._appoint()
        self.pause()

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
            try:
                threading.Thread(target=self._work, args=(turn,), name=f"worker-{self._threads}", daemon=True).start()
            except RuntimeError:  # the container's limit of processes, say: the watcher tries again
                self._threads -= 1
                return False
        else:
            return False
        return True

    def _work(self, turn: object) -> None:
        while True:
            self._mine.turn = turn
            while (job := self._next(turn)) is not None:
                guarded(job)
            if self._after:
                self.pause()
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
        self._home_thread = threading.get_ident()
        for _ in range(_JOBS_IN_A_ROW):
            with self._lock:
                self._home_held_up = False
                job = self._next_of_leader(turn)
            if job is None:
                return
            guarded(job)
        self._home(partial(self._lead_home, turn))

    def _watch(self) -> None:
        """Give the lead away where a job has it for long while others wait; end their wait for a pause, too."""
        seen: tuple[object, int] | None = None
        after: list[Job] = []
        taken = 0
        since = 0.0
        quiet = looks = 0
        while True:
            self._waiting.wait()
            time.sleep(HELD_UP_S)
            at = time.monotonic()
            with self._lock:
                looks = looks + 1 if self._after and self._after is after else 0
                late = looks >= _LATE or (looks > 0 and self._taken == taken)
                after, taken = self._after, self._taken
                quiet = 0 if self._jobs or self._long_jobs or self._after else quiet + 1
                if quiet == _QUIET:
                    quiet = 0
                    self._waiting.clear()
                if self._long_jobs:
                    self._wake(object())  # there may have been no thread to be had
                now = (self._leader, self._taken) if self._jobs else None
                if now != seen:
                    seen, since = now, at
                elif now and at - since >= (_HOME_HELD_UP_S if self._home_led else HELD_UP_S):
                    if self._leader is not None:  # else nobody is free, and home has done nothing to lose the lead
                        self._home_held_up = self._home_held_up or self._home_led
                    self._leader = None
                    self._appoint()
            if late:
                self.pause()


class Pace:
    """Whether handlers hold up the thread that runs them, judged by the recent ones.

    One quick run says that they do not; many slow ones in a row that they do:
    under load a quick one may be slow too, and must not be taken for another kind.
    """

    def __init__(self) -> None:
        self._slow_in_a_row = _SLOW_IN_A_ROW - 1  # the first one decides
        self._quick_in_a_row = 0

    @property
    def slow(self) -> bool:
        """Whether the next one is likely to take longer than `HELD_UP_S`."""
        return self._slow_in_a_row >= _SLOW_IN_A_ROW

    @property
    def quick(self) -> bool:
        """Whether the next one is very likely to take less."""
        return self._quick_in_a_row >= _QUICK_IN_A_ROW

    def note(self, seconds: float) -> None:
        """A handler took so long."""
        if seconds < HELD_UP_S:
            self._slow_in_a_row = 0
            self._quick_in_a_row += 1
        else:
            self._slow_in_a_row += 1
            self._quick_in_a_row = 0


def guarded(job: Job) -> None:
    """Run *job*; report what it raises, because the thread must not be lost with it."""
    try:
        job()
    except Exception as exc:  # noqa: BLE001  # see above
        threading.excepthook(threading.ExceptHookArgs((type(exc), exc, exc.__traceback__, threading.current_thread())))

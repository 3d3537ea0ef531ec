"""Threads: one leads, others take over where it is held up, and one bad job takes nobody with it."""

from __future__ import annotations

import asyncio
import threading
from functools import partial
from typing import Final

import pytest

from processor_runtime.loops import Handback
from processor_runtime.workers import HELD_UP_S, Job, Pace, Workers
from tests.unit.runtime.jobs import GENEROUS_S, Hold, Note, fail, wait

LONG_S: Final = 3600.0

# --- workers


def test_jobs_run_side_by_side_up_to_the_limit() -> None:
    """All of them meet at one barrier, which needs as many threads."""
    workers, barrier = Workers(4), threading.Barrier(5)

    def meet() -> None:
        barrier.wait(GENEROUS_S)

    for _ in range(4):
        workers.submit(meet)

    barrier.wait(GENEROUS_S)


def test_a_job_beyond_the_limit_waits_for_a_thread() -> None:
    """And then it runs."""
    workers, holds, note, late = Workers(2), [Hold(), Hold()], Note(), threading.Event()
    for hold in holds:
        workers.submit(hold)
    for hold in holds:
        wait(hold.running)
    workers.submit(partial(note, 1, late))

    assert workers._threads == 2
    assert not late.is_set()
    for hold in holds:
        hold.release.set()
    wait(late)
    assert workers._threads == 2


def test_an_idle_thread_is_used_again() -> None:
    """One job after another needs one thread."""
    workers, note = Workers(8), Note()
    for number in range(20):
        done = threading.Event()
        workers.submit(partial(note, number, done))
        wait(done)
        _settle_down(workers)

    assert len(set(note.threads)) == 1


def _settle_down(workers: Workers) -> None:
    """Return when every thread of *workers* is idle."""
    while True:
        with workers._lock:
            if workers._idle == workers._threads:
                return


def test_a_job_that_fails_costs_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is reported, and the next jobs run."""
    reported: list[type[BaseException]] = []
    monkeypatch.setattr(threading, "excepthook", lambda args: reported.append(args.exc_type))
    workers, done = Workers(1), threading.Event()

    for _ in range(3):
        workers.submit(fail)
    workers.submit(done.set)

    wait(done)
    assert reported == [IndexError] * 3


def test_many_jobs_from_many_threads_all_run_once() -> None:
    """However they meet."""
    workers, lock, done = Workers(4), threading.Lock(), threading.Event()
    seen: list[int] = []

    def job(number: int) -> None:
        with lock:
            seen.append(number)
            if len(seen) == 400:
                done.set()

    def submit(first: int) -> None:
        for number in range(first, first + 100):
            workers.submit(partial(job, number))

    threads = [threading.Thread(target=submit, args=(first,)) for first in range(0, 400, 100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wait(done)

    assert len(seen) == 400


def test_quick_jobs_run_in_one_thread_in_order() -> None:
    """Others would only take the interpreter's lock from it."""
    workers, note, done = Workers(8), Note(), threading.Event()

    for number in range(200):
        workers.submit(partial(note, number))
    workers.submit(done.set)

    wait(done)
    assert note.numbers == list(range(200))
    assert len(set(note.threads)) == 1


def test_a_job_that_holds_up_others_is_left_to_its_thread() -> None:
    """Another one takes what waits, and the first one is idle when it is done."""
    workers, hold, note, done = Workers(8), Hold(), Note(), threading.Event()
    workers.submit(hold)
    wait(hold.running)

    workers.submit(partial(note, 1, done))

    wait(done)
    assert not hold.release.is_set()
    hold.release.set()
    _settle_down(workers)
    assert workers._threads == 2


def test_who_steps_aside_holds_nobody_up() -> None:
    """The next job need not wait until that is noticed; without one, nobody is woken."""
    workers, note, done = Workers(8), Note(), threading.Event()
    hold = Hold()

    def blocking() -> None:
        workers.step_aside()
        hold()

    workers.submit(blocking)
    wait(hold.running)
    assert workers._threads == 1
    workers._watched = True  # nobody looks whether a job holds up others
    workers.submit(partial(note, 1, done))

    wait(done)
    hold.release.set()


def test_a_long_job_runs_beside_the_others() -> None:
    """It neither waits for the one that leads nor leads itself."""
    workers, hold, long, done = Workers(8), Hold(), Hold(), threading.Event()
    workers.submit(hold)
    wait(hold.running)

    workers.submit_long(long)

    wait(long.running)
    workers.submit(done.set)
    hold.release.set()
    wait(done)
    long.release.set()
    _settle_down(workers)


def test_a_long_job_beyond_the_limit_waits_for_a_thread() -> None:
    """And then it runs."""
    workers, hold, done = Workers(1), Hold(), threading.Event()
    workers.submit(hold)
    wait(hold.running)

    workers.submit_long(done.set)
    assert not done.is_set()
    hold.release.set()

    wait(done)


@pytest.mark.parametrize("kind", ["job", "long job"])
def test_a_job_waits_for_its_thread_where_none_is_to_be_had(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """A container may hold only so many; neither the job nor the watcher is lost with one that did not start."""
    start, refused = threading.Thread.start, list[str]()

    def refusing(thread: threading.Thread) -> None:
        if len(refused) < 2:
            refused.append(thread.name)
            raise RuntimeError("can't start new thread")
        start(thread)

    workers, note, done = Workers(2), Note(), threading.Event()
    monkeypatch.setattr(threading.Thread, "start", refusing)
    (workers.submit if kind == "job" else workers.submit_long)(partial(note, 0))
    assert len(refused) == 2
    workers.submit(partial(note, 1, done))

    wait(done)
    _settle_down(workers)
    assert sorted(note.numbers) == [0, 1]


def test_the_loop_of_async_handlers_leads_where_there_is_one(loop: asyncio.AbstractEventLoop) -> None:
    """More jobs than it runs in one go, too."""
    workers, note, done = Workers(8, Handback(loop)), Note(), threading.Event()

    for number in range(100):
        workers.submit(partial(note, number))
    workers.submit(done.set)

    wait(done)
    assert note.numbers == list(range(100))
    assert workers._threads == 0


def test_a_thread_leads_as_long_as_a_handler_holds_up_the_loop(loop: asyncio.AbstractEventLoop) -> None:
    """Then the loop does again."""
    workers, hold, note = Workers(8, Handback(loop)), Hold(), Note()
    loop.call_soon_threadsafe(hold)
    wait(hold.running)

    for number in range(3):
        done = threading.Event()
        workers.submit(partial(note, number, done))
        wait(done)
    threads = set(note.threads)
    hold.release.set()
    back = Hold()
    loop.call_soon_threadsafe(back)
    wait(back.running)
    back.release.set()
    done = threading.Event()
    workers.submit(partial(note, 3, done))
    wait(done)

    assert len(threads) == 1
    assert note.threads[-1] not in threads


def test_the_loop_leads_again_though_no_thread_was_free_for_what_it_held_up(loop: asyncio.AbstractEventLoop) -> None:
    """The job that waited does not wait for a thread when the loop is there."""
    workers, long, hold, done = Workers(1, Handback(loop)), Hold(), Hold(), threading.Event()
    workers.submit_long(long)
    wait(long.running)
    loop.call_soon_threadsafe(hold)
    wait(hold.running)
    workers.submit(done.set)
    while workers._leader is not None:  # the lead is taken from the loop
        threading.Event().wait(HELD_UP_S)

    hold.release.set()

    wait(done)
    assert not long.release.is_set()
    long.release.set()


def test_a_pause_waits_for_no_job_that_the_loop_does_not_lead(
    loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would look again and again until a thread is free."""
    workers, long, told, turns = Workers(1, Handback(loop)), Hold(), threading.Event(), list[Job]()
    led = threading.Event()
    workers.submit(led.set)
    wait(led)
    workers.submit_long(long)
    wait(long.running)

    handback = Handback(loop)

    def counted(job: Job) -> None:
        turns.append(job)
        handback(job)

    def stranded() -> None:
        with workers._lock:
            workers._jobs.append(long)  # as if no thread had been free for it
            workers._leader, workers._home_led = None, True
        monkeypatch.setattr(workers, "_home", counted)
        workers.at_pause(told.set)

    loop.call_soon_threadsafe(stranded)

    wait(told)
    assert len(turns) == 1
    long.release.set()


def test_what_waits_for_a_pause_runs_when_all_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would take the interpreter's lock from those that are still to run."""
    monkeypatch.setattr("processor_runtime.workers.HELD_UP_S", LONG_S)
    workers, hold, note, done = Workers(2), Hold(), Note(), threading.Event()

    workers.submit(hold)
    workers.submit(partial(workers.at_pause, partial(note, 0)))
    workers.submit(partial(workers.at_pause, partial(note, 1, done)))
    workers.submit(partial(note, 2))
    hold.release.set()

    wait(done)
    assert note.numbers == [2, 0, 1]


def test_who_does_not_lead_waits_for_no_pause() -> None:
    """There is nothing that it would hold up: neither a caller from elsewhere, nor a job that is known to be long."""
    workers, note, done = Workers(2), Note(), threading.Event()

    workers.at_pause(partial(note, 0))
    assert note.numbers == [0]

    def long_job() -> None:
        workers.at_pause(partial(note, 1))
        note(2, done)

    workers.submit_long(long_job)
    wait(done)
    assert note.numbers == [0, 1, 2]


def test_what_waits_for_a_pause_does_not_wait_for_a_job_that_is_held_up() -> None:
    """An answer does not wait until the next handler has slept."""
    workers, hold, told = Workers(2), Hold(), threading.Event()

    def job() -> None:
        workers.at_pause(told.set)
        hold()

    workers.submit(job)

    wait(told)
    assert not hold.release.is_set()
    hold.release.set()


def test_who_steps_aside_keeps_nobody_waiting_for_a_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """It knows that it will take long."""
    monkeypatch.setattr("processor_runtime.workers.HELD_UP_S", LONG_S)
    workers, hold, told = Workers(2), Hold(), threading.Event()

    def job() -> None:
        workers.at_pause(told.set)
        workers.step_aside()
        hold()

    workers.submit(job)

    wait(told)
    hold.release.set()


def test_on_the_loop_of_async_handlers_a_pause_is_when_all_that_is_ready_has_run(
    loop: asyncio.AbstractEventLoop,
) -> None:
    """Handlers that end in the same turn are answered together."""
    workers, note, done = Workers(2, Handback(loop)), Note(), threading.Event()

    def job() -> None:
        loop.call_soon(partial(note, 0))
        workers.at_pause(partial(note, 1, done))
        note(2)

    workers.submit(job)

    wait(done)
    assert note.numbers == [2, 0, 1]


def test_on_the_loop_of_async_handlers_a_pause_comes_after_all_jobs_that_wait(
    loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loop takes some jobs at a time: many small pauses would be many wake-ups."""
    monkeypatch.setattr("processor_runtime.workers.HELD_UP_S", LONG_S)
    workers, hold, note, done = Workers(2, Handback(loop)), Hold(), Note(), threading.Event()

    workers.submit(hold)
    for number in range(100):
        workers.submit(partial(workers.at_pause, partial(note, 100 + number)))
        workers.submit(partial(note, number))
    workers.submit(partial(workers.at_pause, partial(note, 200, done)))
    hold.release.set()

    wait(done)
    assert note.numbers == list(range(201))


@pytest.mark.parametrize("home", [False, True])
def test_what_waits_for_a_pause_does_not_wait_for_ever(loop: asyncio.AbstractEventLoop, *, home: bool) -> None:
    """An answer does not wait until there are no more requests, however many come."""
    workers, told = Workers(2, Handback(loop) if home else None), threading.Event()

    def job() -> None:
        if not told.is_set():
            workers.submit(job)

    def both() -> None:
        workers.submit(job)
        workers.at_pause(told.set)

    workers.submit(both)

    wait(told)


# --- pace


def test_a_handler_is_quick_after_many_quick_ones_in_a_row() -> None:
    """Until one is not."""
    pace = Pace()
    found = list[bool]()
    for seconds in (*[HELD_UP_S / 2] * 40, HELD_UP_S, *[HELD_UP_S / 2] * 40):
        found.append(pace.quick)
        pace.note(seconds)

    assert found == [False] * 32 + [True] * 9 + [False] * 32 + [True] * 8


def test_one_slow_handler_at_the_beginning_says_that_they_are_slow() -> None:
    """And one quick one that they are not."""
    pace = Pace()
    found = [pace.slow]
    for seconds in (HELD_UP_S, HELD_UP_S / 2):
        pace.note(seconds)
        found.append(pace.slow)

    assert found == [False, True, False]


def test_a_handler_that_was_quick_is_slow_only_after_many() -> None:
    """Under load a quick one takes long, too."""
    pace = Pace()
    pace.note(0.0)
    for _ in range(31):
        pace.note(1.0)
    before = pace.slow
    pace.note(1.0)

    assert (before, pace.slow) == (False, True)

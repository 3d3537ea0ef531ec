"""Threads, loops and alarms: as many as allowed, in order, and one bad job takes nobody with it."""

from __future__ import annotations

import asyncio
import gc
import threading
import warnings
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from processor_runtime.workers import HELD_UP_S, Alarms, Handback, HandlerLoop, Pace, Workers

GENEROUS_S = 20.0


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    """Return an event loop that runs in a thread of its own."""
    found = asyncio.new_event_loop()
    thread = threading.Thread(target=found.run_forever, daemon=True)
    thread.start()
    yield found
    found.call_soon_threadsafe(found.stop)
    thread.join(GENEROUS_S)
    found.close()


def _wait(event: threading.Event) -> None:
    assert event.wait(GENEROUS_S), "nothing happened"


class Hold:
    """A job that says that it runs, and waits until it is let go."""

    def __init__(self) -> None:
        self.running = threading.Event()
        self.release = threading.Event()

    def __call__(self) -> None:
        """Run."""
        self.running.set()
        _wait(self.release)


class Note:
    """A job that notes its number and its thread in lists that others share."""

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self.threads: list[int] = []

    def __call__(self, number: int, then: threading.Event | None = None) -> None:
        """Note, then set the event."""
        self.numbers.append(number)
        self.threads.append(threading.get_ident())
        if then is not None:
            then.set()


def _raise() -> None:
    raise IndexError


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
        _wait(hold.running)
    workers.submit(partial(note, 1, late))

    assert workers._threads == 2
    assert not late.is_set()
    for hold in holds:
        hold.release.set()
    _wait(late)
    assert workers._threads == 2


def test_an_idle_thread_is_used_again() -> None:
    """One job after another needs one thread."""
    workers, note = Workers(8), Note()
    for number in range(20):
        done = threading.Event()
        workers.submit(partial(note, number, done))
        _wait(done)
        _settle_down(workers)

    assert len(set(note.threads)) == 1


def _settle_down(workers: Workers) -> None:
    """Return when every thread of *workers* is idle."""
    while True:
        with workers._lock:
            if workers._idle == workers._threads:
                return


def test_a_job_that_raises_costs_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is reported, and the next jobs run."""
    reported: list[type[BaseException]] = []
    monkeypatch.setattr(threading, "excepthook", lambda args: reported.append(args.exc_type))
    workers, done = Workers(1), threading.Event()

    for _ in range(3):
        workers.submit(_raise)
    workers.submit(done.set)

    _wait(done)
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
    _wait(done)

    assert len(seen) == 400


def test_quick_jobs_run_in_one_thread_in_order() -> None:
    """Others would only take the interpreter's lock from it."""
    workers, note, done = Workers(8), Note(), threading.Event()

    for number in range(200):
        workers.submit(partial(note, number))
    workers.submit(done.set)

    _wait(done)
    assert note.numbers == list(range(200))
    assert len(set(note.threads)) == 1


def test_a_job_that_holds_up_others_is_left_to_its_thread() -> None:
    """Another one takes what waits, and the first one is idle when it is done."""
    workers, hold, note, done = Workers(8), Hold(), Note(), threading.Event()
    workers.submit(hold)
    _wait(hold.running)

    workers.submit(partial(note, 1, done))

    _wait(done)
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
    _wait(hold.running)
    assert workers._threads == 1
    workers._watched = True  # nobody looks whether a job holds up others
    workers.submit(partial(note, 1, done))

    _wait(done)
    hold.release.set()


def test_a_long_job_runs_beside_the_others() -> None:
    """It neither waits for the one that leads nor leads itself."""
    workers, hold, long, done = Workers(8), Hold(), Hold(), threading.Event()
    workers.submit(hold)
    _wait(hold.running)

    workers.submit_long(long)

    _wait(long.running)
    workers.submit(done.set)
    hold.release.set()
    _wait(done)
    long.release.set()
    _settle_down(workers)


def test_a_long_job_beyond_the_limit_waits_for_a_thread() -> None:
    """And then it runs."""
    workers, hold, done = Workers(1), Hold(), threading.Event()
    workers.submit(hold)
    _wait(hold.running)

    workers.submit_long(done.set)
    assert not done.is_set()
    hold.release.set()

    _wait(done)


def test_the_loop_of_async_handlers_leads_where_there_is_one(loop: asyncio.AbstractEventLoop) -> None:
    """More jobs than it runs in one go, too."""
    workers, note, done = Workers(8, Handback(loop)), Note(), threading.Event()

    for number in range(100):
        workers.submit(partial(note, number))
    workers.submit(done.set)

    _wait(done)
    assert note.numbers == list(range(100))
    assert workers._threads == 0


def test_a_thread_leads_as_long_as_a_handler_holds_up_the_loop(loop: asyncio.AbstractEventLoop) -> None:
    """Then the loop does again."""
    workers, hold, note = Workers(8, Handback(loop)), Hold(), Note()
    loop.call_soon_threadsafe(hold)
    _wait(hold.running)

    for number in range(3):
        done = threading.Event()
        workers.submit(partial(note, number, done))
        _wait(done)
    threads = set(note.threads)
    hold.release.set()
    back = Hold()
    loop.call_soon_threadsafe(back)
    _wait(back.running)
    back.release.set()
    done = threading.Event()
    workers.submit(partial(note, 3, done))
    _wait(done)

    assert len(threads) == 1
    assert note.threads[-1] not in threads


# --- pace


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


# --- handback


def test_what_is_handed_back_runs_on_the_loop_in_order(loop: asyncio.AbstractEventLoop) -> None:
    """Whoever hands it back."""
    handback, note, done = Handback(loop), Note(), threading.Event()

    for number in range(1000):
        handback(partial(note, number))
    handback(done.set)

    _wait(done)
    assert note.numbers == list(range(1000))
    assert len(set(note.threads)) == 1
    assert threading.get_ident() not in note.threads


def test_many_that_are_handed_back_wake_the_loop_once(
    loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each wake-up is a write to a pipe."""
    wakes: list[Callable[[], None]] = []
    wake = loop.call_soon_threadsafe

    def counted(call: Callable[[], None]) -> None:
        wakes.append(call)
        wake(call)

    monkeypatch.setattr(loop, "call_soon_threadsafe", counted)
    handback, note, hold, done = Handback(loop), Note(), Hold(), threading.Event()
    wake(hold)
    _wait(hold.running)

    for number in range(99):
        handback(partial(note, number))
    handback(done.set)
    hold.release.set()

    _wait(done)
    assert note.numbers == list(range(99))
    assert len(wakes) == 1


def test_what_is_handed_back_while_jobs_run_is_not_lost(loop: asyncio.AbstractEventLoop) -> None:
    """From the loop itself, too."""
    handback, done = Handback(loop), threading.Event()

    def again(left: int) -> None:
        if left:
            handback(lambda: again(left - 1))
        else:
            done.set()

    handback(lambda: again(100))

    _wait(done)


def test_what_is_handed_back_without_end_leaves_the_loop_to_others(loop: asyncio.AbstractEventLoop) -> None:
    """Each turn takes what was there when it began."""
    handback, stopped, done = Handback(loop), threading.Event(), threading.Event()

    def again() -> None:
        if not stopped.is_set():
            handback(again)

    handback(again)
    loop.call_soon_threadsafe(lambda: loop.call_soon(done.set))

    _wait(done)
    stopped.set()


def test_handing_back_to_a_closed_loop_is_nothing() -> None:
    """Nobody waits for an answer any more."""
    closed = asyncio.new_event_loop()
    closed.close()

    Handback(closed)(lambda: None)


# --- handlers


class _Ended:
    """Takes what `HandlerLoop` reports."""

    def __init__(self) -> None:
        self.event = threading.Event()
        self.calls: list[BaseException | None] = []
        self.cancel: Callable[[], None] = lambda: None
        self.started = threading.Event()

    def begun(self, cancel: Callable[[], None]) -> None:
        self.cancel = cancel
        self.started.set()

    def __call__(self, raised: BaseException | None) -> None:
        self.calls.append(raised)
        self.event.set()

    def submit(self, handlers: HandlerLoop, work: Callable[[], object]) -> None:
        handlers.submit(work(), started=self.begun, ended=self)  # type: ignore[arg-type]  # a coroutine

    def wait(self) -> BaseException | None:
        _wait(self.event)
        (raised,) = self.calls
        return raised


async def _nothing() -> None:
    return


async def _for_ever() -> None:
    await asyncio.Event().wait()


@pytest.mark.parametrize("kind", [ValueError, SystemExit, KeyboardInterrupt, asyncio.CancelledError, GeneratorExit])
def test_what_a_handler_raises_is_reported_and_ends_nobody_else(kind: type[BaseException]) -> None:
    """An author's `sys.exit()` ends the run, not the loop of all runs."""
    handlers, neighbour, ended = HandlerLoop(), _Ended(), _Ended()
    neighbour.submit(handlers, _for_ever)
    _wait(neighbour.started)

    async def raises() -> None:
        await asyncio.sleep(0)
        raise kind

    ended.submit(handlers, raises)

    assert type(ended.wait()) is kind
    assert neighbour.calls == []
    neighbour.cancel()
    assert isinstance(neighbour.wait(), asyncio.CancelledError)


def test_a_handler_that_returns_has_raised_nothing() -> None:
    """Once, whatever comes after."""
    handlers, ended = HandlerLoop(), _Ended()

    ended.submit(handlers, _nothing)

    assert ended.wait() is None
    ended.cancel()
    after = _Ended()
    after.submit(handlers, _nothing)
    after.wait()
    assert ended.calls == [None]


def test_a_handler_is_cancelled_from_any_thread() -> None:
    """At its next await."""
    handlers, ended = HandlerLoop(), _Ended()
    ended.submit(handlers, _for_ever)
    _wait(ended.started)

    ended.cancel()

    assert isinstance(ended.wait(), asyncio.CancelledError)


@pytest.mark.filterwarnings("ignore:coroutine:RuntimeWarning")
def test_a_handler_that_is_cancelled_before_its_first_step_has_ended_too() -> None:
    """Else its slot would be taken for ever."""
    handlers, ended, steps = HandlerLoop(), _Ended(), list[str]()

    async def work() -> None:
        steps.append("ran")

    handlers.submit(work(), started=lambda cancel: cancel(), ended=ended)

    assert isinstance(ended.wait(), asyncio.CancelledError) or steps == ["ran"]


def test_a_handler_that_is_cancelled_before_its_first_step_warns_of_nothing() -> None:
    """A warning becomes a line in the log, and this one would blame the author."""
    handlers, ended = HandlerLoop(), _Ended()
    gc.collect()

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        handlers.submit(_nothing(), started=lambda cancel: cancel(), ended=ended)
        _wait(ended.event)
        gc.collect()

    assert [str(each.message) for each in caught] == []


def test_all_handlers_share_one_loop() -> None:
    """An author's client may be bound to it."""
    handlers, loops, first, second = HandlerLoop(), list[object](), _Ended(), _Ended()

    async def work() -> None:
        loops.append(asyncio.get_running_loop())

    first.submit(handlers, work)
    second.submit(handlers, work)
    first.wait()
    second.wait()

    assert loops[0] is loops[1]


# --- alarms


class _Rung:
    """Collects the names of the alarms that rang."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self._changed = threading.Condition()

    def __call__(self, name: str) -> Callable[[], None]:
        def ring() -> None:
            with self._changed:
                self.names.append(name)
                self._changed.notify_all()

        return ring

    def wait(self, count: int) -> list[str]:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.names) >= count, GENEROUS_S), self.names
            return list(self.names)


def test_alarms_ring_in_the_order_of_their_times() -> None:
    """Not in the order in which they were set, even if the thread was late for all of them."""
    alarms, rung, busy = Alarms(), _Rung(), Hold()
    alarms.set("busy", 0.0, busy)
    _wait(busy.running)

    for name, after_s in (("d", 0.004), ("a", 0.001), ("c", 0.003), ("b", 0.002)):
        alarms.set(name, after_s - 1.0, rung(name))
    busy.release.set()

    assert rung.wait(4) == ["a", "b", "c", "d"]


def test_an_earlier_alarm_that_is_set_later_rings_first() -> None:
    """The thread that sleeps until the first one is woken."""
    alarms, rung = Alarms(), _Rung()
    alarms.set("later", 3600.0, rung("later"))
    alarms.set("warm up", 0.0, rung("warm up"))
    rung.wait(1)

    alarms.set("sooner", 0.01, rung("sooner"))

    assert rung.wait(2) == ["warm up", "sooner"]


def test_an_alarm_that_was_cleared_does_not_ring() -> None:
    """Those around it do."""
    alarms, rung = Alarms(), _Rung()
    alarms.set("first", 0.05, rung("first"))
    alarms.set("cleared", 0.06, rung("cleared"))
    alarms.set("last", 0.07, rung("last"))

    alarms.clear("cleared")
    alarms.clear("cleared")
    alarms.clear("never set")

    assert rung.wait(2) == ["first", "last"]


def test_an_alarm_that_is_set_again_rings_once_at_its_new_time() -> None:
    """Later or sooner."""
    alarms, rung = Alarms(), _Rung()
    alarms.set("a", 3600.0, rung("a at first"))
    alarms.set("b", 0.0, rung("b at first"))
    rung.wait(1)
    alarms.set("a", 0.01, rung("a again"))
    alarms.set("end", 0.05, rung("end"))

    assert rung.wait(3) == ["b at first", "a again", "end"]


def test_an_alarm_may_be_set_while_one_rings() -> None:
    """From the alarm itself."""
    alarms, rung = Alarms(), _Rung()
    alarms.set("outer", 0.0, lambda: alarms.set("inner", 0.0, rung("inner")))

    assert rung.wait(1) == ["inner"]


def test_an_alarm_that_is_done_holds_nothing() -> None:
    """Its key is an execution, with its request."""
    alarms, rung = Alarms(), _Rung()
    alarms.set("a", 0.0, rung("a"))
    rung.wait(1)

    assert alarms._entries == {}


def test_an_alarm_that_raises_silences_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every deadline of the service hangs on that one thread."""
    reported: list[type[BaseException]] = []
    monkeypatch.setattr(threading, "excepthook", lambda args: reported.append(args.exc_type))
    alarms, rung = Alarms(), _Rung()
    alarms.set("a", -2.0, _raise)
    alarms.set("b", -1.0, rung("b"))
    assert rung.wait(1) == ["b"]
    alarms.set("c", 0.0, rung("c"))

    assert rung.wait(2) == ["b", "c"]
    assert reported == [IndexError]

"""Loops: what is handed to them runs in order, and one bad handler ends nobody else."""

from __future__ import annotations

import asyncio
import gc
import threading
import warnings
from collections.abc import Callable
from functools import partial

import pytest

from processor_runtime.loops import Handback, HandlerLoop
from tests.unit.runtime.jobs import Hold, Note, wait

# --- handback


def test_what_is_handed_back_runs_on_the_loop_in_order(loop: asyncio.AbstractEventLoop) -> None:
    """Whoever hands it back."""
    handback, note, done = Handback(loop), Note(), threading.Event()

    for number in range(1000):
        handback(partial(note, number))
    handback(done.set)

    wait(done)
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
    wait(hold.running)

    for number in range(99):
        handback(partial(note, number))
    handback(done.set)
    hold.release.set()

    wait(done)
    assert note.numbers == list(range(99))
    assert len(wakes) == 1


def test_what_is_handed_back_for_later_waits_until_one_wakes_the_loop_for_all(loop: asyncio.AbstractEventLoop) -> None:
    """In order, with one wake-up; and what cannot wait takes them along."""
    note, deferred = Note(), list[Callable[[], None]]()
    handback = Handback(loop, deferred.append)
    for number in range(3):
        handback.later(partial(note, number))
    assert (len(deferred), note.numbers) == (1, [])

    done = threading.Event()
    handback.later(partial(note, 3, done))
    deferred.pop()()
    wait(done)
    assert note.numbers == [0, 1, 2, 3]

    handback.later(partial(note, 4))
    done = threading.Event()
    handback(partial(note, 5, done))
    wait(done)
    deferred.pop()()  # there is nothing left to do
    done = threading.Event()
    handback.later(partial(note, 6, done))
    deferred.pop()()
    wait(done)
    assert note.numbers == [0, 1, 2, 3, 4, 5, 6]


def test_what_is_handed_back_while_jobs_run_is_not_lost(loop: asyncio.AbstractEventLoop) -> None:
    """From the loop itself, too."""
    handback, done = Handback(loop), threading.Event()

    def again(left: int) -> None:
        if left:
            handback(lambda: again(left - 1))
        else:
            done.set()

    handback(lambda: again(100))

    wait(done)


def test_what_is_handed_back_without_end_leaves_the_loop_to_others(loop: asyncio.AbstractEventLoop) -> None:
    """Each turn takes what was there when it began."""
    handback, stopped, done = Handback(loop), threading.Event(), threading.Event()

    def again() -> None:
        if not stopped.is_set():
            handback(again)

    handback(again)
    loop.call_soon_threadsafe(lambda: loop.call_soon(done.set))

    wait(done)
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
        wait(self.event)
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
    wait(neighbour.started)

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
    wait(ended.started)

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
        wait(ended.event)
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

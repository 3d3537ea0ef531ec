"""Alarms: each rings once, in order, and holds nothing afterwards."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from processor_runtime.alarms import Alarms
from tests.unit.runtime.jobs import GENEROUS_S, Hold, fail, wait


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
    wait(busy.running)

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


def test_an_alarm_thatfails_silences_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every deadline of the service hangs on that one thread."""
    reported: list[type[BaseException]] = []
    monkeypatch.setattr(threading, "excepthook", lambda args: reported.append(args.exc_type))
    alarms, rung = Alarms(), _Rung()
    alarms.set("a", -2.0, fail)
    alarms.set("b", -1.0, rung("b"))
    assert rung.wait(1) == ["b"]
    alarms.set("c", 0.0, rung("c"))

    assert rung.wait(2) == ["b", "c"]
    assert reported == [IndexError]

"""Jobs whose course a test follows."""

from __future__ import annotations

import threading

GENEROUS_S = 20.0


def wait(event: threading.Event) -> None:
    """Return when *event* is set."""
    assert event.wait(GENEROUS_S), "nothing happened"


class Hold:
    """A job that says that it runs, and waits until it is let go."""

    def __init__(self) -> None:
        self.running = threading.Event()
        self.release = threading.Event()

    def __call__(self) -> None:
        """Run."""
        self.running.set()
        wait(self.release)


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


def fail() -> None:
    """A job that raises."""
    raise IndexError

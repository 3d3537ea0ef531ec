"""What a run tells while it goes on, on its way to one reader (CONTRACT §6).

The buffer between handler and reader never blocks the
handler and never loses an `output` or the end: when the reader is slow, token
texts are joined and progress and log lines are dropped.
"""

import threading
from collections.abc import Callable
from typing import Any, Final

MANY: Final = 1024
HEARTBEAT_S: Final = 15.0

Event = tuple[str, dict[str, Any]]


class EventBuffer:
    """Events from any thread for one reader.

    Args:
        wake: Called, from any thread, when there is something to take and the
            reader took all before, and again when it has become so much that a
            reader who waits should wait no longer.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._lock = threading.Lock()
        self._events: list[Event] = []
        self._more: list[str] = []
        self._woken = False

    def put(self, name: str, data: dict[str, Any]) -> None:
        """Add one event; the data of a `token` has a ``text``."""
        with self._lock:
            events = self._events
            if len(events) < MANY:
                events.append((name, data))
            elif name == "token" and events[-1][0] == "token":
                self._more.append(data["text"])  # joined once: text by text would cost the square
            elif name in {"token", "output"}:
                self._join()
                events.append((name, data))
            else:
                return
            if self._woken and len(events) != MANY // 2:
                return
            self._woken = True
        self._wake()

    def take(self) -> list[Event]:
        """Return what was put since the last call."""
        with self._lock:
            self._join()
            events, self._events = self._events, []
            self._woken = False
        return events

    def _join(self) -> None:
        """Add what the last token has got since. The lock is held."""
        if self._more:
            name, data = self._events[-1]
            self._events[-1] = (name, {**data, "text": data["text"] + "".join(self._more)})
            self._more.clear()


def encode(number: int, name: str, data: bytes) -> bytes:
    """Return one event on the wire, as FastAPI's `format_sse_event` does; *data* is JSON, which has no line break."""
    return b"event: %b\ndata: %b\nid: %d\n\n" % (name.encode(), data, number)

"""What a run tells while it goes on, on its way to one reader (CONTRACT §6).

The buffer between handler and reader never blocks the
handler and never loses an `output` or the end: when the reader is slow, token
texts are joined and progress and log lines are dropped.
"""

import threading
from collections.abc import Callable
from typing import Any, Final

MANY: Final = 256
HEARTBEAT_S: Final = 15.0

Event = tuple[str, dict[str, Any]]


class EventBuffer:
    """Events from any thread for one reader.

    Args:
        wake: Called, from any thread, when there is something to take and the
            reader took all before.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._lock = threading.Lock()
        self._events: list[Event] = []
        self._woken = False

    def put(self, name: str, data: dict[str, Any]) -> None:
        """Add one event; the data of a `token` is ``{"text": …}``."""
        with self._lock:
            if name == "token":
                self._put_token(data)
            elif len(self._events) < MANY or name == "output":
                self._events.append((name, data))
            else:
                return
            if self._woken:
                return
            self._woken = True
        self._wake()

    def take(self) -> list[Event]:
        """Return what was put since the last call."""
        with self._lock:
            events, self._events = self._events, []
            self._woken = False
        for name, data in events:
            if name == "token":
                data["text"] = "".join(data["text"])
        return events

    def _put_token(self, data: dict[str, Any]) -> None:
        last = self._events[-1] if len(self._events) >= MANY else None
        if last is not None and last[0] == "token":
            last[1]["text"].append(data["text"])
        else:
            self._events.append(("token", {**data, "text": [data["text"]]}))


def encode(number: int, name: str, data: bytes) -> bytes:
    """Return one event on the wire, as FastAPI's `format_sse_event` does; *data* is JSON, which has no line break."""
    return b"event: %b\ndata: %b\nid: %d\n\n" % (name.encode(), data, number)

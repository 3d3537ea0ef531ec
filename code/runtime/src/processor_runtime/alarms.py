"""What rings at a given time: deadlines, and looks that are repeated."""

import threading
import time

from .workers import Job, guarded


class Alarms:
    """Rings at given times, from a thread of its own.

    One entry per execution in flight, so looking for the next one is cheap,
    and a finished run leaves nothing behind: a timer that stays armed for
    `timeout_s` would hold every request of that time in memory.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition(threading.Lock())
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
        self._entries.pop(key, None)  # one step of the interpreter's: it needs no lock

    def _watch(self) -> None:
        while True:
            for ring in self._due():
                guarded(ring)

    def _due(self) -> list[Job]:
        with self._changed:
            now = time.monotonic()
            entries = list(self._entries.items())  # what is cleared meanwhile may still ring, as a moment ago
            due = sorted((at, number, key) for number, (key, (at, _)) in enumerate(entries) if at <= now)
            if due:
                return [entry[1] for _, _, key in due if (entry := self._entries.pop(key, None))]
            self._next = min((at for _, (at, _) in entries), default=now + 3600.0)
            self._changed.wait(self._next - now)
            return []

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
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)  # each run takes the lock itself, which costs less
        self._entries: dict[object, tuple[float, Job]] = {}
        self._next = 0.0
        self._started = False

    def set(self, key: object, after_s: float, ring: Job) -> None:
        """Call *ring* after *after_s* seconds, in place of what was set for *key*."""
        at = time.monotonic() + after_s
        with self._lock:
            self._entries[key] = (at, ring)
            if not self._started:
                self._started = True
                threading.Thread(target=self._watch, name="alarms", daemon=True).start()
            elif at < self._next:
                self._changed.notify()

    def clear(self, key: object) -> None:
        """Do not ring for *key*."""
        with self._lock:
            self._entries.pop(key, None)

    def _watch(self) -> None:
        while True:
            for ring in self._due():
                guarded(ring)

    def _due(self) -> list[Job]:
        with self._lock:
            now = time.monotonic()
            due = sorted((at, number, key) for number, (key, (at, _)) in enumerate(self._entries.items()) if at <= now)
            if due:
                return [self._entries.pop(key)[1] for _, _, key in due]
            self._next = min((at for at, _ in self._entries.values()), default=now + 3600.0)
            self._changed.wait(self._next - now)
            return []

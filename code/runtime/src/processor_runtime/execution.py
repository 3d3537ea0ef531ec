"""One execution: from the moment it is known until its answer has left and its handler has ended."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from .errors import ProcessorError
from .logs import Logger, timestamp
from .request import RunRequest
from .sse import EventBuffer
from .workspace import RunStoppedError, Workspace

_MIRROR_BYTES: Final = 64 * 1024


class Answer(NamedTuple):
    """What one caller gets.

    Attributes:
        status: HTTP status.
        body: The envelope as JSON.
        refused: There was no run: a stream answers with plain JSON too.
        replayed: The result is another request's, joined or stored.
        retry_after_s: Seconds for `Retry-After`, or ``None``.
    """

    status: int
    body: bytes
    refused: bool = False
    replayed: bool = False
    retry_after_s: int | None = None

    def joined(self) -> "Answer":
        """Return this answer for a caller that joined."""
        return self._replace(replayed=True)


@dataclass(slots=True)
class Caller:
    """One HTTP request that waits for an execution.

    Attributes:
        reply: Takes the answer, from any thread, exactly once.
        accepted: For a stream: told once that there will be a run, with the
            function to call when the reader has gone.
        events: For a stream: where events go.
        joined: Whether the execution was another caller's first.
    """

    reply: Callable[[Answer], None]
    accepted: Callable[[Callable[[], None]], None] | None = None
    events: EventBuffer | None = None
    joined: bool = False

    @property
    def streams(self) -> bool:
        """Whether it reads a stream."""
        return self.accepted is not None


class Execution:
    """The state of one execution, and who waits for it.

    It settles once: the first `decide` wins, whether result, deadline, cancel
    or drain. What the handler does after that is refused.
    """

    workspace: Workspace
    started: float | None = None
    started_at: str | None = None
    duration_ms: int | None = None
    error: ProcessorError | None = None
    held = True
    admitted = False
    holds_slot = False
    overdue = False
    handler_ended = True
    answered = False
    _decided = False
    _settling = False
    _trace_bytes = 0

    def __init__(self, request: RunRequest, caller: Caller, log: Logger) -> None:
        fields = {"trace_id": request.trace_id} if request.trace_id else {}
        self.request = request
        self.log = log.mirrored(self._mirror, execution_id=request.execution_id, **fields)
        self.arrived = time.monotonic()
        self.extra: dict[str, Any] = {}
        self.interrupt: Callable[[], None] = _nothing
        self._lock = threading.Lock()
        self._callers = [caller]
        self._readers = 1
        self._only_streams = caller.streams
        self._events = caller.events
        self._trace: list[bytes] | None = []

    # --- settle once

    @property
    def stopped(self) -> bool:
        """Whether the outcome is decided."""
        return self._decided

    def decide(self, error: ProcessorError | None) -> bool:
        """Fix the outcome, a success if *error* is ``None``; return whether this call was the first."""
        with self._lock:
            if self._decided:
                return False
            self._decided = True
            self.error = error
            if self.started is not None:
                self.duration_ms = int((time.monotonic() - self.started) * 1000)
            return True

    def guarded(self, step: Callable[[], None]) -> None:
        """Run *step*, which makes an output visible, unless the outcome is decided.

        Raises:
            RunStoppedError: it is.
        """
        with self._lock:
            if self._decided:
                raise RunStoppedError
            step()

    def claim_settling(self) -> bool:
        """Return whether the calling thread, and no other, settles; the executor's lock is held."""
        if self.held or self._settling:
            return False
        self._settling = True
        return True

    @property
    def queued_ms(self) -> int:
        """Milliseconds between arrival and the handler's start."""
        return int(((self.started or self.arrived) - self.arrived) * 1000)

    # --- the handler

    def begin(self) -> None:
        """The handler starts now."""
        self.started = time.monotonic()
        self.started_at = timestamp()
        request = self.request
        self.log.event("http.run.start", mode=request.mode, prefix=request.place.prefix, context=request.context)

    def interruptible(self, cancel: Callable[[], None]) -> None:
        """An async handler has begun; *cancel* interrupts it, at once if the outcome is decided."""
        self.interrupt = cancel
        if self._decided:
            cancel()

    def close(self) -> None:
        """Close the files of the request and give up the folder."""
        self.request.close()
        self.workspace.close()
        self.log.unmirror()
        # these lead to the handler's frames, and what it held there would wait for the collector of cycles
        self.error = None
        self.interrupt = _nothing

    # --- callers

    def join(self, caller: Caller) -> None:
        """Add a caller that gets this execution's answer."""
        caller.joined = True
        with self._lock:
            self._callers.append(caller)
            self._readers += 1
            self._only_streams = self._only_streams and caller.streams

    def leave(self) -> bool:
        """A stream's reader has gone; return whether nobody is left who wants the result."""
        with self._lock:
            self._readers -= 1
            return self._readers == 0 and self._only_streams

    def callers(self) -> list[Caller]:
        """Return who waits, the first caller first."""
        return list(self._callers)  # one step of the interpreter's: it needs no lock

    # --- tell

    def emit(self, name: str, data: dict[str, Any]) -> None:
        """Pass one event to the reader, if there is one; *data* names the execution."""
        if self._events is not None and not self._decided:
            self._events.put(name, data)

    def announce(self, row: dict[str, Any]) -> None:
        """Tell of an output that was just written."""
        if self._events is not None:
            self.emit("output", {"execution_id": self.request.execution_id, **row})

    def _mirror(self, record: dict[str, Any], line: bytes) -> None:
        self.emit("log", record)
        if self._trace is None:
            return
        self._trace.append(line)
        self._trace_bytes += len(line)
        if self._trace_bytes > _MIRROR_BYTES and not self._decided:
            lines, self._trace, self._trace_bytes = self._trace, [], 0
            self.workspace.append_trace(lines)

    def close_trace(self) -> None:
        """Append the log lines so far to the mirror in the run's folder; later ones are not mirrored."""
        lines, self._trace = self._trace, None
        if lines:
            self.workspace.append_trace(lines)


def _nothing() -> None:
    return

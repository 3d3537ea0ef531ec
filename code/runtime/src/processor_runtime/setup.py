"""Set-up: the author's slow start, run once and only for `real` (CONTRACT §1)."""

import inspect
import threading
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any

from .handler import SetUp
from .logs import Logger, formatted
from .loops import HandlerLoop


class SetUpState(StrEnum):
    """How far set-up is; `IDLE` has not begun and may never."""

    IDLE = "idle"
    STARTING = "starting"
    READY = "ready"
    FAILED = "failed"


class SetUpTask:
    """Runs a set-up function in a thread of its own.

    Args:
        function: The author's set-up, or ``None`` for nothing to do.
        secrets: What it gets.
        log: Where its failure is told.
        handlers: Where an async set-up runs.
        finished: Called, from that thread, when it ended either way.
    """

    def __init__(
        self,
        function: SetUp | None,
        secrets: Mapping[str, str],
        *,
        log: Logger,
        handlers: HandlerLoop,
        finished: Callable[[], None],
    ) -> None:
        self._function = function
        self._secrets = secrets
        self._log = log
        self._handlers = handlers
        self._finished = finished
        self._lock = threading.Lock()
        self.state = SetUpState.IDLE if function else SetUpState.READY
        self.resource: Any = None

    def begin(self) -> SetUpState:
        """Start it unless it began before; return the state."""
        with self._lock:
            if self.state is SetUpState.IDLE:
                self.state = SetUpState.STARTING
                threading.Thread(target=self._work, name="setup", daemon=True).start()
            return self.state

    def _work(self) -> None:
        assert self._function is not None  # noqa: S101  # `begin` starts nothing else
        try:
            resource = self._function(self._secrets)
            if inspect.isawaitable(resource):
                # on the loop that real handlers run on: a client may be bound to the loop that made it
                resource = self._handlers.wait_for(resource)
        except BaseException as exc:  # noqa: BLE001  # an author's SystemExit is a failed set-up too
            self._log.event("setup.error", level="error", exception=formatted(exc))
            self.state = SetUpState.FAILED
        else:
            self.resource = resource
            self._log.event("setup.ok")
            self.state = SetUpState.READY
        self._finished()

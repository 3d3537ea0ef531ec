"""What a handler gets: its inputs, and the one way to write, tell and stop."""

import time
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, Protocol

import orjson

from .logs import Logger
from .output_file import OutputFile
from .request import RunRequest
from .settings import Mode
from .workspace import RunStoppedError, Workspace

NO_SECRETS: Final[Mapping[str, str]] = MappingProxyType({})


class Host(Protocol):
    """What a run needs of the execution that it belongs to."""

    @property
    def stopped(self) -> bool:
        """Whether the outcome is decided."""

    def emit(self, name: str, data: dict[str, Any]) -> None:
        """Pass one event on to whoever reads along; *data* names the execution."""


class Run:
    """One execution, as its handler sees it.

    Attributes:
        execution_id: The caller's name for it.
        mode: ``mock`` or ``real``.
        inputs: The request's `inputs`, as sent.
        params: `inputs.params`, with an `Artifact` in place of each file reference.
        context: The caller's own values; never part of the result.
        secrets: The declared secrets that are set; empty in mock.
        resource: What set-up returned; ``None`` in mock or without a set-up.
        timeout_s: Seconds that the handler has.
        trace_id: 32 hexadecimal digits of a valid `traceparent`, or ``None``.
        extra: Values of the handler's own for `meta.extra`; JSON.
    """

    def __init__(
        self,
        request: RunRequest,
        *,
        secrets: Mapping[str, str],
        resource: Any,  # the author's type
        workspace: Workspace,
        log: Logger,
        host: Host,
    ) -> None:
        self.execution_id = request.execution_id
        self.mode: Mode = request.mode
        self.inputs = request.inputs
        self.params: dict[str, Any] = request.params
        self.context = request.context
        self.secrets = secrets if request.mode == "real" else NO_SECRETS
        self.resource: Any = resource if request.mode == "real" else None
        self.timeout_s = request.timeout_s
        self.trace_id = request.trace_id
        self.extra: dict[str, Any] = {}
        self._ends = time.monotonic() + request.timeout_s
        self._workspace = workspace
        self._log = log
        self._host = host

    @property
    def mock(self) -> bool:
        """Whether to answer without cost, network or secret."""
        return self.mode == "mock"

    def remaining_s(self) -> float:
        """Return the seconds until the deadline, never below 0."""
        return max(0.0, self._ends - time.monotonic())

    def check(self) -> None:
        """Stop here if nobody waits any more; call it between pieces of work.

        Raises:
            RunStoppedError: the run was cancelled or its deadline has passed.
        """
        if self._host.stopped:
            raise RunStoppedError

    # --- tell

    def progress(self, fraction: float | None, message: str = "") -> None:
        """Say how far it is: *fraction* 0..1, or ``None`` where nobody knows."""
        self.check()
        if fraction is not None:
            fraction = min(max(float(fraction), 0.0), 1.0)
        self._host.emit("progress", {"execution_id": self.execution_id, "fraction": fraction, "message": message})

    def token(self, text: str) -> None:
        """Pass on a piece of text that was just made."""
        self.check()
        if text:
            self._host.emit("token", {"execution_id": self.execution_id, "text": text})

    def log(self, event: str, *, level: str = "info", **fields: object) -> None:
        """Write one log line; *event* gets the prefix ``handler.`` where it lacks it."""
        name = event if event.startswith("handler.") else f"handler.{event}"
        self._log.event(name, level=level, **fields)

    # --- write

    def open_output(self, path: str, *, mime: str | None = None) -> OutputFile:
        """Return a binary file for one output; use it in a `with` block.

        It is hashed while it is written, and appears when the block ends
        without an exception.

        Args:
            path: Relative, under ``outputs/``, declared in `registry.yaml`.
            mime: Used where the registry declares none.

        Raises:
            ProcessorError: the path is not allowed, not declared or taken, or
                the disk refuses. The run fails even if this is caught.
            RunStoppedError: the run has settled.
        """
        self.check()
        return self._workspace.open_output(path, mime)

    def write_bytes(self, path: str, data: bytes, *, mime: str | None = None) -> None:
        """Write one whole output; see `open_output`."""
        with self.open_output(path, mime=mime) as file:
            file.write(data)

    def write_text(self, path: str, text: str, *, mime: str | None = None) -> None:
        """Write one whole output as UTF-8; see `open_output`."""
        self.write_bytes(path, text.encode(), mime=mime)

    def write_json(self, path: str, value: object, *, mime: str | None = None) -> None:
        """Write one whole output as indented JSON with sorted keys; see `open_output`."""
        data = orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE)
        self.write_bytes(path, data, mime=mime)

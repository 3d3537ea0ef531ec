"""The story of one execution: our events and the processor's lines, one JSON object each.

Not `processor_runtime.logs`, which speaks for one process and to its stderr
alone: here the secrets differ from run to run, and a person at a terminal sees
a progress line instead.
"""

import contextlib
import os
from collections.abc import Callable, Iterable
from typing import Any, Final, Self

import orjson

from processor_runtime.logs import timestamp
from processor_runtime.masking import Mask

from .base import Event

Tell = Callable[[bytes], None]

LONGEST_STRAY: Final = 8 * 1024  # bytes, as the runtime cuts them (CONTRACT §7)
_STDERR: Final = 2


def to_stderr(line: bytes) -> None:
    """Write *line* to this process's stderr, in one piece: two writes tear lines apart."""
    rest = memoryview(line + b"\n")
    while rest:
        rest = rest[os.write(_STDERR, rest) :]


class Journal:
    """Tells events as NDJSON, with fields that are on each of them and without secrets.

    Args:
        tell: Takes one line, without its line break.
        secrets: Values that become ``***``.
        fields: On each of our own events, and on stray lines.
    """

    def __init__(self, tell: Tell = to_stderr, *, secrets: Iterable[str] = (), **fields: object) -> None:
        self._tell = tell
        self._secrets = tuple(secrets)
        self._mask = Mask(self._secrets)
        self._fields = fields

    def hiding(self, *secrets: str) -> Self:
        """Return a journal that also masks *secrets*."""
        return type(self)(self._tell, secrets=(*self._secrets, *secrets), **self._fields)

    def bind(self, **fields: object) -> Self:
        """Return a journal whose own events also hold *fields*."""
        return type(self)(self._tell, secrets=self._secrets, **{**self._fields, **fields})

    def event(self, event: str, *, level: str = "info", **fields: object) -> None:
        """Tell one event of ours. *event* is dotted, such as ``adapter.process.start``."""
        self._write({"ts": timestamp(), "level": level, "event": event, **self._fields, **fields})

    def stream(self, event: Event) -> None:
        """Tell one event of a run's stream, as ``stream.<name>``; its log lines come by `forward`."""
        if event.name != "log":
            self.event(f"stream.{event.name}", **{name: value for name, value in event.data.items() if name != "event"})

    def forward(self, line: bytes, fd: int) -> None:
        """Tell one *line* that a processor wrote to its descriptor *fd*: a JSON object as it is, all else wrapped."""
        record = _record(line) if fd == _STDERR else None
        if record is None:
            message = line[:LONGEST_STRAY].decode(errors="replace").rstrip("\r")
            if message.strip():
                self.event("process.stray", level="warning", fd=fd, message=message)
        else:
            self._write(record)

    def masked(self, text: str) -> str:
        """Return *text* without any secret."""
        return self._mask.text(text)

    def _write(self, record: dict[str, Any]) -> None:
        with contextlib.suppress(OSError):  # nobody reads the story: the answer goes to stdout all the same
            self._tell(self._mask.dumps(record))


def _record(line: bytes) -> dict[str, Any] | None:
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, dict) else None

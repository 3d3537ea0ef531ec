"""NDJSON on stderr, and nothing anywhere else (CONTRACT §7).

One `os.write` per line under a lock: two tear lines between threads. Standard
`logging` (uvicorn's loggers included) and warnings come out as the same lines.
What writes to the descriptors 1 and 2 behind our back, C libraries included,
is caught by `capture.py`.
"""

import logging
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NoReturn, Self

from . import capture
from .declaration import Declaration, DeclarationError, readable_ref
from .files import write_all
from .masking import Mask

LEVELS: Final = ("debug", "info", "warning", "error")
Mirror = Callable[[dict[str, Any], bytes], None]


class _Sink:
    """Where lines go: descriptor 2 as it was when the process started."""

    def __init__(self) -> None:
        self.fd = 2
        self.mask = Mask()
        self.base: dict[str, Any] = {}
        self._lock = threading.Lock()

    def write(self, line: bytes) -> None:
        with self._lock:
            try:
                write_all(self.fd, line)
            except OSError:  # a full disk or a closed pipe behind stderr must not end a run
                return


_sink: Final = _Sink()
_second: tuple[int, str] = (0, "")
_MILLISECONDS: Final = tuple(f".{number:03d}Z" for number in range(1000))


def timestamp() -> str:
    """Return now as RFC 3339, UTC, in milliseconds: ``2026-01-31T12:00:00.123Z``."""
    global _second  # noqa: PLW0603  # the text of a second is made once; a torn update only repeats the work
    now = time.time_ns()
    seconds, rest = divmod(now, 1_000_000_000)
    known, text = _second
    if known != seconds:
        text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
        _second = (seconds, text)
    return text + _MILLISECONDS[rest // 1_000_000]


class Logger:
    """Writes one JSON object per event; `bind` returns one that adds its fields to each."""

    __slots__ = ("_fields", "_mirror")

    def __init__(self, fields: Mapping[str, Any], mirror: Mirror | None = None) -> None:
        self._fields = fields
        self._mirror = mirror

    def bind(self, **fields: object) -> "Logger":
        """Return a logger whose lines also hold *fields*."""
        return Logger({**self._fields, **fields}, self._mirror)

    def mirrored(self, mirror: Mirror, **fields: object) -> "Logger":
        """Return a logger whose lines also hold *fields*, and that hands each record and its line to *mirror* too."""
        return Logger({**self._fields, **fields}, mirror)

    def unmirror(self) -> None:
        """Hand nothing more to the mirror, and forget it."""
        self._mirror = None

    def event(self, event: str, *, level: str = "info", **fields: object) -> None:
        """Write one line. *event* is dotted, such as ``http.run.settle``."""
        ts = timestamp()
        record: dict[str, Any] = {"ts": ts, "level": level, "event": event, **_sink.base, **self._fields}
        expected = len(record) + len(fields)
        record.update(fields)
        if len(record) < expected:  # whatever a handler logs, who and when stay ours
            record.update(_sink.base, ts=ts, level=level, event=event)
            record.update(self._fields)
        line = _sink.mask.dumps(record) + b"\n"
        _sink.write(line)
        if self._mirror is not None:
            self._mirror(record, line)


def get_logger(ref: str | None = None) -> Logger:
    """Return a logger; *ref* is on each of its lines if given."""
    return Logger({"ref": ref} if ref else {})


def configure(*, registry: Path) -> None:
    """Make this process keep the contract's rule for streams. Call it before anything else is imported.

    Args:
        registry: The processor's `registry.yaml`, whose ref is on every line.

    Raises:
        SystemExit: the file cannot be used; one `http.boot.error` line says why.
    """
    if _sink.base:
        return
    _sink.fd = capture.start(_stray)
    _sink.base = {"ref": readable_ref(registry)}
    _take_over_logging()
    try:
        Declaration.load(registry)
    except DeclarationError as exc:
        boot_error("registry.yaml", str(exc))


def use_mask(mask: Mask) -> None:
    """Mask every later line with *mask*."""
    _sink.mask = mask


def boot_error(name: str, reason: str) -> NoReturn:
    """Write the one line that says why this service does not start, and end the process.

    Raises:
        SystemExit: always, with status 1.
    """
    get_logger().event("http.boot.error", level="error", name=name, reason=reason)
    raise SystemExit(1)


def _stray(fd: int, message: str) -> None:
    get_logger().event("process.stray", level="warning", fd=fd, message=message)


class _NdjsonHandler(logging.Handler):
    """Carries the standard library's records into our lines."""

    def emit(self, record: logging.LogRecord) -> None:
        fields: dict[str, object] = {"logger": record.name, "message": record.getMessage()}
        if record.exc_info:
            fields["exception"] = logging.Formatter().formatException(record.exc_info)
        get_logger().event("process.log", level=_level(record.levelno), **fields)

    @classmethod
    def only(cls) -> Self:
        return cls(level=logging.NOTSET)


def formatted(exc: BaseException) -> str:
    """Return *exc* with its traceback, for a log line."""
    return logging.Formatter().formatException((type(exc), exc, exc.__traceback__))


def _level(number: int) -> str:
    return LEVELS[min(max(number // 10 - 1, 0), 3)]


def _take_over_logging() -> None:
    root = logging.getLogger()
    root.handlers[:] = [_NdjsonHandler.only()]
    root.setLevel(min(root.level, logging.INFO) or logging.INFO)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "uvicorn.asgi"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        # each run has its own two lines; a third one per request would say the same
        logger.propagate = name != "uvicorn.access"
    logging.captureWarnings(capture=True)
    sys.excepthook = _uncaught
    threading.excepthook = lambda args: _uncaught(args.exc_type, args.exc_value, args.exc_traceback)


def _uncaught(kind: type[BaseException], value: BaseException | None, trace: TracebackType | None) -> None:
    text = logging.Formatter().formatException((kind, value or kind(), trace))
    get_logger().event("process.error", level="error", message="uncaught exception", exception=text)

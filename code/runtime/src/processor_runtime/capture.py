"""Catches what is written to the descriptors 1 and 2, whoever writes it.

Both become pipes that a thread each reads line by line; the real stderr stays
open under a private number. The pipes are made as large as the kernel allows,
because a C library that prints while it holds the interpreter's lock would
wait for a reader that waits for that lock.
"""

import array
import atexit
import contextlib
import fcntl
import os
import select
import sys
import termios
import threading
import time
from collections.abc import Callable
from typing import Final

LONGEST: Final = 8 * 1024
PIPE_BYTES: Final = 1024 * 1024
FLUSH_S: Final = 1.0
_FLUSH_STEP_S: Final = 0.002

Emit = Callable[[int, str], None]


class _Catcher:
    """Reads one descriptor's pipe and emits its lines, each cut at 8 KiB."""

    def __init__(self, fd: int, emit: Emit) -> None:
        self._fd = fd
        self._emit = emit
        self._rest = b""
        self._cut = False
        self._lock = threading.Lock()
        self._pipe, write_end = os.pipe()
        with contextlib.suppress(OSError):  # a lower limit than ours only makes the pipe smaller
            fcntl.fcntl(write_end, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        os.dup2(write_end, fd)
        os.close(write_end)
        threading.Thread(target=self._read, name=f"capture-{fd}", daemon=True).start()

    def flush(self) -> None:
        """Emit all that was written before the call, an unfinished line included."""
        ends = time.monotonic() + FLUSH_S
        waiting = array.array("i", [0])
        while time.monotonic() < ends:
            with self._lock:
                fcntl.ioctl(self._pipe, termios.FIONREAD, waiting)
                if not waiting[0]:
                    if self._rest:
                        self._line(self._rest)
                    self._rest = b""
                    return
            time.sleep(_FLUSH_STEP_S)

    def _read(self) -> None:
        waiter = select.poll()
        waiter.register(self._pipe, select.POLLIN)
        while True:
            waiter.poll()
            with self._lock:  # taken before the read: else `flush` finds an empty pipe and an unfinished line
                chunk = os.read(self._pipe, PIPE_BYTES)
                if not chunk:
                    return
                *lines, self._rest = (self._rest + chunk).split(b"\n")
                for line in lines:
                    self._line(line)
                if len(self._rest) > LONGEST:
                    self._line(self._rest)
                    self._rest, self._cut = b"", True

    def _line(self, line: bytes) -> None:
        if self._cut:  # the rest of a line whose head was emitted
            self._cut = False
            return
        # cut once more after decoding: what replaces a byte that is no letter is longer than it
        text = line[:LONGEST].decode(errors="replace").encode()[:LONGEST].decode(errors="ignore").rstrip("\r")
        if text.strip():
            self._emit(self._fd, text)


_catchers: Final[list[_Catcher]] = []


def start(emit: Emit) -> int:
    """Catch both descriptors and return a private one that still is the real stderr.

    Args:
        emit: Called from a thread with the descriptor (1 or 2) and one line.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    real = os.dup(2)
    _catchers.extend(_Catcher(fd, emit) for fd in (1, 2))
    for stream in (sys.stdout, sys.stderr):
        # a pipe is block-buffered by default: a print would show minutes later
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(line_buffering=True)
    atexit.register(flush)
    return real


def flush() -> None:
    """Emit what was caught so far; call it before the process ends."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    for catcher in _catchers:
        catcher.flush()

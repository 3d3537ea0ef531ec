"""All the ways in which a handler and its libraries write to the process's streams."""

import ctypes
import logging
import os
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Mapping
from typing import Any, Final

STREAMS: Final = {1: "stdout", 2: "stderr"}


def say(_run: Any, fd: int, text: str, end: str = "\n") -> None:
    """Print."""
    print(text, end=end, file=getattr(sys, STREAMS[fd]), flush=True)


def say_to_original(_run: Any, fd: int, text: str) -> None:
    """Print to the stream that Python began with."""
    print(text, file=getattr(sys, f"__{STREAMS[fd]}__"), flush=True)


def say_in_thread(run: Any, fd: int, text: str) -> None:
    """Print from a thread that is not the handler's."""
    thread = threading.Thread(target=say, args=(run, fd, text))
    thread.start()
    thread.join()


def warn(_run: Any, text: str) -> None:
    """Warn."""
    warnings.warn(text, stacklevel=1)


def std_log(_run: Any, level: str, text: str) -> None:
    """Log as a library does."""
    logging.getLogger("some.library").log(logging.getLevelNamesMapping()[level.upper()], "%s", text)


def std_log_handler(_run: Any, text: str) -> None:
    """Log as a library does that puts up a handler of its own."""
    logger = logging.getLogger("some.other.library")
    handler = logging.StreamHandler(sys.stdout)
    logger.addHandler(handler)
    logger.error("%s", text)
    logger.removeHandler(handler)


def std_log_traceback(_run: Any, text: str) -> None:
    """Log an exception."""
    try:
        raise ValueError(text)  # noqa: TRY301
    except ValueError:
        logging.getLogger("some.library").exception("%s", f"logged {text}")


def os_write(_run: Any, fd: int, digits: str) -> None:
    """Write bytes to the file descriptor itself."""
    os.write(fd, bytes.fromhex(digits))


def puts(_run: Any, text: str) -> None:
    """Print from C."""
    c = ctypes.CDLL(None)
    c.puts(text.encode())
    c.fflush(None)


def puts_unflushed(_run: Any, text: str) -> None:
    """Print from C and leave it in the buffer that C keeps."""
    ctypes.CDLL(None).puts(text.encode())


def perror(_run: Any, text: str) -> None:
    """Let C write to stderr."""
    ctypes.CDLL(None).perror(text.encode())


def shell(_run: Any, command: str) -> None:
    """Let a child write to the streams that it inherits."""
    subprocess.run(["/bin/sh", "-c", command], check=True)


def fork(_run: Any, text: str) -> None:
    """Let a child that is a copy of this process write."""
    child = os.fork()
    if child == 0:
        os.write(1, text.encode())
        os._exit(0)
    os.waitpid(child, 0)


def forget_thread(_run: Any, text: str) -> None:
    """Let a thread die of an exception."""

    def die() -> None:
        raise ValueError(text)

    thread = threading.Thread(target=die)
    thread.start()
    thread.join()


class Unhappy:
    """An object that cannot be deleted without trouble."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __del__(self) -> None:
        """Fail where nobody can catch it."""
        raise ValueError(self.text)


def unraisable(_run: Any, text: str) -> None:
    """Fail where nobody can catch it."""
    Unhappy(text)


def shout(word: str) -> None:
    """Write in the plainest ways, as a library does that is imported."""
    say(None, 1, f"print at {word}")
    os.write(1, f"write at {word}\n".encode())
    os.write(2, f"error at {word}\n".encode())
    puts(None, f"puts at {word}")
    warnings.warn(f"warning at {word}", stacklevel=1)


STEPS: Final[Mapping[str, Callable[..., object]]] = {
    "print": say,
    "print_original": say_to_original,
    "print_in_thread": say_in_thread,
    "warn": warn,
    "std_log": std_log,
    "std_log_handler": std_log_handler,
    "std_log_traceback": std_log_traceback,
    "os_write": os_write,
    "puts": puts,
    "puts_unflushed": puts_unflushed,
    "perror": perror,
    "shell": shell,
    "fork": fork,
    "forget_thread": forget_thread,
    "unraisable": unraisable,
}

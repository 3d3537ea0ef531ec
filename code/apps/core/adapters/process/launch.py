"""Run a command that dies with the process that started it: `python -I -S launch.py <parent's pid> <command …>`.

A caller that is killed cannot stop what it started; the kernel can. Its promise survives `exec`, so the command
replaces this program. Only the standard library is used. Where there is no `prctl` (macOS), the command just runs.
"""

import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Sequence

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def mortal(command: Sequence[str]) -> list[str]:
    """Return the command line that runs *command* for as long as this process lives."""
    return [sys.executable, "-I", "-S", __file__, str(os.getpid()), *command]


def main(arguments: list[str]) -> None:
    """Become the command in *arguments*, unless the parent is gone already."""
    parent, *command = arguments
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(parent):
        sys.exit(1)
    try:
        os.execv(command[0], command)  # noqa: S606  # no shell is what is wanted
    except OSError as exc:
        sys.exit(f"{command[0]}: {exc.strerror}")


if __name__ == "__main__":
    main(sys.argv[1:])

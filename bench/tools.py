"""Programs of the system that the driver needs, from Debian's packages of the same name."""

from __future__ import annotations

import os
import shutil
import subprocess

from .environments import SkippedError


def ensure(program: str) -> None:
    """See that *program* is there; install it where nobody is asked: as root, and in CI.

    Raises:
        SkippedError: it is not there; the message says how to get it.
    """
    if shutil.which(program):
        return
    installer = _installer()
    if installer is None:
        raise SkippedError(
            f"there is no {program}: `apt-get install {program}` as root, or your system's package of it"
        )
    for words in (("update",), ("install", "-y", program)):
        done = subprocess.run([*installer, "-qq", *words], capture_output=True, text=True, check=False)
        if done.returncode:
            raise SkippedError(f"apt-get {words[0]} ended with status {done.returncode}: {done.stderr.strip()[-300:]}")


def _installer() -> list[str] | None:
    """Return what begins a command line of apt-get, or ``None`` where it is not ours to call."""
    if not shutil.which("apt-get"):
        return None
    quiet = ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get"]
    if os.geteuid() == 0:
        return quiet
    return ["sudo", "-n", *quiet] if os.environ.get("CI") and shutil.which("sudo") else None

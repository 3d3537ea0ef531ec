"""How a test and a fixture's handler tell each other where they are: files in the folder FIXTURE_MARKS."""

import asyncio
import os
import time
from pathlib import Path

POLL_S = 0.005


def leave(name: str) -> None:
    """Leave the mark *name*."""
    (folder() / name).touch()


def add(name: str) -> None:
    """Leave the mark *name*, one byte longer each time."""
    with (folder() / name).open("ab") as mark:
        mark.write(b".")


def wait(name: str) -> str:
    """Say that *name* began, wait until a test allows it, and return its word."""
    leave(f"{name}.began")
    while not allowed(name):
        time.sleep(POLL_S)
    return word(name)


async def wait_async(name: str) -> str:
    """Do the same without holding a thread."""
    leave(f"{name}.began")
    while not allowed(name):  # noqa: ASYNC110 - another process sets it
        await asyncio.sleep(POLL_S)
    return word(name)


def spin(name: str) -> str:
    """Do the same without ever resting."""
    leave(f"{name}.began")
    while not allowed(name):
        sum(range(2000))
    return word(name)


def allowed(name: str) -> bool:
    """Whether a test has allowed *name*."""
    return (folder() / f"{name}.go").exists()


def word(name: str) -> str:
    """Return what the test said when it allowed *name*."""
    return (folder() / f"{name}.go").read_text("utf-8")


def folder() -> Path:
    """Return the folder of marks."""
    return Path(os.environ["FIXTURE_MARKS"])

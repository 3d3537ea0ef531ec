"""One process group: started, listened to, and stopped whatever happens."""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, Self

from apps.core.adapters.journal import Journal
from apps.core.adapters.lines import Lines

from .launch import mortal

STOP_GRACE_S: Final = 5.0
_DRAIN_S: Final = 1.0
_READ_BYTES: Final = 64 * 1024
_STDOUT, _STDERR = 1, 2


class Service:
    """A running process, and what it said last.

    Attributes:
        exited: Done when the process has ended; its result is the return code as `subprocess` has it.
    """

    def __init__(self, process: asyncio.subprocess.Process, journal: Journal) -> None:
        self._process = process
        self._lines = Lines(journal)
        self.exited: asyncio.Task[int] = asyncio.create_task(process.wait())
        self._drains = [
            asyncio.create_task(_drain(process.stdout, _STDOUT, self._lines)),
            asyncio.create_task(_drain(process.stderr, _STDERR, self._lines)),
        ]

    @classmethod
    async def start(cls, command: Sequence[str], *, cwd: Path, environ: Mapping[str, str], journal: Journal) -> Self:
        """Return *command*, started in a session of its own, so that a terminal's Ctrl-C is ours to handle.

        Raises:
            OSError: it cannot be started.
        """
        process = await asyncio.create_subprocess_exec(
            *mortal(command),
            cwd=cwd,
            env=dict(environ),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        return cls(process, journal)

    def tail(self) -> str:
        """Return at most the last 2 KiB that it wrote to stderr, masked."""
        return self._lines.tail()

    def ending(self) -> str:
        """Return how the process ended, in words."""
        return described(self.exited.result())

    async def drained(self) -> None:
        """Return when all that it wrote was heard; bounded, because what it started may hold its streams open."""
        await asyncio.wait(self._drains, timeout=_DRAIN_S)

    async def stop(self) -> None:
        """End the process and all that it started: SIGTERM, some seconds, SIGKILL."""
        try:
            if not self.exited.done():
                self._signal(signal.SIGTERM)
                await asyncio.wait([self.exited], timeout=STOP_GRACE_S)
        finally:
            # in any case: what the processor started itself may still be there, and outlives a SIGTERM to its parent
            self._signal(signal.SIGKILL)
            await asyncio.wait([self.exited], timeout=STOP_GRACE_S)
            await self.drained()
            for task in (*self._drains, self.exited):
                task.cancel()

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)


@asynccontextmanager
async def serving(
    command: Sequence[str], *, cwd: Path, environ: Mapping[str, str], journal: Journal
) -> AsyncIterator[Service]:
    """Give *command* as a running service; it is stopped at the end, also after an exception or a cancellation."""
    service = await Service.start(command, cwd=cwd, environ=environ, journal=journal)
    try:
        yield service
    finally:
        await service.stop()


def described(returncode: int) -> str:
    """Return in words how a process with this *returncode* ended: ``signal SIGKILL`` or ``exit status 3``."""
    if returncode >= 0:
        return f"exit status {returncode}"
    try:
        return f"signal {signal.Signals(-returncode).name}"
    except ValueError:
        return f"signal {-returncode}"


async def _drain(stream: asyncio.StreamReader | None, fd: int, lines: Lines) -> None:
    """Hand all of *stream*, which is the process's descriptor *fd*, to *lines*."""
    if stream is None:
        return
    while chunk := await stream.read(_READ_BYTES):
        lines.feed(fd, chunk)
    lines.end(fd)

"""What a container writes, read all along: nobody else empties its streams, and a full one would stop it."""

import asyncio
import struct
from asyncio import StreamReader
from dataclasses import dataclass
from typing import Final

from apps.core.adapters.lines import Lines

from .engine import Engine
from .tasks import end

_DRAIN_S: Final = 1.0
_READ_BYTES: Final = 64 * 1024
_FRAME: Final = struct.Struct(">BxxxL")  # stream, length: docs.docker.com/reference/api/engine, "Attach"


@dataclass(frozen=True, slots=True)
class Heard:
    """A container that is listened to."""

    lines: Lines
    _task: asyncio.Task[None]

    async def all(self) -> Lines:
        """Return the lines when the container's streams have ended; bounded, because it may hold them open."""
        await asyncio.wait([self._task], timeout=_DRAIN_S)
        return self.lines

    async def stop(self, *, ended: bool) -> None:
        """Listen no more; what a container that has *ended* wrote is heard before."""
        if ended:
            await self.all()
        await end(self._task)


async def hear(engine: Engine, container_id: str, lines: Lines) -> Heard:
    """Return once all that the container writes from now on is handed to *lines*.

    Raises:
        DockerError: the engine refused or failed.
    """
    attached = asyncio.Event()
    task = asyncio.create_task(_hear(engine, container_id, lines, attached))
    waiting = asyncio.create_task(attached.wait())
    try:
        await asyncio.wait({waiting, task}, return_when=asyncio.FIRST_COMPLETED)
        if not attached.is_set():
            task.result()
    except BaseException:
        await end(task)
        raise
    finally:
        await end(waiting)
    return Heard(lines, task)


async def _hear(engine: Engine, container_id: str, lines: Lines, attached: asyncio.Event) -> None:
    query = {"stream": True, "stdout": True, "stderr": True}
    async with engine.stream("POST", f"/containers/{container_id}/attach", **query) as reader:
        attached.set()
        await copy(reader, lines)


async def copy(reader: StreamReader, lines: Lines) -> None:
    """Hand all that *reader* brings to *lines*: frames, each of one stream."""
    rest = b""
    while chunk := await reader.read(_READ_BYTES):
        rest = _fed(rest + chunk, lines)
    for fd in (1, 2):
        lines.end(fd)


def _fed(data: bytes, lines: Lines) -> bytes:
    """Hand each whole frame in *data* to *lines*, and return the rest. Several come at once: waking up costs time."""
    begin = 0
    while begin + _FRAME.size <= len(data):
        fd, length = _FRAME.unpack_from(data, begin)
        body = begin + _FRAME.size
        if body + length > len(data):
            break
        lines.feed(fd, data[body : body + length])
        begin = body + length
    return data[begin:]

"""What an engine sends of a container's streams: frames, in whatever pieces they come."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Iterable

import pytest

from apps.core.adapters.journal import Journal
from apps.core.adapters.lines import Lines
from apps.core.adapters.local.logs import copy

FIRST = b'{"event":"first"}\n'
LONG = b'{"event":"' + b"long" * 1000 + b'"}\n'


def framed(*texts: bytes, fd: int = 2) -> bytes:
    """Return what the engine sends when each of *texts* is written to *fd*."""
    return b"".join(struct.pack(">BxxxL", fd, len(text)) + text for text in texts)


def told(*chunks: bytes) -> list[bytes]:
    """Return the lines that *chunks* come to, read one after another."""
    return asyncio.run(_told(chunks))


async def _told(chunks: Iterable[bytes]) -> list[bytes]:
    found: list[bytes] = []
    reader = asyncio.StreamReader()
    copying = asyncio.create_task(copy(reader, Lines(Journal(found.append))))
    for chunk in chunks:
        reader.feed_data(chunk)
        await asyncio.sleep(0)
    reader.feed_eof()
    await copying
    return found


@pytest.mark.parametrize("size", [1, 7, 8, 9, 1000, 10**6])
def test_frames_in_any_pieces_are_the_same_lines(size: int) -> None:
    """A head, a body or a line may be torn anywhere, and many frames may come at once."""
    sent = framed(FIRST, LONG[:100], LONG[100:], FIRST)

    found = told(*(sent[at : at + size] for at in range(0, len(sent), size)))

    assert found == [FIRST.rstrip(), LONG.rstrip(), FIRST.rstrip()]


def test_a_frame_that_breaks_off_is_not_told() -> None:
    """The engine went away within it; what came whole is told, also without its line break."""
    found = told(framed(FIRST, b'{"event":"second"}') + framed(FIRST)[:-3])

    assert found == [FIRST.rstrip(), b'{"event":"second"}']


def test_what_was_written_to_stdout_is_stray() -> None:
    """It is no place for lines."""
    (line,) = told(framed(FIRST, fd=1))

    assert b'"process.stray"' in line

"""The loop for authors: a warm container that is built again, and replaced, whenever the source changes."""

import asyncio
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from apps.core.adapters.journal import Journal
from apps.core.images.source import CODE
from processor_runtime.errors import ProcessorError

from .control import Found, down, up
from .owner import Owner
from .site import Site
from .tasks import to_the_end

_POLL_S: Final = 0.3
_SHARED: Final = CODE / "runtime" / "src"  # in every image, and written by the same people

Snapshot = dict[str, tuple[int, int]]


async def dev(folder: Path, site: Callable[[], Site], mode: str, journal: Journal) -> None:
    """Keep a warm container of what lies in *folder*, until cancelled; then it is removed.

    A mistake is told, and the last good container stays until the next change.

    Args:
        folder: The processor's.
        site: Reads the registry again: it is source too.
        mode: ``mock`` or ``real``.
        journal: Told of each step.
    """
    owner = Owner.here()
    found: Found | None = None
    try:
        while True:
            before = _snapshot(folder)
            try:
                found = await up(site(), mode, journal, owner)
                journal.event("adapter.local.dev", url=found.url, image_digest=found.labels.digest)
            except ProcessorError as exc:
                journal.event("adapter.local.dev", level="error", code=exc.code, details=exc.details)
            await _changed(folder, before)
            journal.event("adapter.local.changed")
    finally:
        if found is not None:
            await to_the_end(down(site().engine(), [found], journal))


async def _changed(folder: Path, before: Snapshot) -> None:
    """Return when *folder* is not as it was *before*, and no longer changing."""
    last = before
    while True:
        now = await asyncio.to_thread(_snapshot, folder)
        if now == last != before:
            return
        last = now
        await asyncio.sleep(_POLL_S)


def _snapshot(folder: Path) -> Snapshot:
    return {str(path): (status.st_mtime_ns, status.st_size) for path, status in _files(folder)}


def _files(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    for root in (folder, _SHARED):
        for path in root.rglob("*"):
            if "__pycache__" in path.parts:
                continue
            try:
                status = path.stat()
            except OSError:  # an editor's temporary file
                continue
            if stat.S_ISREG(status.st_mode):
                yield path, status

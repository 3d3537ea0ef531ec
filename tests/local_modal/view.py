"""What one container sees of a volume: what was there when it looked last, and what it wrote since.

That is Modal's promise, and no more: others see a write after `commit`, and a
container sees what others wrote after `reload`. Here nothing happens in between,
where Modal may commit in the background, so that a missing hook is found.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from grpclib import GRPCError, Status

from .ids import new_id

Stamp = tuple[int, int, int]

_OPEN_FILES = "there are open files preventing the operation"  # the SDK looks for these words


class View:
    """A container's folder, and the volume's.

    Args:
        committed: The volume's folder: what everyone may see.
        folder: What the container sees.
        pids: Returns the processes that may hold files open.
        reload_follows: Returns whether the SDK is to reload after each commit.
    """

    def __init__(
        self, committed: Path, folder: Path, pids: Callable[[], list[int]], reload_follows: Callable[[], bool]
    ) -> None:
        self._committed = committed
        self._folder = folder
        self._pids = pids
        self.reload_follows = reload_follows
        self._base: dict[Path, Stamp] = {}
        self._seen: dict[Path, Stamp] = {}
        self._pull()

    def commit(self) -> None:
        """Copy what the container changed, file by file; the last writer wins."""
        now = stamps(self._folder)
        for path in self._base.keys() - now.keys():
            (self._committed / path).unlink(missing_ok=True)
        for path, stamp in now.items():
            if self._base.get(path) != stamp:
                copy(self._folder / path, self._committed / path)
                self._seen[path] = stamp_of(self._committed / path)
        self._base = now

    def reload(self) -> None:
        """Show the container what is committed; what it has not committed itself stays.

        Raises:
            GRPCError: it holds a file open.
        """
        for pid in self._pids():
            if path := open_file(pid, self._folder):
                raise GRPCError(Status.FAILED_PRECONDITION, f"{_OPEN_FILES}: {path.relative_to(self._folder)}")
        self._pull()

    def _pull(self) -> None:
        now = stamps(self._folder)
        own = {path for path in now.keys() | self._base.keys() if now.get(path) != self._base.get(path)}
        committed = stamps(self._committed)
        for path, stamp in committed.items():
            if path not in own and self._seen.get(path) != stamp:
                copy(self._committed / path, self._folder / path)
        for path in self._base.keys() - committed.keys() - own:
            (self._folder / path).unlink(missing_ok=True)
        self._seen = committed
        kept = {path: stamp for path, stamp in self._base.items() if path in own}
        self._base = kept | {path: stamp for path, stamp in stamps(self._folder).items() if path not in own}


def stamps(folder: Path) -> dict[Path, Stamp]:
    """Return what tells versions of a file apart, for every file below *folder*, by relative path."""
    return {path.relative_to(folder): stamp_of(path) for path in folder.rglob("*") if path.is_file()}


def stamp_of(path: Path) -> Stamp:
    """Return when *path* was changed, its size and its inode."""
    stat = path.stat()
    return stat.st_mtime_ns, stat.st_size, stat.st_ino


def copy(source: Path, target: Path) -> None:
    """Copy a file under another name first, so that nobody reads half of it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.parent / f".{new_id('part')}"
    shutil.copy2(source, part)
    part.replace(target)


def open_file(pid: int, folder: Path) -> Path | None:
    """Return a file below *folder* that the process *pid* holds open, or its working directory there."""
    process = Path("/proc") / str(pid)
    try:
        links = [process / "cwd", *(process / "fd").iterdir()]
    except OSError:
        return None  # it has ended
    for link in links:
        try:
            path = link.readlink()
        except OSError:
            continue  # closed meanwhile
        if path.is_relative_to(folder):
            return path
    return None

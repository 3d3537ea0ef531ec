"""The folders of this host that a container sees, and as whom it writes there (ADR 0017)."""

import contextlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from apps.core.adapters.base import Payload
from processor_runtime.errors import Detail, StorageError
from processor_runtime.prefix import ARTIFACTS, INPUTS, Roots, expand

PROCESSOR_ID: Final = 10001  # the user of our images
_WRITE: Final = stat.S_IWUSR | stat.S_IXUSR


@dataclass(frozen=True, slots=True)
class User:
    """As whom a container runs; never root."""

    uid: int
    gid: int

    @classmethod
    def here(cls) -> Self:
        """Return the caller, whose files the outputs are then; for root, the user that our images have."""
        uid = os.geteuid()
        return cls(uid, os.getegid()) if uid else cls(PROCESSOR_ID, PROCESSOR_ID)

    def __str__(self) -> str:
        return f"{self.uid}:{self.gid}"


@dataclass(frozen=True, slots=True)
class Mount:
    """A folder of this host, *source*, at *target* in a container."""

    source: str
    target: str
    read_only: bool = False


def expanded(payload: Payload, roots: Roots) -> str:
    """Return the write prefix of *payload*, expanded.

    Raises:
        WritePrefixError: it is not below one of *roots*.
    """
    prefix = expand(payload["write_prefix"], payload["execution_id"])
    roots.check_write(prefix)
    return prefix


@contextmanager
def prefix_folder(prefix: str, roots: Roots, user: User) -> Iterator[Path]:
    """Give the folder of this host that *prefix* stands for, made if absent, and writable by *user*.

    One that was made here and is empty at the end is removed: the run was
    refused, and a refusal makes no folder.

    Raises:
        StorageError: it cannot be made.
    """
    folder = Path(os.path.realpath(roots.host(prefix)))
    made = _make(folder, user)
    if not made:
        _give(folder, user)
    try:
        yield folder
    finally:
        if made:
            with contextlib.suppress(OSError):
                folder.rmdir()


@contextmanager
def own_folder(payload: Payload, roots: Roots, user: User) -> Iterator[None]:
    """See that *user*, who sees the whole tree, finds the folder of *payload* or may make it.

    As a rule the service makes it then, and resolves its links: one question
    here, where making, giving and removing it take longer than all else that we
    do for a run in a warm container.

    Raises:
        WritePrefixError: it is not below one of *roots*.
        StorageError: it cannot be made.
    """
    prefix = expand(payload["write_prefix"], payload["execution_id"])
    roots.check_write_lexically(prefix)
    if _may_make(roots.host(prefix).rstrip("/"), user):
        yield
        return
    with prefix_folder(expanded(payload, roots), roots, user):
        yield


def _may_make(folder: str, user: User) -> bool:
    """Whether *folder*, or else the nearest one above it that is there, is *user*'s to write in."""
    while folder:
        try:
            status = os.stat(folder)  # noqa: PTH116  # a Path takes longer than the question
        except FileNotFoundError:
            folder = folder.rpartition("/")[0]
            continue
        except OSError:
            return False
        return status.st_uid == user.uid and stat.S_ISDIR(status.st_mode) and status.st_mode & _WRITE == _WRITE
    return False


def tree(artifacts_root: Path, user: User) -> list[Mount]:
    """Return the mounts of a container that sees all artifacts, the inputs read-only.

    Raises:
        StorageError: the folders cannot be made.
    """
    for name in ("inputs", "outputs"):
        _make(artifacts_root / name, user)
    return [Mount(str(artifacts_root), ARTIFACTS), *inputs(artifacts_root)]


def inputs(artifacts_root: Path) -> list[Mount]:
    """Return the mount of attached files; none where nothing was ever attached."""
    folder = artifacts_root / "inputs"
    return [Mount(str(folder), INPUTS, read_only=True)] if folder.is_dir() else []


def _make(folder: Path, user: User) -> bool:
    """Make *folder* and its parents for *user*, and return whether it was not there before."""
    try:
        if folder.is_dir():
            return False
        _make(folder.parent, user)
        folder.mkdir(exist_ok=True)
    except OSError as exc:
        raise _refused(folder, exc) from exc
    _give(folder, user)
    return True


def _give(folder: Path, user: User) -> None:
    """Make *user* the owner of *folder*, where we are root; else the caller is that user."""
    try:
        status = folder.stat()
        if os.geteuid() == 0 and (status.st_uid, status.st_gid) != (user.uid, user.gid):
            os.chown(folder, user.uid, user.gid, follow_symlinks=False)
    except OSError as exc:
        raise _refused(folder, exc) from exc


def _refused(folder: Path, exc: OSError) -> StorageError:
    return StorageError(Detail(path=str(folder), message=exc.strerror or type(exc).__name__))

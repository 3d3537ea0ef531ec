"""Files of one write prefix on this host: opened without following a link, copied whole or not at all."""

import contextlib
import hashlib
import os
import stat
import tempfile
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from io import BufferedReader
from pathlib import Path
from typing import IO, Final

from processor_runtime.prefix import Roots

_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# not blocking: opening a FIFO would wait for its writer for ever
_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CHUNK_BYTES: Final = 1024 * 1024


def open_file(prefix: str, path: str, roots: Roots) -> BufferedReader:
    """Return the regular file at the logical *path*, open for reading.

    Args:
        prefix: An expanded write prefix, with its trailing ``/``.
        path: Below *prefix*, without empty, ``.`` or ``..`` segments.
        roots: What stands for both on this host.

    Raises:
        OSError: absent, not readable, no regular file, or behind a link below
            the prefix; also where *path* is malformed. `strerror` says which.
    """
    if not path.startswith(prefix):
        raise OSError(0, "must lie under the write prefix")
    *folders, name = path[len(prefix) :].split("/")
    if any(part in {"", ".", ".."} or "\0" in part for part in (*folders, name)):
        raise OSError(0, "must not hold empty, . or .. segments")
    at = os.open(os.path.realpath(roots.host(prefix)), _DIRECTORY & ~os.O_NOFOLLOW)
    try:
        for folder in folders:
            inner = os.open(folder, _DIRECTORY, dir_fd=at)
            os.close(at)
            at = inner
        fd = os.open(name, _FILE, dir_fd=at)
    finally:
        os.close(at)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(0, "must be a regular file")
    return os.fdopen(fd, "rb")


@contextlib.contextmanager
def copied(source: BufferedReader, folder: Path) -> Iterator[tuple[Path, str]]:
    """Give a copy of *source* under a temporary name in *folder*, and the SHA-256 of what was copied.

    Rename it to keep it; otherwise it is removed. No file stays open meanwhile.

    Raises:
        OSError: *folder* is not there or not writable, or the disk is full.
    """
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".", suffix=".part", delete=False) as part:
        path = Path(part.name)
        try:
            os.fchmod(part.fileno(), 0o644)  # others may read it: a container does, as another user
            sha256 = _copy(source, part.file)
        except BaseException:
            path.unlink()
            raise
    try:
        yield path, sha256
    finally:
        path.unlink(missing_ok=True)


def _copy(source: BufferedReader, target: IO[bytes]) -> str:
    """Copy *source* to *target*, and return the SHA-256 of the very bytes that were written.

    They are hashed in a second thread while they are written: both leave Python
    meanwhile, so that a large file takes the longer of both times and not their
    sum. No more than two chunks are held.
    """
    digest = hashlib.sha256()
    with ThreadPoolExecutor(1) as hasher:
        hashed: Future[None] | None = None
        while chunk := source.read(_CHUNK_BYTES):
            if hashed is not None:
                hashed.result()
            if len(chunk) < _CHUNK_BYTES:  # the last one, mostly the only one: no thread is worth it
                hashed = None
                digest.update(chunk)
            else:
                hashed = hasher.submit(digest.update, chunk)
            target.write(chunk)
        if hashed is not None:
            hashed.result()
    target.flush()
    return digest.hexdigest()

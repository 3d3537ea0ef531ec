"""Files of one write prefix on this host: opened without following a link, copied whole or not at all."""

import contextlib
import hashlib
import os
import stat
import tempfile
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from typing import Final

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

    Rename it to keep it; otherwise it is removed.

    Raises:
        OSError: *folder* is not there or not writable, or the disk is full.
    """
    digest = hashlib.sha256()
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".", suffix=".part", delete=False) as part:
        path = Path(part.name)
        try:
            os.fchmod(part.fileno(), 0o644)  # others may read it: a container does, as another user
            while chunk := source.read(_CHUNK_BYTES):
                digest.update(chunk)
                part.write(chunk)
            part.flush()
            yield path, digest.hexdigest()
        finally:
            path.unlink(missing_ok=True)

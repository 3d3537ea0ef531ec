"""File calls below a directory that is open, never through a link: nobody can swap a link in while a run writes."""

import contextlib
import errno
import os
import stat
from typing import Final

DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW_FILE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


# not every system says it of links and for the effective user, and some containers forbid the call
_TELLS: Final = (
    os.access in os.supports_effective_ids
    and os.access in os.supports_follow_symlinks
    and os.access("/", os.F_OK, effective_ids=True, follow_symlinks=False)
)


def maybe_there(name: str, directory: int | None = None) -> bool:
    """Whether there may be anything under *name* in *directory*, a link too.

    To be asked of what is most likely absent: an exception that says so costs
    several times as much. A call that opens or looks has the last word.
    """
    return not _TELLS or os.access(name, os.F_OK, dir_fd=directory, effective_ids=True, follow_symlinks=False)


def new_file(directory: int, temporary: str) -> int:
    """Return the descriptor of a new file in *directory*."""
    try:
        return os.open(temporary, _NEW_FILE, 0o666, dir_fd=directory)
    except FileExistsError:  # left by a killed run that had our process id
        os.unlink(temporary, dir_fd=directory)
        return os.open(temporary, _NEW_FILE, 0o666, dir_fd=directory)


def write_all(fd: int, data: bytes | memoryview) -> None:
    """Write all of *data*."""
    length = len(data)
    written = os.write(fd, data)
    while written < length:
        written += os.write(fd, memoryview(data)[written:])


def read_all(fd: int, size_bytes: int) -> bytes:
    """Return the first *size_bytes* of a file, or all where it is shorter."""
    data = os.read(fd, size_bytes)
    while len(data) < size_bytes and (more := os.read(fd, size_bytes - len(data))):
        data += more
    return data


def put_file(directory: int, name: str, temporary: str, data: bytes) -> None:
    """Write the file *name* in *directory* as a whole, or leave what is there."""
    fd = new_file(directory, temporary)
    try:
        try:
            write_all(fd, data)
        finally:
            os.close(fd)
        os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary, dir_fd=directory)
        raise


def open_directory(parent: int, name: str) -> int:
    """Return the descriptor of directory *name* in *parent*."""
    try:
        return os.open(name, DIRECTORY, dir_fd=parent)
    except NotADirectoryError:
        # a link and a file in the way look alike to `open`; one is an attack, the other a disk to tidy
        if stat.S_ISLNK(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP)) from None
        raise


def make_directory(parent: int, name: str) -> int:
    """Return the descriptor of directory *name* in *parent*, which is most likely new."""
    new_directory(parent, name)
    return open_directory(parent, name)


def new_directory(parent: int, name: str) -> bool:
    """Make directory *name* in *parent*; whether it was not there: an earlier attempt or another run may make it."""
    try:
        os.mkdir(name, dir_fd=parent)
    except FileExistsError:
        return False
    return True

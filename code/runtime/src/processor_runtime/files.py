"""File calls below a directory that is open, never through a link: nobody can swap a link in while a run writes."""

import contextlib
import errno
import os
import stat
from typing import Final

DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW_FILE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def is_there(directory: int, name: str) -> bool:
    """Whether *directory* holds anything under *name*, a link too; half the price of an exception that says no."""
    return os.access(name, os.F_OK, dir_fd=directory, follow_symlinks=False)


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
    try:  # noqa: SIM105  # `suppress` is a call, on each run's way three times
        os.mkdir(name, dir_fd=parent)
    except FileExistsError:  # an earlier attempt's, or another run makes the same parents
        pass
    return open_directory(parent, name)

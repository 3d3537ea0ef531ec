"""One output while it is written: complete under its name, or not there at all (CONTRACT §4)."""

import contextlib
import hashlib
import os
from collections.abc import Callable
from typing import Self

from .errors import ProcessorError
from .files import new_file, write_all

Guard = Callable[[Callable[[], None]], None]
Translate = Callable[[OSError], ProcessorError]


class OutputFile:
    """One file being written: complete under its name, or not there at all.

    As a context manager it commits on a clean exit and discards on an exception.
    """

    def __init__(self, directory: int, name: str, temporary: str, guard: Guard, failed: Translate) -> None:
        self._directory, self._name, self._temporary = directory, name, temporary
        self._guard = guard
        self._failed = failed
        self._digest = hashlib.sha256()
        self.size_bytes = 0
        self.written: Callable[[OutputFile], None] = _nothing
        self._fd = new_file(directory, temporary)

    @property
    def sha256(self) -> str:
        """The SHA-256 of what was written, 64 hexadecimal digits."""
        return self._digest.hexdigest()

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """Write all of *data* and return its length in bytes.

        Raises:
            StorageError: the disk is full.
            ValueError: it was committed or discarded before.
        """
        if self._fd < 0:
            raise ValueError("this output has ended")
        self._guard(_nothing)  # a handler that goes on after its run has settled fills no disk
        view = data if type(data) is bytes else memoryview(data).cast("B")
        self._digest.update(view)
        self.size_bytes += len(view)
        try:
            write_all(self._fd, view)
        except OSError as exc:
            raise self._failed(exc) from exc
        return len(view)

    def commit(self) -> None:
        """Make the file appear under its name; does nothing the second time.

        Raises:
            StorageError: the file system refuses, or a directory has that name.
        """
        if self._fd < 0:
            return
        try:
            self._close()
            self._guard(self._rename)
        except OSError as exc:
            self._remove()
            raise self._failed(exc) from exc
        except BaseException:
            self._remove()
            raise

    def discard(self) -> None:
        """Remove what was written, unless it was committed."""
        if self._fd < 0:
            return
        with contextlib.suppress(OSError):
            self._close()
        self._remove()

    def _close(self) -> None:
        # first forgotten: the number may be somebody else's file by the time of a second call
        fd, self._fd = self._fd, -1
        os.close(fd)

    def _rename(self) -> None:
        os.rename(self._temporary, self._name, src_dir_fd=self._directory, dst_dir_fd=self._directory)
        self.written(self)

    def _remove(self) -> None:
        with contextlib.suppress(OSError):
            os.unlink(self._temporary, dir_fd=self._directory)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if kind is None:
            self.commit()
        else:
            self.discard()


def _nothing(*_: object) -> None:
    return

"""The folder of one run: everything is written below one open directory, and appears whole (CONTRACT §4).

Directories are opened one by one relative to their parent's descriptor and
never through a link, so nobody can swap a link in while a run writes. A file
gets a temporary name in its own directory and is renamed when it is complete.
"""

import contextlib
import errno
import fcntl
import os
import stat
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

import orjson

from .declaration import Output
from .errors import (
    Detail,
    OutputDuplicateError,
    OutputPathError,
    OutputUndeclaredError,
    ProcessorError,
    StorageError,
)
from .files import DIRECTORY, make_directory, maybe_there, new_directory, open_directory, put_file, read_all
from .output_file import Guard, OutputFile
from .prefix import Place

RECEIPT: Final = "receipt.json"
INDEX: Final = "outputs.json"
TRACE: Final = "trace.ndjson"
MAX_RECEIPT_BYTES: Final = 64 * 1024 * 1024

_EMPTY_OR_DOTS: Final = frozenset({"", ".", ".."})
_BAD_NAME: Final = frozenset({errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL})
_NO_LOCKS: Final = frozenset({errno.ENOLCK, errno.ENOTSUP, errno.EBADF, errno.EINVAL, errno.ENOSYS})


Announce = Callable[[dict[str, Any]], None]
Outputs = Sequence[tuple[Output, Callable[[str], object]]]


class RunStoppedError(BaseException):
    """The run has settled without its handler. Not an `Exception`, so that no handler swallows it by accident."""


class PrefixLockedError(Exception):
    """Another process runs something under this prefix."""


class Workspace:
    """What one execution may write below its prefix.

    Args:
        place: Where the prefix is, unless a link leads elsewhere.
        outputs: What the registry declares, each with the test of its paths.
        guard: Runs the step that makes a file visible, or refuses it because
            the run has settled.
        announce: Called with the row of each output that was just written.

    Attributes:
        rows: The outputs written so far, as the envelope shows them.
        violation: The first broken promise about outputs, even if the handler
            caught the exception.
        new: Whether the folder is open and was made for this: no attempt has left anything in it.
    """

    def __init__(self, place: Place, outputs: Outputs, guard: Guard, announce: Announce) -> None:
        self.prefix = place.prefix
        self.rows: list[dict[str, Any]] = []
        self.violation: ProcessorError | None = None
        self.new = False
        self._place = place
        self._outputs = outputs
        self._guard = guard
        self._announce = announce
        self._fd = -1
        self._above = -1
        self._missing = place.names
        self._directories: dict[str, int] = {}
        self._taken: set[str] = set()
        self._temporary = 0
        self._process = os.getpid()
        self._lock = threading.Lock()

    # --- the folder itself

    @property
    def opened(self) -> bool:
        """Whether the folder is open and locked."""
        return self._fd >= 0

    def exists(self) -> bool:
        """Whether there is anything at the prefix; opens and locks it if so.

        Raises:
            PrefixLockedError: another process holds it.
            WritePrefixError: a link leads where nothing may be written.
            StorageError: it cannot be opened.
        """
        if self._fd >= 0:
            return True
        try:
            found = self._found()
        except OSError as exc:
            raise StorageError(errno=exc.errno) from exc
        if found:
            self._lock_folder()
        return found

    def make(self) -> None:
        """Make the prefix's directories and lock it.

        Raises:
            PrefixLockedError: another process was faster.
            WritePrefixError: a link leads where nothing may be written.
            StorageError: read-only, full, or not permitted.
        """
        if self._fd < 0:
            try:
                if self._above >= 0 or not self._found():
                    self._make_rest()
            except OSError as exc:
                raise StorageError(errno=exc.errno) from exc
            self._lock_folder()

    def make_for_evidence(self) -> None:
        """Make the folder of an execution that was cancelled before it had one.

        Raises:
            PrefixLockedError: somebody else's evidence is there, or being made.
            StorageError: see `make`.
        """
        if self._fd < 0:
            self.make()
            if self.receipt() is not None:
                raise PrefixLockedError

    def close(self) -> None:
        """Give up the lock and every descriptor, and write nothing any more."""
        self._give_up()
        self._guard, self._announce = _stopped, _nothing  # they lead back to who has this: a cycle of references

    def _give_up(self) -> None:
        self.rest()
        for fd in (*self._directories.values(), self._fd):
            if fd >= 0:
                os.close(fd)
        self._directories.clear()
        self._fd = -1
        self.new = False

    def rest(self) -> None:
        """Give up what `exists` remembers of a folder that is not there: another look may be long in coming."""
        if self._above >= 0:
            os.close(self._above)
            self._above = -1

    def _found(self) -> bool:
        """Open what is there, where links lead that may be followed; return whether it was the folder."""
        try:
            return self._walk()
        except OSError as exc:
            self.rest()
            self._place = self._place.resolved()  # the rule of prefixes comes before the disk's
            if exc.errno != errno.ELOOP:
                raise
        return self._walk()

    def _walk(self) -> bool:
        """Open the folder, or the deepest directory above it that is there; return whether it was the folder."""
        if self._above < 0:
            try:
                self._above = os.open(self._place.root, DIRECTORY & ~os.O_NOFOLLOW)  # a setting: it may be a link
            except FileNotFoundError:
                return False
            self._missing = self._place.names
        while self._missing:
            name = self._missing[0]
            try:
                if len(self._missing) == 1 and not maybe_there(name, self._above):
                    return False
                found = open_directory(self._above, name)
            except FileNotFoundError:
                return False
            os.close(self._above)
            self._above, self._missing = found, self._missing[1:]
        self._fd, self._above = self._above, -1
        return True

    def _make_rest(self) -> None:
        """Make what `_walk` did not find."""
        if self._above < 0:
            os.makedirs(self._place.root, exist_ok=True)  # noqa: PTH103  # another run makes it too
            if self._walk():
                return
        while self._missing:
            self.new = new_directory(self._above, self._missing[0])
            made = open_directory(self._above, self._missing[0])
            os.close(self._above)
            self._above, self._missing = made, self._missing[1:]
        self._fd, self._above = self._above, -1

    def _lock_folder(self) -> None:
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._give_up()  # another try is made later
            raise PrefixLockedError from None
        except OSError as exc:
            if exc.errno not in _NO_LOCKS:  # without locks one id in flight twice is the orchestrator's to prevent
                self._give_up()
                raise StorageError(errno=exc.errno) from exc

    # --- what an earlier attempt left

    def receipt(self) -> dict[str, Any] | None:
        """Return the receipt at the prefix, or ``None`` where there is no readable one."""
        if self.new and not maybe_there(RECEIPT, self._fd):
            return None
        try:
            fd = os.open(RECEIPT, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=self._fd)
        except OSError:
            return None
        try:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_RECEIPT_BYTES:
                return None
            document = orjson.loads(read_all(fd, status.st_size))
        except (OSError, orjson.JSONDecodeError):
            return None
        finally:
            os.close(fd)
        # without an id it says of no run that it was
        return document if isinstance(document, dict) and "execution_id" in document else None

    def holds(self, rows: Sequence[object]) -> bool:
        """Whether the index is there, and every row of *rows* names an output that is there with its size."""
        return self._size(self.prefix + INDEX) is not None and all(
            isinstance(row, dict) and self._holds(row.get("path"), row.get("size_bytes")) for row in rows
        )

    def _holds(self, logical: object, size_bytes: object) -> bool:
        return type(size_bytes) is int and isinstance(logical, str) and self._size(logical) == size_bytes

    def _size(self, logical: str) -> int | None:
        if not logical.startswith(self.prefix):
            return None
        try:
            status = os.stat(logical[len(self.prefix) :], dir_fd=self._fd, follow_symlinks=False)
        except (OSError, ValueError):
            return None
        return status.st_size if stat.S_ISREG(status.st_mode) else None

    def forget(self) -> None:
        """Remove the receipt and index of an earlier attempt: they say nothing of this one."""
        for name in (RECEIPT, INDEX):
            try:
                os.unlink(name, dir_fd=self._fd)
            except FileNotFoundError:
                continue
            except OSError as exc:
                raise StorageError(errno=exc.errno) from exc

    # --- what this run writes

    def open_output(self, path: str, mime: str | None) -> OutputFile:
        """Return a file for one output; it appears under its name when it is committed.

        Args:
            path: Relative, under ``outputs/``, declared in the registry.
            mime: Used where the registry declares none.

        Raises:
            OutputPathError: not under ``outputs/``, or through a link.
            OutputDuplicateError: written before in this run.
            OutputUndeclaredError: not in the registry.
            StorageError: full, read-only or not permitted.
        """
        try:
            declared = self._declared(path)
            folder, _, name = path.rpartition("/")
            with self._lock:  # a handler may write from several threads
                if path in self._taken:
                    raise OutputDuplicateError(Detail(path=path, message="written before"))
                self._taken.add(path)
                file = OutputFile(self._directory(folder), name, self._temporary_name(), self._guard, self._failed)
        except (OSError, ProcessorError) as exc:
            raise self._failed(exc) from exc
        row: dict[str, Any] = {"path": self.prefix + path, "mime": declared.mime or mime or "application/octet-stream"}

        file.written = partial(self._written, row)
        return file

    def _written(self, row: dict[str, Any], file: OutputFile) -> None:
        row.update(size_bytes=file.size_bytes, sha256=file.sha256)
        self.rows.append(row)
        self._announce(row)

    def _failed(self, exc: OSError | ProcessorError) -> ProcessorError:
        error = exc if isinstance(exc, ProcessorError) else _translated(exc)
        self.violation = self.violation or error
        return error

    def write_file(self, name: str, data: bytes) -> None:
        """Write the file *name* at the top of the prefix: the index or the receipt.

        Raises:
            StorageError: full, read-only or not permitted.
        """
        try:
            put_file(self._fd, name, self._temporary_name(), data)
        except OSError as exc:
            raise _as_storage(exc) from exc

    def append_trace(self, lines: Sequence[bytes]) -> None:
        """Append *lines* to ``logs/trace.ndjson``; best-effort, so it never fails."""
        with contextlib.suppress(OSError):
            with self._lock:
                folder = self._directory("logs")
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            fd = os.open(TRACE, flags, 0o666, dir_fd=folder)
            try:
                os.write(fd, b"".join(lines))
            finally:
                os.close(fd)

    def _declared(self, path: str) -> Output:
        segments = path.split("/")
        if segments[0] != "outputs" or len(segments) == 1 or not _EMPTY_OR_DOTS.isdisjoint(segments):
            raise OutputPathError(Detail(path=path[:256], message="must lie under outputs/"))
        if "\0" in path or "\\" in path:
            raise OutputPathError(Detail(path="outputs/", message="must not hold NUL or backslash"))
        for output, matches in self._outputs:
            if matches(path):
                return output
        raise OutputUndeclaredError(Detail(path=path[:256], message="not in registry.yaml"))

    def _directory(self, folder: str) -> int:
        """Return the descriptor of *folder* below the prefix, made if absent."""
        known = self._directories.get(folder)
        if known is not None:
            return known
        parent, _, name = folder.rpartition("/")
        above = self._directory(parent) if parent else self._fd
        fd = self._directories[folder] = make_directory(above, name)
        return fd

    def _temporary_name(self) -> str:
        self._temporary += 1
        return f".{self._process}-{self._temporary}.part"


def _nothing(*_: object) -> None:
    return


def _stopped(_step: Callable[[], None]) -> None:
    raise RunStoppedError


def _translated(exc: OSError) -> ProcessorError:
    if exc.errno in _BAD_NAME:
        return OutputPathError(Detail(path="outputs/", message="not a usable name, or through a link"))
    return _as_storage(exc)


def _as_storage(exc: OSError) -> StorageError:
    return StorageError(errno=exc.errno)

"""Files that a request names: found, hashed, and handed to the handler as they were hashed.

An object in `inputs.params` with exactly the keys `$artifact` and `sha256` is a
file reference (CONTRACT §2). The descriptor that was hashed is the one that the
handler reads, so nobody can swap the file in between.
"""

import hashlib
import os
import stat
import time
from collections.abc import Callable
from typing import Any, BinaryIO, Final

from .errors import ArtifactNotUsableError, Detail, StorageError
from .prefix import Roots

_CHUNK_BYTES: Final = 1024 * 1024
_REFRESH_S: Final = 2.0
_REFRESH_PAUSE_S: Final = 0.05
_KEYS: Final = frozenset({"$artifact", "sha256"})

Replace = Callable[[dict[str, Any], str], "Artifact"]


class Artifact:
    """One file among the inputs.

    Attributes:
        name: Its last path segment.
        path: Its logical path, as sent.
        sha256: Its SHA-256, 64 hexadecimal digits, verified.
        size_bytes: Its size.
    """

    __slots__ = ("_fd", "name", "path", "sha256", "size_bytes")

    def __init__(self, fd: int, path: str, sha256: str, size_bytes: int) -> None:
        self._fd = fd
        self.path = path
        self.name = path.rpartition("/")[2]
        self.sha256 = sha256
        self.size_bytes = size_bytes

    def open(self) -> BinaryIO:
        """Return the very file that was hashed, open for reading, at its start.

        Each call returns a file with a position of its own.
        """
        file = open(f"/dev/fd/{self._fd}", "rb")  # noqa: SIM115, PTH123  # the caller closes it; no path names it
        file.seek(0)  # macOS shares the position between both
        return file

    def read_bytes(self) -> bytes:
        """Return the whole content."""
        with self.open() as file:
            return file.read()

    def close(self) -> None:
        """Close the descriptor; called when the run has ended."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __repr__(self) -> str:
        return f"Artifact({self.path!r})"


def find_references(value: Any, pointer: str, replace: Replace) -> Any:  # any JSON value
    """Return *value* with each file reference replaced by what *replace* makes of it.

    Returns *value* itself where it holds none. *pointer* is the JSON pointer of
    *value* in the request.
    """
    if type(value) is dict:
        if value.keys() == _KEYS:
            return replace(value, pointer)
        changed = {
            key: new
            for key, child in value.items()
            if type(child) in {dict, list}
            and (new := find_references(child, f"{pointer}/{_escaped(key)}", replace)) is not child
        }
        return {**value, **changed} if changed else value
    if type(value) is list:
        items = [find_references(child, f"{pointer}/{index}", replace) for index, child in enumerate(value)]
        return value if all(new is old for new, old in zip(items, value, strict=True)) else items
    return value


def _escaped(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")


def open_reference(
    reference: dict[str, Any], pointer: str, roots: Roots, refresh: Callable[[], None] | None = None
) -> Artifact:
    """Return the file that *reference* names, hashed and open.

    Args:
        reference: ``{"$artifact": "/artifacts/inputs/…", "sha256": "…"}``.
        pointer: Where it stands in the request, for the error's detail.
        roots: What may be read.
        refresh: Makes files visible that another machine wrote; called when
            the file is not there, and for a moment again while it cannot.

    Raises:
        ArtifactNotUsableError: outside the roots, absent, not a regular file,
            not readable, or of another hash.
        StorageError: absent, and *refresh* cannot look for it now.
    """
    logical, expected = reference["$artifact"], reference["sha256"]
    if not isinstance(logical, str) or not isinstance(expected, str) or not _is_sha256(expected):
        raise _refused(pointer, "needs an absolute path and 64 hexadecimal digits")
    try:
        fd = _open(logical, pointer, roots)
    except FileNotFoundError:
        if refresh is None:
            raise _refused(pointer, "no such file") from None
        _patiently(refresh)
        try:
            fd = _open(logical, pointer, roots)
        except OSError:
            raise _refused(pointer, "no such file") from None
    except (OSError, ValueError):
        raise _refused(pointer, "cannot be read") from None
    try:
        size_bytes = os.fstat(fd).st_size
        if _sha256_of(fd) != expected:
            raise _refused(pointer, "has another sha256")
    except OSError:
        os.close(fd)
        raise _refused(pointer, "cannot be read") from None
    except ArtifactNotUsableError:
        os.close(fd)
        raise
    return Artifact(fd, logical, expected, size_bytes)


def _patiently(refresh: Callable[[], None]) -> None:
    """Refresh, for a moment again while it is not possible: another run may have a file open for a write."""
    until = time.monotonic() + _REFRESH_S
    while True:
        try:
            refresh()
        except StorageError:
            if time.monotonic() > until:
                raise
            time.sleep(_REFRESH_PAUSE_S)
        else:
            return


def _open(logical: str, pointer: str, roots: Roots) -> int:
    segments = logical.split("/")[1:]
    if not logical.startswith("/") or any(segment in {"", ".", ".."} for segment in segments):
        raise _refused(pointer, "must be an absolute path without empty, . or .. segments")
    resolved = os.path.realpath(roots.host(logical), strict=True)
    allowed = (os.path.realpath(roots.host(root)) for root in roots.read)
    if not any(resolved.startswith(root.rstrip("/") + "/") for root in allowed):
        raise _refused(pointer, "must lie below " + " or ".join(roots.read))
    # not blocking: opening a FIFO would wait for its writer for ever
    fd = os.open(resolved, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise _refused(pointer, "must be a regular file")
    return fd


def _sha256_of(fd: int) -> str:
    digest = hashlib.sha256()
    offset = 0
    while chunk := os.pread(fd, _CHUNK_BYTES, offset):
        digest.update(chunk)
        offset += len(chunk)
    return digest.hexdigest()


def _is_sha256(text: str) -> bool:
    return len(text) == 64 and not text.strip("0123456789abcdef")  # noqa: PLR2004  # 32 bytes in hexadecimal


def _refused(pointer: str, rule: str) -> ArtifactNotUsableError:
    return ArtifactNotUsableError(Detail(path=pointer[:256], message=rule))

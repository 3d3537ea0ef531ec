"""Attachments: local files stored under `/artifacts/inputs` by their content, and named in `inputs.params`.

`{"$attach": "scan"}` anywhere in the params stands for the file attached as
`scan`. What the processor sees is the reference of CONTRACT §2 to the stored copy.
"""

import contextlib
import hashlib
import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from io import BufferedReader
from pathlib import Path
from typing import Any, Final

from processor_runtime.errors import ArtifactNotUsableError, Detail, StorageError
from processor_runtime.prefix import INPUTS, Roots

from .tree import copied

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_KEY: Final = "$attach"

Reference = dict[str, str]


class AttachmentError(ValueError):
    """Attachments and params do not fit together; the message says which and why."""


def check_attachments(params: Any, names: Iterable[str]) -> None:  # any JSON value
    """Refuse *names* that are malformed or not used in *params*, and uses of names that are not there.

    Raises:
        AttachmentError: the first of them.
    """
    given = set(names)
    for name in sorted(given):
        if not _NAME.fullmatch(name):
            raise AttachmentError(f"--attach: a name has letters, digits, dots, dashes and underscores, not {name!r}")
    used = set(_uses(params))
    if missing := sorted(used - given):
        raise AttachmentError(
            f'--attach: the params use {{"$attach": "{missing[0]}"}}, and nothing is attached by that name'
        )
    if idle := sorted(given - used):
        raise AttachmentError(f'--attach: {idle[0]} is attached, and the params do not use {{"$attach": "{idle[0]}"}}')


def attached(params: Any, references: Mapping[str, Reference]) -> Any:  # any JSON value
    """Return a copy of *params* in which each use of an attachment is its reference."""
    if (name := _used(params)) is not None:
        return dict(references[name])
    if isinstance(params, dict):
        return {key: attached(child, references) for key, child in params.items()}
    if isinstance(params, list):
        return [attached(child, references) for child in params]
    return params


def store(attachments: Mapping[str, Path], roots: Roots) -> dict[str, Reference]:
    """Return a reference for each of *attachments*, stored as ``/artifacts/inputs/<sha256>/<name>``.

    A file that is there already is not copied again. A new one appears whole.

    Raises:
        ArtifactNotUsableError: absent, not readable or not a regular file.
        StorageError: the artifacts folder cannot be written.
    """
    return {name: _store(name, path, roots) for name, path in attachments.items()}


def _store(name: str, path: Path, roots: Roots) -> Reference:
    with _opened(name, path) as source:
        try:
            sha256 = _sha256(source)
            logical = f"{INPUTS}/{sha256}/{name}"
            target = Path(roots.host(logical))
            if not _holds(target, sha256):
                source.seek(0)
                sha256 = _copy(source, target.parents[1], name)
                logical = f"{INPUTS}/{sha256}/{name}"
        except OSError as exc:
            raise StorageError(Detail(path=INPUTS, message=exc.strerror or type(exc).__name__)) from exc
    return {"$artifact": logical, "sha256": sha256}


@contextlib.contextmanager
def _opened(name: str, path: Path) -> Iterator[BufferedReader]:
    try:
        # not blocking: opening a FIFO would wait for its writer for ever
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as exc:
        raise _refused(name, "no such file" if isinstance(exc, FileNotFoundError) else "cannot be read") from exc
    except ValueError as exc:  # a NUL in the path
        raise _refused(name, "no such file") from exc
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise _refused(name, "must be a regular file")
    with os.fdopen(fd, "rb") as file:
        yield file


def _copy(source: BufferedReader, inputs: Path, name: str) -> str:
    """Copy *source* below *inputs* and return the hash of what was copied, whatever was read before."""
    _open_to_all(inputs)
    with copied(source, inputs) as (part, sha256):
        target = inputs / sha256 / name
        _open_to_all(target.parent)
        part.rename(target)
    return sha256


def _open_to_all(folder: Path) -> None:
    """Make *folder* if absent; whatever this process's umask, others may look into it: a container does, as another."""
    if not folder.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o755)


def _holds(target: Path, sha256: str) -> bool:
    try:
        with target.open("rb") as file:
            return not target.is_symlink() and _sha256(file) == sha256
    except OSError:
        return False


def _sha256(file: BufferedReader) -> str:
    return hashlib.file_digest(file, "sha256").hexdigest()


def _uses(value: Any) -> Iterator[str]:  # any JSON value
    """Yield the name of each attachment that *value* uses."""
    if (name := _used(value)) is not None:
        yield name
    elif isinstance(value, dict | list):
        for child in value.values() if isinstance(value, dict) else value:
            yield from _uses(child)


def _used(value: Any) -> str | None:  # any JSON value
    """Return the name that *value* uses, if it is exactly ``{"$attach": name}``."""
    if isinstance(value, dict) and value.keys() == {_KEY} and isinstance(value[_KEY], str):
        return str(value[_KEY])
    return None


def _refused(name: str, rule: str) -> ArtifactNotUsableError:
    return ArtifactNotUsableError(Detail(path=f"--attach {name}", message=rule))

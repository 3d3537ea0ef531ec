"""Verified outputs, copied to where the caller wants them."""

from io import BufferedReader
from pathlib import Path
from typing import Any

from processor_runtime.envelopes import Envelope
from processor_runtime.errors import Detail, StorageError
from processor_runtime.prefix import Roots

from .tree import copied, open_file
from .verify import ArtifactMismatchError


def save(envelope: Envelope, prefix: str, roots: Roots, folder: Path) -> None:
    """Copy each output of *envelope* into *folder*, under its path below ``outputs/``.

    Hashes are checked on what is copied. A file of the same name is replaced,
    as `cp` does, in one step; a link of that name is replaced too, not followed.

    Raises:
        ArtifactMismatchError: an output changed since it was verified.
        StorageError: *folder* cannot be written; the detail names the file.
    """
    for row in envelope["outputs"]:
        with _source(row, prefix, roots) as source:
            _copy(source, folder / row["path"].removeprefix(f"{prefix}outputs/"), row)


def _source(row: dict[str, Any], prefix: str, roots: Roots) -> BufferedReader:
    try:
        return open_file(prefix, row["path"], roots)
    except OSError as exc:
        raise ArtifactMismatchError(Detail(path=row["path"], message=exc.strerror or type(exc).__name__)) from exc


def _copy(source: BufferedReader, target: Path, row: dict[str, Any]) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with copied(source, target.parent) as (part, sha256):
            if sha256 != row["sha256"]:
                raise ArtifactMismatchError(Detail(path=row["path"], message="changed while it was copied"))
            part.replace(target)
    except OSError as exc:
        detail = Detail(path=f"--save-dir {target.name}", message=exc.strerror or type(exc).__name__)
        raise StorageError(detail) from exc

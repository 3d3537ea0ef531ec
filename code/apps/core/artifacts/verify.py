"""Whether the files are what the envelope says, judged from this host and not by the processor's word."""

import hashlib
from collections.abc import Callable
from io import BufferedReader
from typing import Any, Final

from processor_runtime import strict_json
from processor_runtime.envelopes import Envelope
from processor_runtime.errors import Detail, ErrorCode, ProcessorError
from processor_runtime.prefix import Roots

from .tree import open_file

# reads an output, of that logical path, to its end, and returns its SHA-256
Read = Callable[[BufferedReader, str], str]

_MAX_INDEX_BYTES: Final = 64 * 1024 * 1024


class ArtifactMismatchError(ProcessorError):
    """A file that the envelope names is missing here, or has another size or hash."""

    code = ErrorCode.ARTIFACT_MISMATCH


def sha256(file: BufferedReader, _: str) -> str:
    """Return the SHA-256 of the rest of *file*."""
    return hashlib.file_digest(file, "sha256").hexdigest()


def verify(envelope: Envelope, prefix: str, roots: Roots, read: Read = sha256) -> None:
    """Refuse a success *envelope* whose outputs or index are not what lies on this host.

    Args:
        envelope: A success, by the contract's schema.
        prefix: The expanded write prefix that was asked for.
        roots: What stands for it on this host.
        read: Reads each output, once; what it raises ends this.

    Raises:
        ArtifactMismatchError: the details name every path and what is wrong with it, at most 20.
    """
    problems = [_output(row, prefix, roots, read) for row in envelope["outputs"]]
    problems.append(_index(envelope, prefix, roots))
    if found := [problem for problem in problems if problem is not None]:
        raise ArtifactMismatchError(*found)


def _output(row: dict[str, Any], prefix: str, roots: Roots, read: Read) -> Detail | None:
    path: str = row["path"]
    if not path.startswith(f"{prefix}outputs/"):
        return Detail(path=path, message="must lie under outputs/ of the write prefix")
    try:
        with open_file(prefix, path, roots) as file:
            found = read(file, path)
            size_bytes = file.tell()
    except OSError as exc:
        return Detail(path=path, message=exc.strerror or type(exc).__name__)
    if size_bytes != row["size_bytes"]:
        return Detail(path=path, message=f"has {size_bytes} bytes, and the envelope says {row['size_bytes']}")
    if found != row["sha256"]:
        return Detail(path=path, message="has another sha256 than the envelope says")
    return None


def _index(envelope: Envelope, prefix: str, roots: Roots) -> Detail | None:
    path: str = envelope["index_path"]
    if path != f"{prefix}outputs.json":
        return Detail(path=path, message=f"must be {prefix}outputs.json")
    try:
        with open_file(prefix, path, roots) as file:
            index = strict_json.loads(file.read(_MAX_INDEX_BYTES))
    except OSError as exc:
        return Detail(path=path, message=exc.strerror or type(exc).__name__)
    except strict_json.JsonError:
        return Detail(path=path, message="must be I-JSON")
    if not isinstance(index, dict) or any(index.get(key) != envelope[key] for key in ("execution_id", "outputs")):
        return Detail(path=path, message="must hold the envelope's execution_id and outputs")
    return None

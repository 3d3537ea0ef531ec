"""Outputs, copied to where the caller wants them, and verified by the same read."""

from contextlib import ExitStack
from io import BufferedReader
from pathlib import Path

from processor_runtime.envelopes import Envelope
from processor_runtime.errors import Detail, StorageError
from processor_runtime.prefix import Roots

from .tree import copied
from .verify import verify


def save(envelope: Envelope, prefix: str, roots: Roots, folder: Path) -> None:
    """Verify *envelope*, and copy each of its outputs into *folder*, under its path below ``outputs/``.

    The hashes are those of what was copied, so that nothing is read twice and
    what is saved is what the envelope says. The copies get their names when all
    are right, or none does. A file of the same name is replaced, as `cp` does,
    in one step; a link of that name is replaced too, not followed.

    Args:
        envelope: A success, by the contract's schema.
        prefix: The expanded write prefix that was asked for.
        roots: What stands for it on this host.
        folder: Where the outputs go; made if it is absent.

    Raises:
        ArtifactMismatchError: as `verify`; nothing is saved.
        StorageError: *folder* cannot be written; the detail names the file.
    """
    parts: dict[Path, Path] = {}
    with ExitStack() as kept:

        def copy(source: BufferedReader, path: str) -> str:
            target = folder / path.removeprefix(f"{prefix}outputs/")
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
                parts[target], sha256 = kept.enter_context(copied(source, target.parent))
            except OSError as exc:
                raise _refused(target, exc) from exc
            return sha256

        verify(envelope, prefix, roots, copy)
        for target, part in parts.items():
            try:
                part.replace(target)
            except OSError as exc:
                raise _refused(target, exc) from exc


def _refused(target: Path, exc: OSError) -> StorageError:
    return StorageError(Detail(path=f"--save-dir {target.name}", message=exc.strerror or type(exc).__name__))

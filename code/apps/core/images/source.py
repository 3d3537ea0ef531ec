"""What a processor's source *is*: one digest, for the image that is built from it and for a process that runs it."""

import hashlib
from pathlib import Path
from typing import Final

from apps.core.registry import Registration
from processor_runtime import canonical

CODE: Final = Path(__file__).resolve().parents[3]
RUNTIME: Final = CODE / "runtime" / "src"
# Of what every image holds, all but the package itself: what its wheel is made of, and by what
_SHARED: Final = ("runtime/pyproject.toml", "runtime/README.md", "requirements/build.txt")


def source_digest(registration: Registration, code: Path = CODE) -> str:
    """Return ``sha256:<hex>``, the same for the same behaviour on every machine.

    It is the SHA-256 of one line for each part, sorted, each as `sha256sum`
    writes it (``<hex>  <name>``): every file of `app/`, the Dockerfile and
    `requirements.txt`, named from the processor's folder; `registry.yaml`
    without `image`, as the SHA-256 of its JCS form, so that neither a pin nor a
    comment counts; and every file of the runtime's package, its
    `pyproject.toml` and `README.md`, and the lock of what builds it, named from
    *code*. Compiled Python (`__pycache__`) is no source.
    """
    folder = registration.folder
    own = [*_files(folder / "app"), *_existing(folder / "requirements.txt", registration.build.dockerfile)]
    shared = [*_files(code / "runtime/src/processor_runtime"), *_existing(*(code / name for name in _SHARED))]
    lines = [f"{canonical.sha256(registration.declaration.document)}  registry.yaml"]
    lines += [*_lines(own, folder), *_lines(shared, code)]
    return "sha256:" + hashlib.sha256("".join(f"{line}\n" for line in sorted(lines)).encode()).hexdigest()


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts]


def _existing(*paths: Path) -> list[Path]:
    return [path for path in paths if path.is_file()]


def _lines(paths: list[Path], root: Path) -> list[str]:
    return [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(root).as_posix()}" for path in paths]

"""What a processor's source tree *is*: the digest that stands for an image's where there is none."""

import hashlib
from pathlib import Path
from typing import Final

from apps.core.registry import Registration
from processor_runtime import canonical

RUNTIME: Final = Path(__file__).resolve().parents[4] / "runtime" / "src"


def source_digest(registration: Registration, runtime: Path = RUNTIME) -> str:
    """Return ``sha256:<hex>``, the same for the same behaviour on every machine.

    It is the SHA-256 of one line for each part, sorted, each as `sha256sum`
    writes it (``<hex>  <name>``): every file of `app/`, named from the
    processor's folder; `requirements.txt`; `registry.yaml` without `image`,
    as the SHA-256 of its JCS form, so that neither a pin nor a comment counts;
    and every file of the runtime, named from *runtime*. Compiled Python
    (`__pycache__`) is no source.
    """
    folder = registration.folder
    lines = [f"{canonical.sha256(registration.declaration.document)}  registry.yaml"]
    lines += _lines([*_files(folder / "app"), *folder.glob("requirements.txt")], folder)
    lines += _lines(_files(runtime / "processor_runtime"), runtime)
    return "sha256:" + hashlib.sha256("".join(f"{line}\n" for line in sorted(lines)).encode()).hexdigest()


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts]


def _lines(paths: list[Path], root: Path) -> list[str]:
    return [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(root).as_posix()}" for path in paths]

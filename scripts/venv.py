"""Build `.venv` from the hashed locks: `python -m scripts.venv base|dev`, run by `make` with any Python from 3.11 on.

`base` is what commands run on, `dev` adds what tests and checks need. pip installs one package, uv, from a hashed
lock; uv installs the rest, and both runtime and tools stand in one environment. Only the standard library is used.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
import venv
from pathlib import Path

from scripts.package_index import uv_environment

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
REQUIREMENTS = ROOT / "code" / "requirements"
LAYERS = {"base": ("base.txt",), "dev": ("base.txt", "dev.txt")}
OURS = {"base": ("runtime",), "dev": ("runtime", "conformance")}  # in place, so that an edit needs no installation


def stamp(layer: str) -> Path:
    """Return the file whose age tells `make` whether *layer* is current."""
    return VENV / f".{layer}-is-current"


def build(layer: str) -> None:
    """Make `.venv` hold exactly what *layer*'s locks name, and our own wheels in place.

    Raises:
        subprocess.CalledProcessError: pip or uv failed; it has said why on stderr.
    """
    if layer == "base" and stamp("dev").exists():
        layer = "dev"  # never take the tools away again
    python, uv = VENV / "bin" / "python", VENV / "bin" / "uv"
    environment = os.environ | uv_environment(os.environ)
    if not (_works(python) and _works(uv)):
        venv.create(VENV, clear=True, with_pip=True)
        _run(python, "-m", "pip", "install", "-qq", "--require-hashes", "-r", REQUIREMENTS / "uv.txt")
    _run(
        *(uv, "pip", "sync", "--quiet", "--python", python, "--require-hashes"),
        *(REQUIREMENTS / name for name in LAYERS[layer]),
        environment=environment,
    )
    for package in OURS[layer]:
        _run(
            *(uv, "pip", "install", "--quiet", "--python", python, "--no-deps"),
            *("--build-constraints", REQUIREMENTS / "build.txt", "--editable", ROOT / "code" / package),
            environment=environment,
        )
    for name in LAYERS:
        if name in {"base", layer}:
            stamp(name).touch()


def _works(program: Path) -> bool:
    # An environment breaks when the Python it was made from is gone: its links then point nowhere
    return program.exists() and subprocess.run([program, "--version"], capture_output=True, check=False).returncode == 0


def _run(*command: str | Path, environment: dict[str, str] | None = None) -> None:
    subprocess.run([str(part) for part in command], check=True, env=environment)


def main(arguments: list[str]) -> int:
    """Build the layer that *arguments* name; 2 when they name none."""
    if len(arguments) != 1 or arguments[0] not in LAYERS:
        print(f"usage: python -m scripts.venv {'|'.join(LAYERS)}", file=sys.stderr)
        return 2
    layer = arguments[0]
    began = time.monotonic()
    print(f".venv: installing what {layer} needs, from hashed locks …", file=sys.stderr, flush=True)
    try:
        build(layer)
    except subprocess.CalledProcessError as error:
        print(f".venv: {' '.join(error.cmd[:4])} … ended with status {error.returncode}", file=sys.stderr)
        return 1
    print(f".venv: ready after {time.monotonic() - began:.1f} s", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

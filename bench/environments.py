"""A virtual environment for each server, built from its hashed lock and kept by what it was built from."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from scripts.package_index import uv_environment

from .paths import CODE, PEERS, VAR

_UV = Path(sys.executable).with_name("uv")
_BUILD_S = 900.0
_SHOWN_LINES = 4
_KEPT_S = 3600.0  # another driver may still be measuring an older one


# all that is measured is of one source, also when that changes meanwhile; what does not install is not tried again
_prepared: dict[Environment, Path] = {}
_failed: dict[Environment, str] = {}


class SkippedError(Exception):
    """Something cannot be measured on this machine; the message says why, in one line."""


@dataclass(frozen=True, slots=True)
class Environment:
    """What a server is installed from.

    Attributes:
        name: As its folder below `bench/peers` is called, or ``ours``.
        lock: The hashed requirements.
        packages: Folders of our own packages, installed as wheels after the lock.
    """

    name: str
    lock: Path
    packages: tuple[Path, ...] = ()

    @property
    def key(self) -> str:
        """What the environment is built from, in 16 hexadecimal digits."""
        digest = hashlib.sha256(sys.version.encode())
        for path in [self.lock, *_sources(self.packages)]:
            digest.update(path.name.encode() + b"\0" + path.read_bytes())
        return digest.hexdigest()[:16]

    @property
    def folder(self) -> Path:
        """Where it lies, built or not."""
        return VAR / "environments" / f"{self.name}-{self.key}"


def ours() -> Environment:
    """Return the environment of a processor without dependencies of its own, as its image has it."""
    return Environment("ours", CODE / "apps/core/scaffold/template/requirements.txt", (CODE / "runtime",))


def peer(name: str) -> Environment:
    """Return the environment of the peer *name*."""
    return Environment(name, PEERS / name / "requirements.txt")


def prepare(environment: Environment) -> Path:
    """Return the folder of *environment*, built unless it is there.

    Raises:
        SkippedError: it does not install here; the message holds the installer's last lines.
    """
    if environment in _failed:
        raise SkippedError(_failed[environment])
    if environment not in _prepared:
        folder = environment.folder
        try:
            if not folder.exists():
                _build(environment, folder)
        except SkippedError as exc:
            _failed[environment] = str(exc)
            raise
        _prepared[environment] = folder
    return _prepared[environment]


def _build(environment: Environment, folder: Path) -> None:
    for old in [*folder.parent.glob(f"{environment.name}-*"), *folder.parent.glob(f".{environment.name}-*.part")]:
        if old.stat().st_mtime < time.time() - _KEPT_S:
            shutil.rmtree(old)
    part = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    python = part / "bin" / "python"
    # relocatable, because it is renamed; compiled, because a first start is no start as users see it
    _uv("venv", "--quiet", "--relocatable", "--no-project", "--python", sys.executable, str(part))
    _uv("pip", "sync", "--require-hashes", "--compile-bytecode", "--python", str(python), str(environment.lock))
    for package in environment.packages:
        constraints = str(CODE / "requirements" / "build.txt")
        _uv(
            *("pip", "install", "--no-deps", "--compile-bytecode", "--reinstall", "--no-cache"),
            *("--build-constraints", constraints, "--python", str(python), str(package)),
        )
    try:
        part.rename(folder)
    except OSError:  # another driver was quicker
        shutil.rmtree(part)


def versions(environment: Environment, names: Iterable[str]) -> dict[str, str]:
    """Return which versions of *names* are installed in *environment*."""
    script = "import sys, importlib.metadata as m; print(*(m.version(n) for n in sys.argv[1:]), sep='\\n')"
    wanted = list(names)
    python = prepare(environment) / "bin" / "python"
    done = subprocess.run([python, "-c", script, *wanted], capture_output=True, text=True, check=True)
    return dict(zip(wanted, done.stdout.split(), strict=True))


def _sources(packages: Iterable[Path]) -> list[Path]:
    """Return the files that decide what *packages* install."""
    return [
        path
        for package in packages
        for path in sorted([package / "pyproject.toml", *package.glob("src/**/*.py"), *package.glob("src/**/*.json")])
    ]


def _uv(*arguments: str) -> None:
    environ = os.environ | uv_environment(os.environ) | {"NO_COLOR": "1"}
    try:
        done = subprocess.run(
            [_UV, *arguments], env=environ, capture_output=True, text=True, check=False, timeout=_BUILD_S
        )
    except subprocess.TimeoutExpired:
        raise SkippedError(f"uv {arguments[0]}: not ready after {_BUILD_S:.0f} s") from None
    if done.returncode:
        said = " ".join(done.stderr.split("\n")[-_SHOWN_LINES:])
        raise SkippedError(f"uv {arguments[0]} ended with status {done.returncode}: {' '.join(said.split())}")

"""Compile the hashed locks (`make lock`), or say which are stale without a network (`--check`, part of `make check`).

A lock names the SHA-256 of what it was compiled from, so that a changed `.in` file is seen offline; beyond that
each lock must pin every requirement it was asked for, hash every pin, and record no address of a package index.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
COOLDOWN = "7 days"  # long enough for a hijacked release to be found out
_HEADER = re.compile(r"^# Compiled by `make lock`, inputs-sha256: ([0-9a-f]{64})$", re.MULTILINE)
_PIN = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)==(\S+)")


@dataclass(frozen=True, slots=True)
class Lock:
    """One compiled file and what it is compiled from."""

    output: Path
    inputs: tuple[Path, ...]
    constraints: tuple[Path, ...] = ()
    fingerprinted: bool = True  # a lock that `scaffold_processor` wrote has no fingerprint before its first `make lock`


def locks(code: Path = ROOT / "code") -> list[Lock]:
    """Return every lock of the repository, those that others are constrained by first."""
    here = code / "requirements"
    runtime = code / "runtime" / "pyproject.toml"
    base = here / "base.txt"
    core = code / "apps" / "core"
    processors = sorted((*core.glob("processors/*/requirements.in"), *core.glob("scaffold/template*/requirements.in")))
    return [
        Lock(base, (here / "base.in", runtime)),
        Lock(here / "dev.txt", (here / "dev.in",), (base,)),
        Lock(here / "build.txt", (here / "build.in",)),
        Lock(here / "uv.txt", (here / "uv.in",), (base,)),
        *(Lock(path.with_suffix(".txt"), (path, runtime), fingerprinted=False) for path in processors),
    ]


def requirements(path: Path) -> list[str]:
    """Return the requirement lines of *path*: a requirements file without comments and options, or a pyproject.toml."""
    if path.suffix == ".toml":
        project = tomllib.loads(path.read_text(encoding="utf-8"))["project"]
        return list(project["dependencies"])
    lines = (re.sub(r"(^|\s)#.*", "", line).strip() for line in path.read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line and not line.startswith("-")]


def pins(text: str) -> dict[str, list[str]]:
    """Return the versions that a lock's *text* pins, by canonical name; several where markers choose one."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        if match := _PIN.match(line):
            found.setdefault(canonicalize_name(match[1]), []).append(match[2])
    return found


def fingerprint(lock: Lock) -> str:
    """Return the SHA-256 of all that decides what *lock* holds: requirement lines and the pins it is constrained by."""
    parts = [line for path in lock.inputs for line in sorted(requirements(path))]
    for path in lock.constraints:
        parts += [f"{name}=={','.join(versions)}" for name, versions in sorted(pins(path.read_text("utf-8")).items())]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def problems(lock: Lock) -> list[str]:
    """Return what is wrong with *lock* as it lies on disk, in sentences; nothing when it is current."""
    if not lock.output.exists():
        return ["does not exist"]
    text = lock.output.read_text(encoding="utf-8")
    header = _HEADER.search(text)
    found = []
    if header and header[1] != fingerprint(lock):
        found.append("was compiled from other inputs")
    if not header and lock.fingerprinted:
        found.append("does not say what it was compiled from")
    pinned = pins(text)
    for line in (line for path in lock.inputs for line in requirements(path)):
        wanted = Requirement(line)
        versions = pinned.get(canonicalize_name(wanted.name), [])
        if not any(wanted.specifier.contains(version, prereleases=True) for version in versions):
            found.append(f"does not pin {line}")
    uncommented = re.sub(r"(?m)(^|\s)#.*$", "", text)
    if "://" in uncommented or re.search(r"(?m)^\s*--(extra-)?index-url|^\s*--find-links", uncommented):
        found.append("records an address")
    entries = re.split(r"(?m)^(?=[A-Za-z0-9])", uncommented)
    found += [
        f"has no hash for {entry.split()[0]}" for entry in entries if _PIN.match(entry) and "--hash=" not in entry
    ]
    return found


def compile_lock(lock: Lock, *, upgrade: bool) -> None:
    """Write *lock*, keeping the versions it has unless an input or *upgrade* asks for others.

    Raises:
        subprocess.CalledProcessError: uv found no answer; it has said why on stderr.
    """
    command = [
        *(str(Path(sys.executable).with_name("uv")), "pip", "compile", "--quiet"),
        *("--universal", "--python-version", "3.11", "--generate-hashes", "--no-emit-index-url", "--no-header"),
        *("--exclude-newer", COOLDOWN),
        *(["--upgrade"] if upgrade else []),
        *("--output-file", _relative(lock.output)),
        *(_relative(path) for path in lock.inputs),
    ]
    subprocess.run(command, check=True, cwd=ROOT / "code")
    body = _HEADER.sub("", lock.output.read_text(encoding="utf-8")).lstrip("\n")
    header = f"# Compiled by `make lock`, inputs-sha256: {fingerprint(lock)}\n"
    lock.output.write_text(header + body, encoding="utf-8")


def _relative(path: Path) -> str:
    # uv writes the names it was given into the "via" comments: they must not name this machine's folders
    return os.path.relpath(path, ROOT / "code")


def main() -> int:
    """Compile or check all locks; 1 if a check found something."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing, ask nobody, name what is stale")
    parser.add_argument("--upgrade", action="store_true", help="take newer versions where the inputs allow")
    parser.add_argument("only", nargs="*", type=Path, help="the locks to compile, when not all of them")
    options = parser.parse_args()
    if not options.check:
        wanted = {path.resolve() for path in options.only}
        for lock in (lock for lock in locks() if not wanted or lock.output in wanted):
            compile_lock(lock, upgrade=options.upgrade)
            print(f"{lock.output.relative_to(ROOT)}: {len(pins(lock.output.read_text('utf-8')))} packages")
        return 0
    stale = [f"{lock.output.relative_to(ROOT)} {problem}" for lock in locks() for problem in problems(lock)]
    print("\n".join([*stale, "run `make lock`"]) if stale else f"{len(locks())} locks are current")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())

"""Virtual environments of processors, built from their hashed locks and kept by what they were built from."""

import asyncio
import contextlib
import fcntl
import hashlib
import os
import platform
import shutil
import sys
import time
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO, Final

from apps.core.adapters.errors import HealthError
from apps.core.adapters.journal import Journal
from apps.core.package_index import uv_environment
from processor_runtime.errors import Detail

from .launch import mortal

_LOCK_POLL_S: Final = 0.2
_SHOWN_LINES: Final = 12
_KEY_DIGITS: Final = 24  # 96 bits: enough against chance, and the interpreter's path stays short


async def environment(requirements: Path, venvs: Path, environ: Mapping[str, str], journal: Journal) -> Path:
    """Return the Python of an environment that holds exactly what *requirements* pins; build it if there is none.

    Two callers at once build it once. It is built under another name and
    renamed when complete, so that a killed build leaves nothing that is used.

    Args:
        requirements: A lock with a hash for each package.
        venvs: The folder that keeps environments.
        environ: Where uv and pip find their settings.
        journal: Told of each step: a first build may take a minute.

    Raises:
        HealthError: there is no lock, or uv could not build from it; the details hold its last lines.
    """
    folder = _folder(requirements, venvs)
    if _usable(folder):
        return _python(folder)
    journal = journal.bind(environment=folder.name)
    async with _alone(folder.with_suffix(".lock"), journal):
        if not _usable(folder):  # another caller may have built it meanwhile
            await _build(folder, requirements, environ, journal)
    return _python(folder)


def key(lock: bytes) -> str:
    """Return the name of the environment for a lock's text *lock* and this interpreter."""
    interpreter = (
        sys.implementation.cache_tag,
        platform.python_version(),
        platform.machine(),
        sys.platform,
        sys.base_prefix,
    )
    return hashlib.sha256(b"\0".join([lock, *(str(part).encode() for part in interpreter)])).hexdigest()[:_KEY_DIGITS]


def _folder(requirements: Path, venvs: Path) -> Path:
    try:
        lock = requirements.read_bytes()
    except OSError as exc:
        detail = Detail(path=requirements.name, message=exc.strerror or type(exc).__name__)
        raise HealthError(detail) from exc
    venvs.mkdir(parents=True, exist_ok=True)
    return venvs / key(lock)


def _python(folder: Path) -> Path:
    return folder / "bin" / "python"


def _usable(folder: Path) -> bool:
    # follows the link: an environment breaks when the Python that it was made from is gone
    return _python(folder).exists()


@asynccontextmanager
async def _alone(path: Path, journal: Journal) -> AsyncIterator[None]:
    """Hold the lock file at *path*; the kernel gives it back when its holder dies."""
    with path.open("a") as file:
        waiting = False
        while not _locked(file):
            if not waiting:
                journal.event("adapter.environment.wait", message="another run is building it")
            waiting = True
            await asyncio.sleep(_LOCK_POLL_S)
        yield


def _locked(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


async def _build(folder: Path, requirements: Path, environ: Mapping[str, str], journal: Journal) -> None:
    journal.event("adapter.environment.build", message="installing from the hashed lock, about a minute the first time")
    began = time.monotonic()
    for left in folder.parent.glob(f"{folder.name}.*.part"):  # by a killed build: we hold the lock
        await asyncio.to_thread(shutil.rmtree, left, ignore_errors=True)
    part = folder.with_suffix(f".{os.getpid()}.part")
    # relocatable, because it is renamed; wheels only, as in an image: installing runs no package's code
    try:
        await _uv(
            environ, journal, "venv", "--quiet", "--relocatable", "--no-project", "--python", sys.executable, str(part)
        )
        await _uv(
            *(environ, journal, "pip", "sync", "--require-hashes", "--no-build"),
            *("--python", str(_python(part)), str(requirements)),
        )
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)  # there is one only if it is broken
        part.rename(folder)
    finally:
        await asyncio.shield(asyncio.to_thread(shutil.rmtree, part, ignore_errors=True))
    journal.event("adapter.environment.ready", duration_ms=round((time.monotonic() - began) * 1000))


async def _uv(environ: Mapping[str, str], journal: Journal, *arguments: str) -> None:
    """Run uv, telling each of its lines.

    Raises:
        HealthError: it failed.
    """
    from uv import find_uv_bin  # noqa: PLC0415  # only where something is built

    process = await asyncio.create_subprocess_exec(
        *mortal([find_uv_bin(), *arguments]),
        env={**environ, **uv_environment(environ), "NO_COLOR": "1"},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    said: deque[str] = deque(maxlen=_SHOWN_LINES)
    try:
        assert process.stderr is not None  # noqa: S101  # asked for above
        async for raw in process.stderr:
            if line := raw.decode(errors="replace").rstrip():
                said.append(line)
                if line.startswith(" + "):  # each package: the lock names them
                    continue
                journal.event("adapter.environment.uv", message=line)
        status = await process.wait()
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
    if status:
        details = [Detail(path="environment", message=journal.masked(line)) for line in said]
        raise HealthError(Detail(path="environment", message=f"uv {arguments[0]}: exit status {status}"), *details)

"""Commands of ours and of others, run whole and timed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts import make_base_image

from . import processes
from .environments import SkippedError
from .paths import CODE, ROOT

_SAMPLE_S = 0.02
_LIMIT_S = 600.0
_SAID = 600
# as a user's shell has it: a module is compiled once, even where this environment says that nothing is to be written
_SETTINGS = {"DJANGO_SETTINGS_MODULE": "backend.settings.test", "PYTHONDONTWRITEBYTECODE": ""}


@dataclass(frozen=True, slots=True)
class Finished:
    """A command that has ended well.

    Attributes:
        seconds: From its start to its end.
        stdout: What it answered.
        peak_bytes: The most memory that it and all below it had in RAM at one moment; 0 unless watched.
    """

    seconds: float
    stdout: str
    peak_bytes: int


def finish(
    argv: Sequence[str | Path], *, environ: Mapping[str, str] | None = None, cwd: Path = CODE, watched: bool = False
) -> Finished:
    """Run *argv* to its end.

    Args:
        argv: The command line.
        environ: Added to the environment.
        cwd: Where it runs.
        watched: Whether to look at its memory all the time, which costs some time of its own.

    Raises:
        SkippedError: it failed; the message holds its last lines.
    """
    began = time.perf_counter()
    process = subprocess.Popen(
        argv,
        cwd=cwd,
        env={**os.environ, **_SETTINGS, **(environ or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    peak = _Peak(process.pid) if watched else None
    try:
        stdout, stderr = process.communicate(timeout=_LIMIT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise SkippedError(f"{argv[0]} did not end within {_LIMIT_S:.0f} s") from None
    finally:
        peak_bytes = peak.end() if peak else 0
    seconds = time.perf_counter() - began
    if process.returncode:
        said = " ".join((stderr or stdout)[-_SAID:].split())
        raise SkippedError(f"{Path(argv[0]).name} ended with status {process.returncode}: {said}")
    return Finished(seconds, stdout, peak_bytes)


def runs(
    request: Mapping[str, Any], *, repeat: int = 1, host: Mapping[str, Path], watched: bool = False
) -> tuple[list[float], int]:
    """Run *request* through the use case, in a process of its own.

    Args:
        request: Fields of an `ExecutionRequest`, but for its id.
        repeat: How often, in one process.
        host: Fields of a `Host` that differ from this machine's.
        watched: As for `finish`.

    Returns:
        The seconds of each run, and the peak of memory in bytes.

    Raises:
        SkippedError: a run failed.
    """
    asked = {"do": "runs", "request": dict(request), "repeat": repeat, "host": _written(host)}
    done = _runner(asked, watched=watched)
    return json.loads(done.stdout.splitlines()[-1]), done.peak_bytes


def inside(do: str, *, times: int, host: Mapping[str, Path], image: str, digest: str) -> dict[str, list[float]]:
    """Return the seconds of runs inside the LocalAdapter, and of the same without it, by who did them.

    Args:
        do: ``cold`` or ``warm``.
        times: How many of each, at least.
        host: As for `runs`.
        image: The id of the image.
        digest: Its pin.

    Raises:
        SkippedError: a run failed.
    """
    asked = {"do": do, "times": times, "host": _written(host), "image": image, "digest": digest}
    found: dict[str, list[float]] = json.loads(_runner(asked).stdout.splitlines()[-1])
    return found


def built(ref: str) -> dict[str, str]:
    """Return the name, the id and the platform of the image of *ref*, built from its source unless it is there.

    Raises:
        SkippedError: it cannot be built.
    """
    base = {"BASE_IMAGE": make_base_image.TAG} if make_base_image.held() else {}
    found: dict[str, str] = json.loads(_runner({"do": "build", "ref": ref}, environ=base).stdout.splitlines()[-1])
    return found


def _written(host: Mapping[str, Path]) -> dict[str, str]:
    return {name: str(path) for name, path in host.items()}


def _runner(asked: Mapping[str, Any], *, environ: Mapping[str, str] | None = None, watched: bool = False) -> Finished:
    path = os.pathsep.join([str(ROOT), str(CODE)])
    argv = [sys.executable, "-m", "bench.runner", json.dumps(asked)]
    return finish(argv, environ={"PYTHONPATH": path, **(environ or {})}, watched=watched)


class _Peak:
    """Looks at the memory of a tree of processes until it is told to end."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._bytes = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def end(self) -> int:
        """Return the most that was seen."""
        self._over.set()
        self._thread.join()
        return self._bytes

    def _watch(self) -> None:
        while not self._over.wait(_SAMPLE_S):
            self._bytes = max(self._bytes, processes.usage(self._pid).rss_bytes)

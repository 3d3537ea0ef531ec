"""One big output through a whole run, its verification and `--save-dir`, beside `cp` and `sha256sum` (P9)."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any, Final

from bench.catalogue import SUBJECTS
from bench.catalogue.ours import SOURCE
from bench.commands import finish, runs
from bench.context import Context
from bench.environments import prepare

_MIB: Final = 1024 * 1024
_CHUNK: Final = b"x" * _MIB
_SMALL: Final = 1024


def measure(context: Context) -> None:
    """Run a small and a big output, and do by hand what the big one cannot do without."""
    size = context.profile.big_bytes
    for _ in context.counted(range(context.profile.repeats)):
        with context.skipping("big output"), context.folder("disk") as root:
            _, idle = _run(root / "small", _SMALL)
            seconds, peak = _run(root / "big", size)
            context.add("big", "run", seconds=seconds, above_idle_mib=(peak - idle) / _MIB, idle_mib=idle / _MIB)
        with context.skipping("cp and sha256sum"), context.folder("disk") as root:
            context.add("big", "cp+sha256sum", seconds=_by_hand(root, size))


def _run(root: Path, size: int) -> tuple[float, int]:
    """Return the seconds of the run, and the peak of memory of its caller and its service together, in bytes."""
    os.sync()
    python = prepare(SUBJECTS["ours-sync"].environment) / "bin" / "python"
    request: dict[str, Any] = {
        "ref": "bench/work@1",
        "adapter": "process",
        "inputs": {"schema": "v1", "params": {"text": "big", "size_bytes": size}},
        "save_dir": str(root / "saved"),
    }
    (root / "saved").mkdir(parents=True)
    host = {"processors": SOURCE.parent, "artifacts_root": root / "artifacts", "python": python}
    seconds, peak = runs(request, host=host, watched=True)
    return seconds[0], peak


def _by_hand(root: Path, size: int) -> float:
    """Return the seconds of copying a file of *size* bytes and hashing the copy; making the first one is free."""
    first, second = root / "first", root / "second"
    with first.open("wb") as file:
        for _ in range(size // _MIB):
            file.write(_CHUNK)
    os.sync()
    began = time.perf_counter()
    finish(["cp", first, second])
    finish(["sha256sum", second])
    return time.perf_counter() - began

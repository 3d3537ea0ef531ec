"""Instructions, counted by callgrind."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Final, NamedTuple

from bench.catalogue.ours import DIGEST, STAGED
from bench.environments import SkippedError
from bench.paths import BENCH, PEERS

_COLLECTED: Final = re.compile(r"Collected : (\d+)")
_LIMIT_S: Final = 300.0


class Counted(NamedTuple):
    """What is counted.

    Attributes:
        app: As `subject.py` calls it.
        handler: ``async`` or ``sync``.
        requests: How many.
    """

    app: str
    handler: str
    requests: int


def parse(output: str) -> int:
    """Return the instructions that callgrind's *output* tells of.

    Raises:
        ValueError: it tells of none.
    """
    found = _COLLECTED.search(output)
    if found is None:
        raise ValueError(f"callgrind counted nothing: {output[-400:]!r}")
    return int(found[1])


def instructions(counted: Counted, folder: Path) -> float:
    """Return the instructions of one request of *counted*, on average; *folder* takes what is written meanwhile.

    Raises:
        SkippedError: the app did not answer as it should.
    """
    own = folder / f"{counted.app}-{counted.handler}"
    own.mkdir()
    done = subprocess.run(
        [
            *("valgrind", "--tool=callgrind", "--instr-atstart=no", "--callgrind-out-file=/dev/null"),
            *(sys.executable, str(BENCH / "guard" / "subject.py"), counted.app, str(counted.requests), str(own)),
        ],
        # nothing of the caller's: neither CI, nor settings of a processor
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": f"{STAGED}:{PEERS}",
            "PYTHONHASHSEED": "0",
            "BENCH_FILES": str(own),
            "BENCH_HANDLER": counted.handler,
            "IMAGE_DIGEST": DIGEST,
            "PROCESSOR_ARTIFACTS_DIR": str(own),
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=_LIMIT_S,
    )
    if done.returncode:
        raise SkippedError(f"{counted.app} ended with status {done.returncode}: {done.stderr[-400:]}")
    return parse(done.stderr) / counted.requests

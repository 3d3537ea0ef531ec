"""Where things lie."""

from pathlib import Path
from typing import Final

BENCH: Final = Path(__file__).resolve().parent
ROOT: Final = BENCH.parent
CODE: Final = ROOT / "code"
PEERS: Final = BENCH / "peers"
LIMITS: Final = BENCH / "limits"
PROCESSORS: Final = BENCH / "processors"
RESULTS: Final = BENCH / "results"
SITE: Final = ROOT / "docs" / "reference"
VAR: Final = ROOT / "var" / "bench"
TMPFS: Final = Path("/dev/shm")  # noqa: S108  # measured on purpose: what a file costs without a disk

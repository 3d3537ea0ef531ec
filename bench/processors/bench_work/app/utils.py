"""What both handlers do alike."""

import time
from typing import Final

from processor_runtime import Run

WORD: Final = "tok "
KIB: Final = b"x" * 1024
_CHUNK: Final = b"x" * (1024 * 1024)


def work(run: Run) -> None:
    """Compute and write as the params ask."""
    params = run.params
    if "spin_s" in params:
        spin(params["spin_s"])
    if "size_bytes" in params:
        write(run, params["size_bytes"])
    for number in range(params.get("outputs", 0)):
        run.write_bytes(f"outputs/part-{number}.txt", KIB)


def spin(seconds: float) -> None:
    """Compute in Python for as long as this thread gets to."""
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        pass


def write(run: Run, size_bytes: int) -> None:
    """Write one output, a large one piece by piece."""
    if size_bytes == len(KIB):
        run.write_bytes("outputs/response.txt", KIB)
        return
    with run.open_output("outputs/response.txt") as file:
        for rest in range(size_bytes, 0, -len(_CHUNK)):
            file.write(_CHUNK[:rest] if rest < len(_CHUNK) else _CHUNK)

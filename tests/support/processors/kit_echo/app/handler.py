"""Echoes a text, and misbehaves in every way that the conformance kit knows an example of."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from typing import Final

from processor_runtime import InputsError, ProviderError, Run, processor

FLOOD_BYTES: Final = 9_000_000
STEP_S: Final = 0.02
PIECES: Final = 100


def set_up(secrets: Mapping[str, str]) -> None:  # noqa: ARG001  # set-up's signature
    """Take some time, or fail, as `KIT_SETUP` says.

    Raises:
        RuntimeError: `KIT_SETUP` is failing.
    """
    wish = os.environ.get("KIT_SETUP")
    if wish == "slow":
        time.sleep(3)
    if wish == "failing":
        time.sleep(1)
        raise RuntimeError("kit-exception-text")


@processor(setup=set_up)
def entry(run: Run) -> None:
    """Do what `params.do` says, then write the text."""
    do = DEEDS.get(run.params.get("do", ""))
    if do is not None:
        do(run)
    if run.params.get("do") != "missing":
        run.write_text("outputs/response.txt", run.params["text"])


def _seconds(run: Run) -> float:
    return float(run.params.get("seconds", 2.5))


def _sleep(run: Run) -> None:
    ends = time.monotonic() + _seconds(run)
    while time.monotonic() < ends:
        run.check()
        time.sleep(STEP_S)


def _block(run: Run) -> None:
    ends = time.monotonic() + _seconds(run)
    while time.monotonic() < ends:
        pass


def _write_on(run: Run) -> None:
    with run.open_output("outputs/parts/long.txt") as file:
        for _ in range(PIECES):
            file.write(b"kit\n" * 1024)
            run.check()
            time.sleep(_seconds(run) / PIECES)


def _stream(run: Run) -> None:
    for step in range(5):
        run.progress(step / 5, f"step {step}")
        run.token(f"word{step} ")
    run.progress(None, "nearly there")


def _flood(run: Run) -> None:
    word = "0123456789abcde " * 64
    told = 0
    with run.open_output("outputs/parts/flood.txt") as file:
        while told < FLOOD_BYTES:
            run.token(word)
            file.write(word.encode())
            told += len(word)


def _noise(run: Run) -> None:  # noqa: ARG001  # a deed's signature
    os.write(1, b"kit-stray-1\n")
    os.write(2, b"kit-stray-2\n")


def _reveal(run: Run) -> None:
    found = " ".join([*run.secrets.values(), *os.environ.values()])
    run.token(found)
    run.log("reveal", found=found)
    run.extra["found"] = found
    run.write_text("outputs/parts/found.txt", found)


def _fail(run: Run) -> None:
    raise ValueError(f"kit-exception-text {run.execution_id}")


def _refuse(run: Run) -> None:  # noqa: ARG001  # a deed's signature
    raise InputsError({"path": "/inputs/params/text", "message": "must be what it is not"})


def _blame(run: Run) -> None:  # noqa: ARG001  # a deed's signature
    raise ProviderError(retryable=True)


def _write(path: str) -> Callable[[Run], None]:
    return lambda run: run.write_text(path, "kit")


DEEDS: Final[dict[str, Callable[[Run], None]]] = {
    "sleep": _sleep,
    "blocking": _block,
    "writing": _write_on,
    "streaming": _stream,
    "flood": _flood,
    "noisy": _noise,
    "reveal": _reveal,
    "failing": _fail,
    "refused": _refuse,
    "provider": _blame,
    "path": _write("outputs/../escaped.txt"),
    "duplicate": _write("outputs/response.txt"),
    "undeclared": _write("outputs/surprise.bin"),
}

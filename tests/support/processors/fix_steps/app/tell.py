"""How a handler tells its stream what it does, in small and in large amounts, and how it does not listen itself."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from processor_runtime import Run

from . import marks


def token(run: Run, text: str) -> None:
    """Tell a token."""
    run.token(text)


def lone_surrogate(run: Run) -> None:
    """Tell a token that no UTF-8 can hold."""
    run.token("before \ud800 after")


def large_token(run: Run, size: int) -> None:
    """Tell one token of *size* letters."""
    run.token("x" * size)


def tokens(run: Run, count: int, of: int = 1) -> None:
    """Tell *count* tokens, each its number and a space, the sentence split *of* ways."""
    for number in range(count):
        run.token(f"{number} " * of)


def flood(run: Run, count: int, outputs: int) -> None:
    """Tell *count* tokens, a hundredth as many logs and progresses, and *outputs* outputs, as fast as it goes."""
    for number in range(count):
        run.token(f"{number} ")
        if number % 100 == 0:
            run.progress(number / count, f"token {number}")
            run.log("flood", number=number)
        if number % (count // outputs) == 0:
            run.write_bytes(f"outputs/page-{number * outputs // count:03}.png", b"page")


def output_in_pieces(run: Run, path: str, pieces: int, size: int, gate: str) -> None:
    """Write an output of *pieces* pieces of *size* bytes, and wait for *gate* in the middle of it."""
    with run.open_output(path) as file:
        for number in range(pieces):
            if number == pieces // 2:
                marks.wait(gate)
            file.write(bytes([number % 256]) * size)


def wait_and_write(run: Run, gate: str, path: str) -> None:
    """Wait for *gate*, write at once, and leave the mark ``<gate>.refused`` or ``<gate>.written``."""
    marks.wait(gate)
    try:
        run.write_text(path, "late")
    except BaseException:
        marks.leave(f"{gate}.refused")
        raise
    marks.leave(f"{gate}.written")


def try_telling(run: Run, mark: str) -> None:
    """Tell a token, a log and a progress, and leave *mark* whatever comes of it."""
    try:
        run.token("late")
        run.progress(1.0, "late")
        run.log("late")
    finally:
        marks.leave(mark)


def remaining(run: Run) -> None:
    """Keep how many seconds are left, and how many there were."""
    run.extra["remaining_s"] = run.remaining_s()
    run.extra["timeout_s"] = run.timeout_s


def keep_checking(run: Run, name: str) -> None:
    """Call `run.check` until a test allows *name*, and go on whatever it raises; mark ``<name>.stopped`` then."""
    marks.leave(f"{name}.began")
    while not marks.allowed(name):
        try:
            run.check()
        except BaseException:  # noqa: BLE001 - a handler that does what it is told not to
            marks.leave(f"{name}.stopped")
        time.sleep(marks.POLL_S)


def fail_first(_run: Run, name: str) -> None:
    """Fail the first time that this is called with *name*, and never again."""
    if not (marks.folder() / name).exists():
        marks.leave(name)
        raise ValueError("the first time")


async def stay(_run: Run, name: str) -> None:
    """Wait until a test allows *name*, and stay when cancelled; mark ``<name>.stopped`` then."""
    marks.leave(f"{name}.began")
    while not marks.allowed(name):
        try:
            await asyncio.sleep(marks.POLL_S)
        except asyncio.CancelledError:
            marks.leave(f"{name}.stopped")


STEPS: Final[Mapping[str, Callable[..., object]]] = {
    "token": token,
    "lone_surrogate": lone_surrogate,
    "large_token": large_token,
    "tokens": tokens,
    "flood": flood,
    "output_in_pieces": output_in_pieces,
    "wait_and_write": wait_and_write,
    "try_telling": try_telling,
    "remaining": remaining,
    "keep_checking": keep_checking,
    "fail_first": fail_first,
}
AWAITED: Final[Mapping[str, Callable[..., Awaitable[None]]]] = {"stay": stay}

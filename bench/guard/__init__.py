"""Fails when a run costs many more instructions than it may: `make bench-guard`, part of the PR lane.

Seconds say little on a machine that others use; instructions, counted by
callgrind, are nearly the same every time. They are taken as a ratio to the
bare limit in the same interpreter, so that another Python moves both.
"""

from __future__ import annotations

import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from bench import tools
from bench.catalogue.ours import stage
from bench.environments import SkippedError

from .count import Counted, instructions

_AT_ONCE = 2


@dataclass(frozen=True, slots=True)
class Bound:
    """How many times the instructions of the bare limit a request may cost.

    Attributes:
        name: What is shown.
        counted: What is counted.
        at_most: The bound: about a quarter above what it was when the bound was set.
    """

    name: str
    counted: Counted
    at_most: float


BARE = Counted("bare", "async", 400)
BOUNDS = (
    Bound("a run, async handler", Counted("ours", "async", 100), 9.5),
    Bound("a run, sync handler", Counted("ours", "sync", 100), 8.7),
    Bound("a refusal", Counted("refusal", "async", 100), 5.0),
)


def judge(costs: dict[str, float], bare: float, bounds: tuple[Bound, ...] = BOUNDS) -> list[str]:
    """Return a sentence for each of *bounds* that is broken.

    Args:
        costs: Instructions for a request, by the bound's name.
        bare: Instructions for a request to the bare limit.
        bounds: What is allowed.
    """
    return [
        f"{bound.name} costs {costs[bound.name] / bare:.1f} times the bare limit, and may cost {bound.at_most:g} times"
        for bound in bounds
        if costs[bound.name] > bound.at_most * bare
    ]


def main(bounds: tuple[Bound, ...] = BOUNDS) -> int:
    """Count, say what came out, and return 1 where a bound is broken."""
    stage()
    try:
        tools.ensure("valgrind")
        with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(_AT_ONCE) as pool:
            asked = [BARE, *(bound.counted for bound in bounds)]
            bare, *found = pool.map(lambda counted: instructions(counted, Path(folder)), asked)
    except SkippedError as exc:
        sys.stderr.write(f"bench-guard: {exc}\n")
        return 1
    costs = {bound.name: cost for bound, cost in zip(bounds, found, strict=True)}
    sys.stdout.write(f"{'the bare limit':24} {bare:12,.0f} instructions a request\n")
    for bound in bounds:
        cost = costs[bound.name]
        sys.stdout.write(f"{bound.name:24} {cost:12,.0f}  {cost / bare:6.1f} times, of {bound.at_most:g} at most\n")
    broken = judge(costs, bare, bounds)
    sys.stdout.write("".join(f"bench-guard: {sentence}\n" for sentence in broken))
    return 1 if broken else 0

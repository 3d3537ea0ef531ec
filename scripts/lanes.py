"""Run a lane, and all that come before it: `make lane-dev`, `make lanes`.

The gates judge this checkout. The steps then run in a copy of it, with an image registry, a Modal and keys of this
machine alone (`scripts.lanes_here`): the same `make` targets as in the workflows, in the same order.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from scripts.lane_plan import ENVIRONMENTS, PLANS, Plan

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a lane ended.

    Attributes:
        lane: Which one.
        done: The steps that held, in order.
        stopped_at: The step that did not, ``""`` if all held.
        undone: Whether what ran before runs again.
    """

    lane: str
    done: tuple[str, ...]
    stopped_at: str = ""
    undone: bool = False

    def __str__(self) -> str:
        if not self.stopped_at:
            return f"lane {self.lane}: all {len(self.done)} steps hold"
        return f"lane {self.lane}: stopped at {self.stopped_at}{', rolled back' if self.undone else ''}"


Call = Callable[[str], bool]


def run(lane: str, targets: Sequence[str], call: Call, plan: Plan) -> Outcome:
    """Return how *lane* ended: *targets* are called in order until one fails, which *plan* may undo."""
    done: list[str] = []
    for target in targets:
        if call(target):
            done.append(target)
            continue
        undoes = bool(plan.undo) and plan.undo_from in {*done, target}
        return Outcome(lane, tuple(done), target, undone=undoes and call(plan.undo))
    return Outcome(lane, tuple(done))


def make(target: str, root: Path, environ: Mapping[str, str]) -> bool:
    """Return whether `make <target>` in *root* held; it is called as from a shell, not as a part of this make."""
    print(f"--- make {target}{' LANE=' + environ['LANE'] if environ.get('LANE') else ''}", flush=True)
    clean = {name: value for name, value in environ.items() if not name.startswith("MAKE") and name != "MFLAGS"}
    return subprocess.run(["make", "--no-print-directory", target], cwd=root, env=clean, check=False).returncode == 0


def lanes_until(lane: str) -> list[str]:
    """Return the lanes that come before *lane*, in order, and itself."""
    return ["pr"] if lane == "pr" else list(ENVIRONMENTS[: ENVIRONMENTS.index(lane) + 1])


def outcomes(lane: str, *, gates: bool, everything: bool) -> Iterator[Outcome]:
    """Yield how each lane until *lane* ended, and none after one that was stopped."""
    if gates or lane == "pr":
        gate = run(
            name := "pr" if everything else lane,
            PLANS[name].gates,
            lambda target: make(target, ROOT, os.environ),
            PLANS[name],
        )
        yield gate
        if gate.stopped_at or lane == "pr":
            return
    from scripts.lanes_here import stage  # noqa: PLC0415 - the tests' own Modal is needed for steps alone

    with tempfile.TemporaryDirectory(prefix="lanes-") as folder, stage(Path(folder)) as here:
        for name in lanes_until(lane):
            outcome = run(name, PLANS[name].steps, lambda target, name=name: here.make(target, name), PLANS[name])  # type: ignore[misc]
            yield outcome
            if outcome.stopped_at:
                return


def main() -> int:
    """Run the lanes that are asked for; 1 where one was stopped."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lane", choices=[*PLANS, "all"], help="the last one to run")
    parser.add_argument("--no-gates", action="store_true", help="leave out what judges the change itself")
    options = parser.parse_args()
    everything = options.lane == "all"
    ended = []
    with suppress(KeyboardInterrupt):
        for outcome in outcomes(
            "prod" if everything else options.lane, gates=not options.no_gates, everything=everything
        ):
            ended.append(outcome)
            print(f"=== {outcome}", flush=True)
    return 0 if ended and not ended[-1].stopped_at else 1


if __name__ == "__main__":
    sys.exit(main())

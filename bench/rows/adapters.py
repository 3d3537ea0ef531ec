"""A cold and a warm run through the LocalAdapter, beside the same steps without it (P8)."""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path
from typing import Final

from bench.by_hand import INPUTS, REF, ByHand
from bench.commands import finish, inside
from bench.context import Context
from bench.engine import Engine
from bench.environments import SkippedError
from bench.pinned import Pinned, pinned
from bench.tools import ensure

_COLD: Final = 5  # runs with a container each, in each round
_MANAGE: Final = (sys.executable, "manage.py", "run_processor", "--ref", REF, "--adapter", "local", "--json")


def measure(context: Context) -> None:
    """Run the same image in alternation: through the adapter, and by as little as it can be done with."""
    with context.skipping("adapters"), context.folder("disk") as root:
        ensure("curl")
        engine = Engine()
        with pinned(REF, "llm_chat", root) as made:
            by_hand = ByHand(engine, made.image, made.digest, root / "by-hand")
            for _ in range(context.profile.repeats):
                _inside(context, made, root)
                _whole(context, made, root, by_hand)
            for number in range(context.profile.starts + 1):
                ours, plain = by_hand.started(plain=False), by_hand.started(plain=True)
                if number:  # the first ones fill caches
                    context.add("container", "processor", start_ms=ours * 1000)
                    context.add("container", "fastapi", start_ms=plain * 1000)


def _inside(context: Context, made: Pinned, root: Path) -> None:
    """Measure from within the adapter's process."""
    host = {"processors": made.processors, "artifacts_root": root}
    for do, times in (("warm", context.profile.asks), ("cold", _COLD)):
        found = inside(do, times=times, host=host, image=made.image, digest=made.digest)
        for name, seconds in found.items():
            context.add("adapter", name, "", **{f"{do}_ms": statistics.median(seconds) * 1000})


def _whole(context: Context, made: Pinned, root: Path, by_hand: ByHand) -> None:
    """Measure the command from its start to its end, beside a script."""
    argv = [*_MANAGE, "--inputs-json", json.dumps(INPUTS)]
    whole, script = [], []
    for number in range(_COLD + 1):
        done = finish(argv, environ={"ARTIFACTS_ROOT": str(root)}, cwd=made.code)
        if json.loads(done.stdout)["status"] != "success":
            raise SkippedError(done.stdout[-400:])
        if number:  # the first one is compiled
            whole.append(done.seconds)
            script.append(by_hand.script())
    context.add("adapter", "run_processor", whole_s=statistics.median(whole))
    context.add("adapter", "script", whole_s=statistics.median(script))

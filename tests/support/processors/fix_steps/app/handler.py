"""fix/steps@1: does what `params.do` says. FIXTURE_KIND=async makes it async, FIXTURE_SETUP gives it a set-up."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from processor_runtime import Run, processor

from . import marks, noise
from .steps import AWAITED, STEPS

if os.environ.get("FIXTURE_NOISE") == "import":
    noise.shout("import")


def slow(secrets: Mapping[str, str]) -> dict[str, Any]:
    """Return once a test allows it, what the handler gets; ``fail`` and ``exit`` make it fail."""
    marks.add("setup.count")
    finish(marks.wait("setup"))
    return {"made": "by set-up", "secrets": sorted(secrets)}


async def slow_async(secrets: Mapping[str, str]) -> dict[str, Any]:
    """Return the same, without holding a thread."""
    marks.add("setup.count")
    finish(await marks.wait_async("setup"))
    return {"made": "by set-up", "secrets": sorted(secrets)}


def spin(secrets: Mapping[str, str]) -> dict[str, Any]:
    """Return the same, and keep the interpreter busy meanwhile."""
    marks.add("setup.count")
    finish(marks.spin("setup"))
    return {"made": "by set-up", "secrets": sorted(secrets)}


def finish(word: str) -> None:
    """Fail if *word* says so."""
    if word == "fail":
        raise RuntimeError("canary-of-the-set-up")
    if word == "exit":
        raise SystemExit(3)


def sync_entry(run: Run) -> None:
    """Take the steps in this thread."""
    for name, *arguments in run.params["do"]:
        STEPS[name](run, *arguments)


async def async_entry(run: Run) -> None:
    """Take the steps in an event loop."""
    for name, *arguments in run.params["do"]:
        await asyncio.sleep(0)
        if name in AWAITED:
            await AWAITED[name](run, *arguments)
        else:
            STEPS[name](run, *arguments)


SETUPS: dict[str, Callable[[Mapping[str, str]], dict[str, Any] | Awaitable[dict[str, Any]]]] = {
    "sync": slow,
    "async": slow_async,
    "spin": spin,
}
work: Any = async_entry if os.environ.get("FIXTURE_KIND") == "async" else sync_entry
setup: Any = SETUPS.get(os.environ.get("FIXTURE_SETUP", ""))
entry = processor(setup=setup)(work) if setup else processor(work)

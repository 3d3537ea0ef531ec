"""The handler, sync or async as `BENCH_HANDLER` says: both do the same."""

import asyncio
import os
import time

from processor_runtime import Run, processor

from . import utils


@processor
def blocking(run: Run) -> None:
    """Do what the params ask for, in a thread."""
    params = run.params
    if "wait_s" in params:
        time.sleep(params["wait_s"])
    for _ in range(params.get("tokens", 0)):
        run.token(utils.WORD)
    utils.work(run)


@processor
async def waiting(run: Run) -> None:
    """Do the same on the handlers' loop."""
    params = run.params
    if "wait_s" in params:
        await asyncio.sleep(params["wait_s"])
    for _ in range(params.get("tokens", 0)):
        await asyncio.sleep(0)
        run.token(utils.WORD)
    utils.work(run)


entry = waiting if os.environ.get("BENCH_HANDLER") == "async" else blocking

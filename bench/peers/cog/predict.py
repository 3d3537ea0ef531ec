"""Cog's predictors: as `cog init` writes one, on the loop with many slots, and streaming."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator

from cog import BaseRunner, Input

sys.path.append(os.environ["BENCH_WORK"])  # Cog's worker has a path of its own
import work


class Runner(BaseRunner):
    def run(self, text: str = Input(description="what to answer")) -> str:
        return work.answer(text)


class AsyncRunner(BaseRunner):
    async def run(self, text: str = Input(description="what to answer")) -> str:
        return work.answer(text)


class StreamRunner(BaseRunner):
    async def run(self, text: str = Input(description="how many tokens")) -> AsyncIterator[str]:
        for _ in range(int(text)):
            await asyncio.sleep(0)
            yield work.WORD

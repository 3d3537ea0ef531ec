"""BentoML's service: a sync API as in its tutorial, the same on the loop, and streaming."""

import asyncio
from collections.abc import AsyncGenerator

import bentoml
import work


@bentoml.service
class Echo:
    @bentoml.api
    def echo(self, text: str) -> str:
        return work.answer(text)

    @bentoml.api
    async def echo_async(self, text: str) -> str:
        return work.answer(text)

    @bentoml.api
    async def stream(self, text: str) -> AsyncGenerator[str, None]:
        for _ in range(int(text)):
            await asyncio.sleep(0)
            yield work.WORD

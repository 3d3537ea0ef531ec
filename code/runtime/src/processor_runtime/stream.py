"""One reader of `/run-stream`, on the server's loop (CONTRACT §6)."""

import asyncio
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any, Final

from fastapi.sse import KEEPALIVE_COMMENT

from .execution import Answer
from .loops import Handback
from .sse import HEARTBEAT_S, EventBuffer, encode

# a write costs more than an event: what comes so soon after the last write goes in one, and nobody sees a difference
_REST_S: Final = 0.01


class Stream:
    """What one reader is told, in order, ending in `done`."""

    def __init__(self, handback: Handback) -> None:
        self._handback = handback
        self._news = asyncio.Event()
        self._begun = asyncio.Event()
        self._answer: Answer | None = None
        self._left: Callable[[], None] | None = None
        self._silent = False
        self.events = EventBuffer(partial(handback, self._news.set))

    def reply(self, answer: Answer) -> None:
        """Take the answer, from any thread."""

        def settle() -> None:
            self._answer = answer
            self._begun.set()
            self._news.set()

        self._handback(settle)

    def accepted(self, left: Callable[[], None]) -> None:
        """Learn, from any thread, that there will be a run; *left* ends the interest in it."""

        def begin() -> None:
            self._left = left
            self._begun.set()

        self._handback.later(begin)  # most tell something at once, which wakes the loop

    async def begun(self) -> Answer | None:
        """Return when the run was accepted, or with the answer if it was not or is already there."""
        await self._begun.wait()
        return self._answer

    async def read(self, dumps: Callable[[dict[str, Any]], bytes]) -> AsyncIterator[bytes]:
        """Yield what goes over the wire: events, heartbeats, and exactly one `done`."""
        loop = asyncio.get_running_loop()
        number = 0
        answer: Answer | None = None
        rested = 0.0
        heartbeat = loop.call_later(HEARTBEAT_S, self._beat)
        try:
            while answer is None:
                answer = self._answer  # first: every event that came before it is taken below
                chunk = bytearray()
                for name, data in self.events.take():
                    number += 1
                    chunk += encode(number, name, dumps(data))
                if answer is not None:
                    chunk += encode(number + 1, "done", answer.body)
                if not chunk and self._silent:
                    chunk += KEEPALIVE_COMMENT
                if chunk:
                    self._silent = False
                    yield bytes(chunk)
                    heartbeat.cancel()
                    heartbeat = loop.call_later(HEARTBEAT_S, self._beat)
                    rested = loop.time() + _REST_S
                if answer is None:
                    await self._woken()
                    if self._answer is None and (early_s := rested - loop.time()) > 0:
                        again = loop.call_later(early_s, self._news.set)
                        await self._woken()
                        again.cancel()
        finally:
            heartbeat.cancel()
            left, self._left = self._left, None
            if answer is None and left is not None:
                left()

    async def _woken(self) -> None:
        await self._news.wait()
        self._news.clear()

    def _beat(self) -> None:
        """Nothing was told for 15 s."""
        self._silent = True
        self._news.set()

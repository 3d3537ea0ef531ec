"""One thing that several coroutines wait for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class News:
    """Wakes all who wait, whenever something changed. For one event loop."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def tell(self) -> None:
        """Wake all who wait now."""
        self._event.set()
        self._event = asyncio.Event()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Return once *condition* holds; it is asked now and after each change."""
        while not condition():
            await self._event.wait()

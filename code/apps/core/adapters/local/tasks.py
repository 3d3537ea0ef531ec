"""Two ways to end work well: to its end whoever cancels, and at once without a word left unheard."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def to_the_end(work: Coroutine[Any, Any, T]) -> T:
    """Return what *work* returns; a cancellation meanwhile is raised when it is done, and not before."""
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as exc:
            cancelled = exc
    if cancelled is not None:
        await end(task)
        raise cancelled
    return task.result()


async def end(task: asyncio.Task[Any]) -> None:
    """End *task*; how it failed was told of where it mattered."""
    task.cancel()
    await asyncio.wait([task])
    if not task.cancelled():
        task.exception()

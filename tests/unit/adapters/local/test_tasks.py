"""Work that must be done is done, whoever cancels meanwhile."""

from __future__ import annotations

import asyncio

import pytest

from apps.core.adapters.local.tasks import end, to_the_end


def test_a_cancellation_waits_for_the_end() -> None:
    """Two of them as well; it is raised afterwards."""
    done: list[str] = []

    async def work() -> None:
        await asyncio.sleep(0.05)
        done.append("work")

    async def main() -> None:
        task = asyncio.ensure_future(to_the_end(work()))
        for _ in range(2):
            await asyncio.sleep(0.01)
            task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())

    assert done == ["work"]


def test_without_one_its_result_and_its_failure_are_passed_on() -> None:
    """As if it had been awaited."""

    async def fail() -> None:
        raise LookupError

    async def answer() -> int:
        return 42

    assert asyncio.run(to_the_end(answer())) == 42
    with pytest.raises(LookupError):
        asyncio.run(to_the_end(fail()))


def test_a_task_is_ended_and_its_failure_is_no_news() -> None:
    """Python would complain of an exception that nobody looked at."""

    async def fail() -> None:
        raise LookupError

    async def main() -> None:
        tasks = [asyncio.create_task(fail()), asyncio.create_task(asyncio.sleep(3600))]
        await asyncio.sleep(0)
        for task in tasks:
            await end(task)
        assert all(task.done() for task in tasks)

    asyncio.run(main())

"""Logs: what containers write, line by line, kept by app."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from modal_proto import api_pb2

from .app import App, Apps
from .news import News
from .rpc import Call, answers

_DESCRIPTORS: Final = {1: api_pb2.FILE_DESCRIPTOR_STDOUT, 2: api_pb2.FILE_DESCRIPTOR_STDERR}
_NANOSECONDS: Final = 10**9

_Query = api_pb2.AppFetchLogsRequest | api_pb2.AppCountLogsRequest


@dataclass(frozen=True, slots=True)
class Line:
    """One line that a container, or the build of an image, wrote to *descriptor* (1 or 2)."""

    app_id: str
    function_id: str
    task_id: str
    descriptor: int
    text: str
    written_at: float = field(default_factory=time.time)

    def batch(self, entry: int) -> api_pb2.TaskLogsBatch:
        """Return it as the SDK reads it; *entry* is its place among all lines."""
        item = api_pb2.TaskLogs(
            data=self.text,
            timestamp=self.written_at,
            timestamp_ns=round(self.written_at * _NANOSECONDS),
            file_descriptor=_DESCRIPTORS[self.descriptor],
            container_id=self.task_id,
        )
        return api_pb2.TaskLogsBatch(
            task_id=self.task_id, function_id=self.function_id, items=[item], entry_id=f"{entry + 1}-0"
        )


class Logs:
    """All lines of all containers, in order."""

    def __init__(self, apps: Apps) -> None:
        self.lines: list[Line] = []
        self._apps = apps
        self._news = News()

    def add(self, line: Line) -> None:
        """Keep a line."""
        self.lines.append(line)
        self._news.tell()

    def tell(self) -> None:
        """Let streams notice that their app was stopped."""
        self._news.tell()

    def text(self) -> str:
        """Return all that containers wrote: for tests that wonder what went wrong."""
        return "".join(line.text for line in self.lines)

    @answers("AppFetchLogs")
    def fetch(self, request: api_pb2.AppFetchLogsRequest, _: Call) -> api_pb2.AppFetchLogsResponse:
        """Return the newest lines of a time, at most the limit, in order."""
        found = [line.batch(entry) for entry, line in enumerate(self.lines) if _matches(line, request)]
        return api_pb2.AppFetchLogsResponse(batches=found[-request.limit :] if request.limit else found)

    @answers("AppCountLogs")
    def count(self, request: api_pb2.AppCountLogsRequest, _: Call) -> api_pb2.AppCountLogsResponse:
        """Return how many lines were written in each bucket of a time."""
        found = [line for line in self.lines if _matches(line, request)]
        return api_pb2.AppCountLogsResponse(app_id=request.app_id, buckets=_buckets(found, request.bucket_secs))

    @answers("AppGetLogs")
    async def stream(self, request: api_pb2.AppGetLogsRequest, _: Call) -> AsyncIterator[api_pb2.TaskLogsBatch]:
        """Yield lines as they are written, until the app is stopped or the time that was asked for is over."""
        app = self._apps[request.app_id]
        entry = int(request.last_entry_id.partition("-")[0] or 0)
        try:
            async with asyncio.timeout(request.timeout):
                while True:
                    while entry < len(self.lines):
                        line = self.lines[entry]
                        if _concerns(line, request):
                            yield line.batch(entry)
                        entry += 1
                    if app.state == api_pb2.APP_STATE_STOPPED:
                        yield api_pb2.TaskLogsBatch(app_done=True)
                        return
                    await self._more(entry, app)
        except TimeoutError:
            return

    async def _more(self, entry: int, app: App) -> None:
        await self._news.until(lambda: len(self.lines) > entry or app.state == api_pb2.APP_STATE_STOPPED)


def _concerns(line: Line, request: Any) -> bool:
    """Whether *line* is of the app, the function and the container that *request* names."""
    pairs = ((request.app_id, line.app_id), (request.function_id, line.function_id), (request.task_id, line.task_id))
    return all(wanted in ("", had) for wanted, had in pairs)


def _matches(line: Line, request: _Query) -> bool:
    return (
        _concerns(line, request)
        and _seconds(request.since) <= line.written_at <= _seconds(request.until)
        and request.source in (api_pb2.FILE_DESCRIPTOR_UNSPECIFIED, _DESCRIPTORS[line.descriptor])
        and request.search_text in line.text
    )


def _buckets(lines: Iterable[Line], size_s: int) -> list[api_pb2.AppCountLogsResponse.LogBucket]:
    counts = Counter((int(line.written_at // size_s * size_s), line.descriptor) for line in lines)
    buckets = []
    for start in sorted({start for start, _ in counts}):
        bucket = api_pb2.AppCountLogsResponse.LogBucket(stdout_logs=counts[start, 1], stderr_logs=counts[start, 2])
        bucket.bucket_start_at.seconds = start
        buckets.append(bucket)
    return buckets


def _seconds(timestamp: Any) -> float:
    return float(timestamp.seconds + timestamp.nanos / _NANOSECONDS)

"""Logs: what containers write, line by line."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Final

from modal_proto import api_pb2

from .app import App
from .function import Function
from .news import News

DESCRIPTORS: Final = {1: api_pb2.FILE_DESCRIPTOR_STDOUT, 2: api_pb2.FILE_DESCRIPTOR_STDERR}


@dataclass(frozen=True, slots=True)
class Line:
    """One line that a container wrote to *descriptor* (1 or 2)."""

    app_id: str
    function_id: str
    task_id: str
    descriptor: int
    text: str
    written_at: float = field(default_factory=time.time)


class Logs:
    """All lines of all containers."""

    def __init__(self) -> None:
        self.lines: list[Line] = []
        self._news = News()

    def add(self, app: App, function: Function, task_id: str, descriptor: int, text: str) -> None:
        """Keep a line."""
        self.lines.append(Line(app.id, function.id, task_id, descriptor, text))
        self._news.tell()

    def text(self) -> str:
        """Return all that containers wrote: for tests that wonder what went wrong."""
        return "".join(line.text for line in self.lines)

"""One line at a terminal says what is done; what is wrong stays above it."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from rich.console import Console

from apps.core.management.progress import ProgressLine, said


def shown(*records: dict[str, Any]) -> str:
    """Return what a terminal would have been sent."""
    into = io.StringIO()
    with ProgressLine(Console(file=into, force_terminal=True, width=60)) as line:
        for record in records:
            line.tell(json.dumps(record).encode())
            line._status.refresh() if hasattr(line._status, "refresh") else line._status._live.refresh()
    return into.getvalue()


def test_the_line_follows_the_story() -> None:
    """Each step in words; none of the raw lines."""
    text = shown({"level": "info", "event": "adapter.process.start"}, {"level": "info", "event": "http.run.start"})

    assert text.index("starting the processor") < text.index("running")
    assert "adapter.process.start" not in text


def test_warnings_and_errors_are_shown_as_they_are() -> None:
    """They stay above the line."""
    record = {"level": "error", "event": "handler.error", "exception": "x" * 100}

    assert json.dumps(record).replace(" ", "")[:40] in shown(record).replace(" ", "").replace("\n", "")


@pytest.mark.parametrize(
    ("record", "words"),
    [
        ({"event": "handler.progress", "message": "page 2"}, "handler.progress page 2"),
        ({"event": "adapter.environment.uv", "message": "Downloading onnxruntime"}, "uv Downloading onnxruntime"),
        ({"event": "process.log", "message": "Shutting down"}, ""),
        ({}, ""),
    ],
)
def test_what_is_nothing_to_a_person_changes_nothing(record: dict[str, object], words: str) -> None:
    """A handler's own events are shown, uvicorn's are not."""
    assert said(record) == words

"""`run_processor --stream`, as a user types it: a run tells its story while it goes on, and the envelope ends it."""

from __future__ import annotations

import asyncio
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from apps.core.adapters.base import Event
from apps.core.executions import execute
from apps.core.management.progress import LiveStream
from apps.core.request import ExecutionRequest, new_execution_id
from processor_runtime.schemas import validator
from tests.support.executions import OWN, Story, host_in
from tests.support.service import ROOT, WAIT_S

INPUTS: dict[str, Any] = {"schema": "v1", "params": {"messages": [{"role": "user", "content": "one two three"}]}}


def watched(room: Path, inputs: Any) -> tuple[list[Event], dict[str, Any]]:
    """Return the events of one streamed run of llm/chat@1, and its envelope."""
    events: list[Event] = []
    request = ExecutionRequest(ref="llm/chat@1", adapter="process", inputs=inputs, execution_id=new_execution_id())
    envelope = asyncio.run(execute(request, host_in(room, processors=OWN), Story().journal, events.append))
    return events, envelope


def test_what_a_run_tells_is_seen_and_its_envelope_comes_back(tmp_path: Path) -> None:
    """Tokens make up the answer, and each output is told once."""
    events, envelope = watched(tmp_path, INPUTS)

    assert envelope["status"] == "success"
    text = "".join(event.data["text"] for event in events if event.name == "token")
    assert "one two three" in text
    told = [event.data["path"] for event in events if event.name == "output"]
    assert sorted(told) == [row["path"] for row in envelope["outputs"]]
    assert "done" not in {event.name for event in events}


def test_a_refused_stream_tells_nothing_and_answers_its_envelope(tmp_path: Path) -> None:
    """As without --stream."""
    events, envelope = watched(tmp_path, {"schema": "v1", "params": {}})

    assert events == []
    assert envelope["error"]["code"] == "ERR_INPUTS"


@pytest.mark.network
def test_with_json_the_events_are_lines_on_stderr_and_stdout_is_the_envelope(tmp_path: Path) -> None:
    """One line each; the environment of the processor is built as a user's would be."""
    command = [sys.executable, "manage.py", "run_processor", "--ref", "llm/chat@1", "--adapter", "process", "--stream"]
    environ = {name: value for name, value in os.environ.items() if name != "CI"}
    done = subprocess.run(
        [*command, "--json", "--inputs-json", json.dumps(INPUTS)],
        cwd=ROOT / "code",
        env=environ | {"DJANGO_SETTINGS_MODULE": "backend.settings.test", "ARTIFACTS_ROOT": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=WAIT_S * 5,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    assert validator("envelope").is_valid(json.loads(line))
    story = [json.loads(record) for record in done.stderr.splitlines()]
    tokens = [record["text"] for record in story if record["event"] == "stream.token"]
    assert "one two three" in "".join(tokens)


def test_a_terminal_shows_tokens_as_text_and_progress_as_a_bar() -> None:
    """Markup in a model's answer is text."""
    into = io.StringIO()
    with LiveStream(Console(file=into, force_terminal=True, width=80)) as live:
        live.tell(b'{"level": "info", "event": "http.run.start"}')
        live.show(Event("progress", {"fraction": 0.5, "message": "reading [bold]page"}))
        live.show(Event("token", {"text": "first [red]line\nsecond "}))
        live.show(Event("token", {"text": "line"}))
        live.show(Event("output", {"path": "/artifacts/outputs/e1/outputs/a.txt"}))
        live._live.refresh()
    shown = into.getvalue()

    assert "first [red]line" in shown
    assert "second line" in shown
    assert "reading [bold]page" in shown
    assert "50%" in shown
    assert "outputs/a.txt" in shown

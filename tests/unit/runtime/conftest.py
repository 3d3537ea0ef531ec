"""What several files of tests begin with."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from processor_runtime.workspace import Workspace
from tests.unit.runtime.jobs import GENEROUS_S
from tests.unit.runtime.judged import CONTENT, Judged
from tests.unit.runtime.workspaces import Make, workspace_in


@pytest.fixture
def judged(tmp_path: Path) -> Judged:
    """Return rules over a folder with one good file."""
    (tmp_path / "inputs").mkdir()
    (tmp_path / "inputs" / "page.png").write_bytes(CONTENT)
    return Judged(tmp_path)


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    """Return an event loop that runs in a thread of its own."""
    found = asyncio.new_event_loop()
    thread = threading.Thread(target=found.run_forever, daemon=True)
    thread.start()
    yield found
    found.call_soon_threadsafe(found.stop)
    thread.join(GENEROUS_S)
    found.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return where the prefix of a workspace lies on this machine; it is not made yet."""
    return tmp_path / "outputs" / "e1"


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Return a function that makes workspaces, closed afterwards; see `workspace_in`."""
    made: list[Workspace] = []

    def workspace(*args: Any, **changes: Any) -> Workspace:
        made.append(workspace_in(tmp_path, *args, **changes))
        return made[-1]

    yield workspace
    for each in made:
        each.close()


@pytest.fixture
def workspace(make: Make) -> Workspace:
    """Return a workspace whose folder is made and locked."""
    found = make()
    found.make()
    return found

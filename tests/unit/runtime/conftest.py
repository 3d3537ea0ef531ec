"""What several files of tests begin with."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.runtime.jobs import GENEROUS_S
from tests.unit.runtime.judged import CONTENT, Judged


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

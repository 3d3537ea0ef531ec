"""A machine of the test's own, on which no test leaves a container behind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from apps.core.host import Host
from tests.support.executions import Story
from tests.support.local import Boxes, there


@pytest.fixture
def host(tmp_path: Path, boxes: Boxes) -> Iterator[Host]:
    """Give this machine, writing below a folder of the test's own; its containers are gone when the test is."""
    machine = boxes.host(tmp_path)
    yield machine
    assert there(machine) == []


@pytest.fixture
def story() -> Story:
    """Return what the journal is told."""
    return Story()

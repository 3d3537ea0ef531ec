"""The kit starts services, and says why one does not begin."""

from __future__ import annotations

import asyncio
import os
import sys

import pytest

from processor_conformance import launch
from processor_conformance.launch import Started
from processor_conformance.outcome import FailedError
from processor_conformance.ports import free_port


def test_a_process_that_ends_before_it_listens_is_told_with_its_last_words() -> None:
    """Nobody waits for it any longer."""

    async def start() -> None:
        words = [sys.executable, "-c", "import sys; print('no luck', file=sys.stderr); sys.exit(3)"]
        started = await Started.of(words, free_port(), dict(os.environ))
        await started.until_listening()

    with pytest.raises(FailedError, match="it ended with status 3: no luck"):
        asyncio.run(start())


def test_a_variable_may_go_while_a_service_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test runner names the running test in one, and services start in threads."""

    class Leaving(dict[str, str]):
        """The environment in the moment in which another thread removes a variable."""

        def get(self, name: str, default: str | None = None) -> str | None:  # type: ignore[override]
            self.pop("GONE", None)
            return super().get(name, default)

    monkeypatch.setattr(os, "environ", Leaving(GONE="x", KEPT="y"))

    assert launch._environment() == {"KEPT": "y"}

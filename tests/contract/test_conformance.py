"""The conformance kit's verdict on every processor here, on one whose handler helps it, and on one in another language.

Reports are left in `var/conformance`, one JSON file a processor.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from apps.core.adapters.journal import Journal
from apps.core.adapters.process import venvs
from tests.contract.conftest import Tell
from tests.contract.discovery import discovered
from tests.contract.verdict import verdict
from tests.support.service import FIXTURES, ROOT

FOREIGN = ROOT / "tests" / "foreign" / "node_processor"
JUDGED = Path(__file__).with_name("judged")


@dataclass(frozen=True)
class Judged:
    """One processor before the judge: its folder, and its examples where it has any."""

    folder: Path
    examples: Path | None = None

    def command(self) -> str:
        """Return what starts it; with a lock, in an environment of its own, as the process adapter makes it."""
        if self.folder == FOREIGN:
            return "node server.mjs"
        python: str | Path = sys.executable
        lock = self.folder / "requirements.txt"
        if lock.exists():
            python = asyncio.run(venvs.environment(lock, ROOT / "var" / "venvs", os.environ, Journal()))
        return f"{shlex.quote(str(python))} -m uvicorn app.http:app --host 127.0.0.1 --port {{port}}"


def all_judged() -> list[Judged]:
    """Return every processor of the repository, the kit's own, and the foreign one."""
    ours = [Judged(folder, examples) for folder in discovered() for examples in [JUDGED / f"{folder.name}.json"]]
    kit = Judged(FIXTURES / "kit_echo", FIXTURES / "kit_echo" / "examples.json")
    return [*ours, kit, Judged(FOREIGN, FOREIGN / "examples.json")]


@pytest.mark.slow
@pytest.mark.network
@pytest.mark.parametrize("judged", [pytest.param(each, id=each.folder.name) for each in all_judged()])
def test_the_kit_finds_no_broken_promise(judged: Judged, tmp_path: Path, tell: Tell) -> None:
    """What it could not reach is not checked, and what it reached has passed."""
    if judged.folder == FOREIGN:
        assert shutil.which("node"), "the foreign processor needs Node.js 20 on PATH"
    words = ["--start", judged.command(), "--cwd", str(judged.folder)]
    words += ["--env", f"PYTHONPATH={ROOT / 'code' / 'runtime' / 'src'}"]
    if judged.examples is not None and judged.examples.exists():
        words += ["--inputs-file", str(judged.examples)]

    found = verdict(judged.folder.name, *words, cwd=tmp_path)

    tell("processors", [found.in_short()])
    assert found.failed == {}
    assert found.status == 0, found.story
    assert len(found.passed) > len(found.checks) // 2

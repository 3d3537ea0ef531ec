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
from processor_conformance.outcome import Outcome
from tests.contract.conftest import Tell
from tests.contract.discovery import discovered
from tests.contract.verdict import verdict
from tests.support.service import FIXTURES, ROOT, Service

FOREIGN = ROOT / "tests" / "foreign" / "node_processor"
JUDGED = Path(__file__).with_name("judged")
SOME = ["C-ROUTE", "C-TOKEN", "C-REQ-2", "C-REQ-54", "C-ENV", "C-ART-0", "C-SAME-0", "C-DRAIN", "C-LOG"]  # U, A and L


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


@pytest.mark.slow
def test_a_url_and_the_artifacts_folder_are_enough_for_what_needs_no_start(tmp_path: Path) -> None:
    """A service that somebody else has started, with its token: class L is not checked, and all else is."""
    kit = FIXTURES / "kit_echo"
    with Service(kit, tmp_path / "service", {"PROCESSOR_TOKEN": "some-token-of-ours"}) as service:
        where = [f"http://127.0.0.1:{service.port}", "--token", "some-token-of-ours"]
        folder = ["--artifacts", str(service.artifacts), "--inputs-file", str(kit / "examples.json")]
        found = verdict("kit_echo-url", *where, *folder, "--only", ",".join(SOME), cwd=tmp_path)

    assert found.failed == {}
    assert found.status == 0, found.story
    of_class = {row["id"]: row["class"] for row in found.checks}
    assert {of_class[name] for name in found.passed} == {"U", "A"}
    assert [row["id"] for row in found.with_outcome(Outcome.NOT_CHECKED) if "--artifacts" in row["reason"]] == []

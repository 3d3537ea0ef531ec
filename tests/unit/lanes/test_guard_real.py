"""`make guard-real` fails as soon as one door lets `real` through in CI."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from scripts import guard_real

REFUSAL = {"status": "error", "error": {"code": "ERR_CI_SAFETY"}}


@pytest.mark.slow
def test_every_door_is_shut(capsys: pytest.CaptureFixture[str]) -> None:
    """Each processor by each adapter, Docker or not, account or not."""
    assert guard_real.main() == 0

    lines = capsys.readouterr().out.splitlines()
    assert {"doc/ocr@1 by modal", "llm/chat@1 by process"} <= {line.partition(":")[0] for line in lines}
    assert len(lines) % len(guard_real.ADAPTERS) == 0


@pytest.mark.parametrize(
    ("answer", "status", "story", "complaint"),
    [
        pytest.param({"status": "success"}, 0, "", "exit status 0 and success", id="it ran"),
        pytest.param(
            {"status": "error", "error": {"code": "ERR_DOCKER"}}, 1, "", "and ERR_DOCKER, not", id="another reason"
        ),
        pytest.param(REFUSAL, 0, "", "exit status 0 and ERR_CI_SAFETY", id="a refusal that looks like a success"),
        pytest.param(REFUSAL, 1, "adapter.local.start", "but not before it began", id="too late"),
        pytest.param("", 2, "usage", "no envelope, but", id="nothing"),
    ],
)
def test_an_open_door_is_found(
    tmp_path: Path, *, answer: object, status: int, story: str, complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever else the command does than refuse at once."""
    text = json.dumps(answer) if answer else ""
    command = tmp_path / "manage.py"
    command.write_text(
        f"import sys; sys.stdout.write({text!r}); sys.stderr.write({story!r}); sys.exit({status})", encoding="utf-8"
    )

    assert guard_real.main([sys.executable, str(command)]) == 1
    assert complaint in capsys.readouterr().out

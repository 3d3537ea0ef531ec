"""The kit as a whole: a service that keeps every promise fails no check, and every check that can be is made."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
ECHO = ROOT / "tests/support/processors/kit_echo"
NEVER = {"C-HEALTH-08", "C-TOKEN-06", "C-REQ-55", "C-LOG-10"}


@pytest.mark.slow
def test_a_service_that_keeps_every_promise_fails_no_check(tmp_path: Path) -> None:
    """Only what nobody can see, and what needs an image, is not checked."""
    report = tmp_path / "report.json"
    command = f"{sys.executable} -m uvicorn app.http:app --host 127.0.0.1 --port {{port}}"
    words = [sys.executable, "-m", "processor_conformance", "--start", command, "--cwd", str(ECHO)]
    words += ["--inputs-file", str(ECHO / "examples.json"), "--report", f"json={report}"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)

    checks = json.loads(report.read_text(encoding="utf-8"))["checks"]
    assert [(row["id"], row["seen"]) for row in checks if row["outcome"] == "failed"] == []
    assert done.returncode == 0, done.stderr
    left = {row["id"] for row in checks if row["outcome"] != "passed"}
    assert left == NEVER | {row["id"] for row in checks if row["id"].startswith("C-IMAGE")}

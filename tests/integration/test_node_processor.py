"""The processor that is not ours: it starts, runs, refuses and ends. The conformance kit judges the rest of it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

FOLDER = Path(__file__).resolve().parents[1] / "foreign" / "node_processor"
STARTS_WITHIN_S = 60
DIGEST = "sha256:" + "0f" * 32


def _is_ci() -> bool:
    """Return whether the tests were started in CI; `tests/conftest.py` has removed `CI` from `os.environ` by now."""
    began_with = Path("/proc/self/environ")
    if not began_with.exists():
        return bool(os.environ.get("CI"))
    pairs = dict(pair.partition("=")[::2] for pair in began_with.read_text(errors="replace").split("\0"))
    return pairs.get("CI", "").strip().lower() not in {"", "0", "false", "no", "off"}


@pytest.fixture
def node() -> str:
    """The Node.js to start it with; without one this skips on a laptop and fails in CI."""
    found = shutil.which("node")
    if found is None and _is_ci():
        pytest.fail("CI has to have node, or nobody notices that the foreign processor is broken")
    if found is None:
        pytest.skip("there is no node on PATH, which tests/foreign/node_processor needs")
    return found


class Foreign:
    """The foreign processor on a free port."""

    def __init__(self, node: str, room: Path) -> None:
        with socket.socket() as chosen:
            chosen.bind(("127.0.0.1", 0))
            port = chosen.getsockname()[1]
        self.artifacts = room / "artifacts"
        self.streams = (room / "stdout", room / "stderr")
        environ = {
            "PATH": os.environ["PATH"],
            "PORT": str(port),
            "IMAGE_DIGEST": DIGEST,
            "PROCESSOR_ARTIFACTS_DIR": str(self.artifacts),
        }
        with self.streams[0].open("wb") as stdout, self.streams[1].open("wb") as stderr:
            self.process = subprocess.Popen([node, "server.mjs"], cwd=FOLDER, env=environ, stdout=stdout, stderr=stderr)
        self.http = httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False)

    def wait_until_ready(self) -> None:
        """Return once `/healthz` says ok."""
        ends = time.monotonic() + STARTS_WITHIN_S
        while time.monotonic() < ends:
            assert self.process.poll() is None, self.streams[1].read_text()
            try:
                if self.http.get("/healthz").json() == {"ok": True}:
                    return
            except httpx2.ConnectError:
                pass
            time.sleep(0.02)
        pytest.fail(f"not ready within {STARTS_WITHIN_S} s: {self.streams[1].read_text()}")

    def run(self, **changes: object) -> httpx2.Response:
        """Return the answer to one request."""
        request = {
            "schema": "v1",
            "execution_id": "e1",
            "write_prefix": "/artifacts/outputs/{execution_id}/",
            "mode": "mock",
            "inputs": {"schema": "v1", "params": {"text": "grüße"}},
        }
        return self.http.post("/run", json=request | changes)

    def end(self) -> int:
        """Send SIGTERM and return the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STARTS_WITHIN_S)


@pytest.fixture
def foreign(node: str, tmp_path: Path) -> Iterator[Foreign]:
    """The processor, ready."""
    service = Foreign(node, tmp_path)
    try:
        service.wait_until_ready()
        yield service
    finally:
        service.http.close()
        service.process.kill()
        service.process.wait()


def test_it_runs_and_leaves_what_its_envelope_names(foreign: Foreign) -> None:
    """A success has its output, index and receipt in the artifacts folder when the answer is there."""
    answer = foreign.run()
    envelope: dict[str, Any] = answer.json()

    assert (answer.status_code, envelope["status"]) == (200, "success"), envelope
    assert envelope["meta"]["image_digest"] == DIGEST
    folder = foreign.artifacts / "outputs" / "e1"
    assert (folder / "outputs" / "echo.txt").read_text("utf-8") == "grüße"
    assert json.loads((folder / "outputs.json").read_bytes())["outputs"] == envelope["outputs"]
    assert json.loads((folder / "receipt.json").read_bytes())["envelope"] == envelope


def test_it_refuses_what_the_contract_refuses_and_writes_nothing(foreign: Foreign) -> None:
    """A refusal is one error envelope with the contract's status, code and message."""
    answer = foreign.run(write_prefix="/etc/e1/")
    envelope = answer.json()

    assert answer.status_code == 400
    assert (envelope["execution_id"], envelope["error"]["code"]) == ("e1", "ERR_WRITE_PREFIX")
    assert envelope["error"]["message"] == "write_prefix not allowed"
    assert not foreign.artifacts.exists()


def test_it_ends_on_sigterm_with_an_empty_stdout_and_ndjson_on_stderr(foreign: Foreign) -> None:
    """All that was told is in lines of the contract's form, from the first one to the last."""
    foreign.run()

    assert foreign.end() == 0
    stdout, stderr = (stream.read_bytes() for stream in foreign.streams)
    assert stdout == b""
    lines = [json.loads(line) for line in stderr.splitlines()]
    assert {"http.run.start", "http.run.settle"} <= {line["event"] for line in lines}
    assert all(line.keys() >= {"ts", "level", "event", "ref"} for line in lines)

"""`make audit` finds an advisory about a pinned package, and says by name when nobody could be asked."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from scripts import audit

pytestmark = pytest.mark.slow  # each question starts pip-audit anew

HASH = f"--hash=sha256:{hashlib.sha256(b'').hexdigest()}"
ADVISORY = {
    "id": "PYSEC-2026-1",
    "summary": "a hole",
    "affected": [
        {
            "package": {"name": "holey", "ecosystem": "PyPI"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "1.1"}]}],
        }
    ],
}


class Source(BaseHTTPRequestHandler):
    """An advisory source in OSV's form that knows one hole."""

    def do_POST(self) -> None:
        """Answer one query."""
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        found: dict[str, Any] = {"vulns": [ADVISORY]} if asked["package"]["name"] == "holey" else {}
        body = json.dumps(found).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def source(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let `osv` be a source on this machine, and leave no other to ask."""
    with HTTPServer(("127.0.0.1", 0), Source) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("OSV_URL", f"http://127.0.0.1:{server.server_port}/v1/query")
        monkeypatch.setattr(audit, "SOURCES", ("osv",))
        yield
        server.shutdown()


def lock(folder: Path, *names: str) -> str:
    """Return the path of a lock that pins version 1.0 of *names*."""
    path = folder / "lock.txt"
    path.write_text("".join(f"{name}==1.0 \\\n    {HASH}\n" for name in names), encoding="utf-8")
    return str(path)


@pytest.mark.usefixtures("source")
def test_an_advisory_fails_the_audit_and_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With the package, its version, and the one that is fixed."""
    assert audit.main([lock(tmp_path, "sound", "holey")]) == 1

    printed = capsys.readouterr().out
    assert "2 packages judged by osv, 0 unknown to it, 1 advisories" in printed
    assert "  holey 1.0: PYSEC-2026-1, fixed in 1.1\n" in printed


@pytest.mark.usefixtures("source")
def test_a_lock_without_advisories_passes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And says how many packages were judged: none would be no answer."""
    assert audit.main(["--require", lock(tmp_path, "sound")]) == 0
    assert "1 packages judged by osv" in capsys.readouterr().out


@pytest.mark.parametrize(("required", "status"), [([], 0), (["--require"], 1)], ids=["a laptop", "required"])
def test_where_nobody_answers_it_says_so(
    required: list[str],
    status: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A skip has its reason; where an answer is required, it is a failure."""
    with HTTPServer(("127.0.0.1", 0), Source) as server:
        free = server.server_port
    monkeypatch.setenv("OSV_URL", f"http://127.0.0.1:{free}/v1/query")
    monkeypatch.setattr(audit, "SOURCES", ("osv",))

    assert audit.main([*required, lock(tmp_path, "sound")]) == status

    printed = capsys.readouterr().out
    assert printed.startswith("osv does not answer: ")
    assert printed.endswith("audit skipped: no advisory source answers from this machine\n")

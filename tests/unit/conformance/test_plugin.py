"""The pytest plugin: each check is one test."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.unit.conformance.servers import Reader, Writer, serving

OK = b'HTTP/1.1 200 OK\r\nContent-Length: 12\r\nConnection: close\r\n\r\n{"ok": true}'


async def healthy(reader: Reader, writer: Writer) -> None:
    """Be healthy, whatever is asked."""
    await reader.readuntil(b"\r\n\r\n")
    writer.write(OK)
    await writer.drain()


def run(folder: Path, *arguments: str) -> tuple[int, str]:
    """Return status and output of pytest with the plugin and nothing of this project."""
    (folder / "pytest.ini").touch()
    words = [sys.executable, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider"]
    done = subprocess.run([*words, *arguments], cwd=folder, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def test_each_check_is_a_test(tmp_path: Path) -> None:
    """Passed, failed with what was seen, skipped with what it would need; tests beside it are left alone."""
    (tmp_path / "test_other.py").write_text("def test_other(): raise RuntimeError\n", encoding="utf-8")
    with serving(healthy) as url:
        status, output = run(
            tmp_path, "--conformance-url", url, "--conformance-only", "C-HEALTH-01,C-HEALTH-05,C-ROUTE-01"
        )

    assert status == 1, output
    assert "1 failed, 1 passed, 1 skipped" in output
    assert "expected: 404 ERR_NOT_FOUND" in output
    assert 'not checked: needs an example "slow"' in output
    assert "Traceback" not in output


def test_without_a_service_it_stays_out_of_the_way(tmp_path: Path) -> None:
    """It is loaded in every run of pytest where the kit is installed."""
    (tmp_path / "test_other.py").write_text("def test_other(): pass\n", encoding="utf-8")

    assert run(tmp_path)[0] == 0


def test_wrong_usage_is_said(tmp_path: Path) -> None:
    """Pytest's own status for it is 4."""
    status, output = run(tmp_path, "--conformance-url", "kit")

    assert status == 4
    assert "not an address" in output

"""What can be said of the process adapter without a process."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest

from apps.core.adapters.process.adapter import LONGEST_SOCKET, private_folder


def test_the_folder_is_private_and_its_name_short_enough_for_a_socket() -> None:
    """Only this user may enter."""
    folder = private_folder()
    try:
        assert folder.stat().st_mode & 0o777 == 0o700
        assert len(str(folder / "s")) < LONGEST_SOCKET
    finally:
        folder.rmdir()


def test_a_long_tmpdir_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel refuses a socket whose path is longer than 108 bytes; some machines have such a TMPDIR."""
    long = tmp_path / ("x" * LONGEST_SOCKET)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))

    folder = private_folder()
    try:
        assert folder.parent == Path("/tmp")
        assert list(long.iterdir()) == []
    finally:
        shutil.rmtree(folder)

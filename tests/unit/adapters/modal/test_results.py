"""The address of a result is kept for the request that it answers, and for no other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from apps.core.adapters.modal.results import Kept

URL = "https://a.modal.run/run?__modal_function_call_id=fc-1"
PAYLOAD: dict[str, Any] = {"execution_id": "e1", "inputs": {"params": {"text": "hello"}}}


def kept(folder: Path, path: str = "/run", app: str = "app", **changes: object) -> Kept:
    """Return where the result of a request is kept."""
    return Kept.of(folder, app, path, {**PAYLOAD, **changes})


def test_the_same_request_finds_it_until_it_is_forgotten(tmp_path: Path) -> None:
    """A caller that was started again knows nothing but the request."""
    assert kept(tmp_path).load() is None

    kept(tmp_path).save(URL)

    assert kept(tmp_path).load() == URL
    assert [file.name for file in (tmp_path / "app").iterdir()] == ["e1.json"]

    kept(tmp_path).forget()

    assert kept(tmp_path).load() is None
    assert list((tmp_path / "app").iterdir()) == []
    kept(tmp_path).forget()


@pytest.mark.parametrize(
    "other",
    [
        pytest.param({"path": "/run-stream"}, id="another route"),
        pytest.param({"app": "other"}, id="another app"),
        pytest.param({"execution_id": "e2"}, id="another execution"),
        pytest.param({"inputs": {"params": {"text": "bye"}}}, id="other inputs"),
    ],
)
def test_another_request_does_not_find_it(other: dict[str, Any], tmp_path: Path) -> None:
    """It would be given somebody else's result."""
    kept(tmp_path).save(URL)

    assert kept(tmp_path, **other).load() is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"url": "x"}', '{"url": "x", "payload_sha256": "y"}'])
def test_a_file_that_says_something_else_is_nothing(text: str, tmp_path: Path) -> None:
    """Then the processor is asked."""
    file = kept(tmp_path).file
    file.parent.mkdir(parents=True)
    file.write_text(text, encoding="utf-8")

    assert kept(tmp_path).load() is None


def test_a_disk_that_takes_nothing_costs_the_convenience_alone(tmp_path: Path) -> None:
    """The run goes on."""
    (tmp_path / "app").write_text("no folder", encoding="utf-8")

    kept(tmp_path).save(URL)
    kept(tmp_path).forget()

    assert kept(tmp_path).load() is None


def test_only_this_user_may_read_it(tmp_path: Path) -> None:
    """Who has the address, and a proxy token, has the result."""
    kept(tmp_path).save(URL)

    assert kept(tmp_path).file.stat().st_mode & 0o077 == 0

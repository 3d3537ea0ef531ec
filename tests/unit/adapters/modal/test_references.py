"""Which files go to Modal: those that the payload refers to and that lie here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from apps.core.adapters.modal.references import carried, is_below

SHA = "a" * 64


def reference(path: str) -> dict[str, str]:
    """Return a file reference."""
    return {"$artifact": path, "sha256": SHA}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return an artifacts folder with one input."""
    (tmp_path / "inputs" / SHA).mkdir(parents=True)
    (tmp_path / "inputs" / SHA / "page").write_bytes(b"x")
    (tmp_path / "outputs").mkdir()
    (tmp_path / "outputs" / "a").write_bytes(b"x")
    return tmp_path


def carried_of(params: Any, root: Path) -> list[str]:
    """Return what is carried for a request with *params*."""
    return carried({"inputs": {"schema": "v1", "params": params}}, root)


def test_each_file_is_carried_once_wherever_it_is_named(root: Path) -> None:
    """Deep in the params, and twice."""
    path = f"/artifacts/inputs/{SHA}/page"

    assert carried_of({"a": [reference(path), {"b": reference(path)}]}, root) == [path]


@pytest.mark.parametrize(
    "params",
    [
        pytest.param({"a": reference("/artifacts/inputs/absent")}, id="not here"),
        pytest.param({"a": reference("/artifacts/outputs/a")}, id="no input"),
        pytest.param({"a": reference("/artifacts/inputs/../outputs/a")}, id="out of the inputs"),
        pytest.param({"a": reference("/etc/passwd")}, id="of this machine"),
        pytest.param({"a": reference("/artifacts/inputs/a\0")}, id="NUL"),
        pytest.param({"a": {**reference(f"/artifacts/inputs/{SHA}/page"), "more": 1}}, id="another key"),
        pytest.param({"a": {"$artifact": 1, "sha256": SHA}}, id="no path"),
        pytest.param(None, id="no params"),
    ],
)
def test_what_is_no_reference_to_an_input_here_stays(params: Any, root: Path) -> None:
    """The processor judges it."""
    assert carried_of(params, root) == []


@pytest.mark.parametrize("path", ["/a/b", "/a/b/c"])
def test_a_path_below(path: str) -> None:
    """Well formed."""
    assert is_below("/a/", path)


@pytest.mark.parametrize("path", ["/a/", "/b/c", "/a//b", "/a/./b", "/a/../b", "/a/b/", "a/b", "/a/\0"])
def test_a_path_that_is_not_below(path: str) -> None:
    """Elsewhere, or malformed."""
    assert not is_below("/a/", path)

"""`--inputs-file`: one example or several by name, and files that go with them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from processor_conformance.examples import ExamplesError, load

INPUTS = {"schema": "v1", "params": {"text": "hi"}}


def write(folder: Path, document: Any) -> Path:
    """Return a file that holds *document*."""
    path = folder / "examples.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "document",
    [INPUTS, {"inputs": INPUTS}, {"execution_id": "e1", "mode": "mock", "inputs": INPUTS}, {"valid": INPUTS}],
    ids=["inputs", "an object with inputs", "a request", "by name"],
)
def test_an_example_may_be_written_in_several_ways(tmp_path: Path, document: Any) -> None:
    """What a user has at hand is taken."""
    example = load(write(tmp_path, document))["valid"]

    assert (example.inputs, example.mode, dict(example.env)) == (INPUTS, "mock", {})


def test_an_example_says_its_mode_and_environment(tmp_path: Path) -> None:
    """Set-up is provoked by the environment."""
    document = {"setup_slow": {"mode": "real", "env": {"A": "b"}, "inputs": INPUTS}}
    example = load(write(tmp_path, document))["setup_slow"]

    assert (example.mode, dict(example.env)) == ("real", {"A": "b"})


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ("{", "examples.json"),
        ([], "must be an object"),
        ({"fast": INPUTS}, "unknown names"),
        ({"valid": 1}, "must be inputs"),
        ({"valid": {"inputs": 1}}, "must be inputs"),
        ({"valid": {"inputs": INPUTS, "mode": "dream"}}, "`mode`"),
        ({"valid": {"inputs": INPUTS, "env": {"A": 1}}}, "`env`"),
    ],
    ids=["no JSON", "a list", "unknown name", "no inputs", "inputs of another type", "mode", "env"],
)
def test_what_cannot_be_used_is_said(tmp_path: Path, document: Any, says: str) -> None:
    """A file that is silently ignored would leave checks out."""
    with pytest.raises(ExamplesError, match=says):
        load(write(tmp_path, document))


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    """Its name was mistyped."""
    with pytest.raises(ExamplesError, match=r"none\.json"):
        load(tmp_path / "none.json")


def test_an_attached_file_becomes_a_reference(tmp_path: Path) -> None:
    """The kit puts it where the service finds it, named by its content."""
    (tmp_path / "page.txt").write_bytes(b"page")
    artifacts = tmp_path / "artifacts"
    document = {"schema": "v1", "params": {"pages": [{"$attach": "page.txt"}]}}
    example = load(write(tmp_path, document))["valid"]

    digest = hashlib.sha256(b"page").hexdigest()
    reference = {"$artifact": f"/artifacts/inputs/{digest}/page.txt", "sha256": digest}
    assert example.attaches
    assert example.placed(artifacts)["params"] == {"pages": [reference]}
    assert (artifacts / "inputs" / digest / "page.txt").read_bytes() == b"page"
    assert example.placed(artifacts)["params"] == {"pages": [reference]}


def test_an_attached_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    """Else the service would be blamed."""
    example = load(write(tmp_path, {"schema": "v1", "params": {"page": {"$attach": "none.txt"}}}))["valid"]

    with pytest.raises(ExamplesError, match=r"none\.txt"):
        example.placed(tmp_path / "artifacts")

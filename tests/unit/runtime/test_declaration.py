"""What a service needs of its registry.yaml is read, with defaults; what it cannot use stops it by name."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processor_runtime.declaration import Declaration, DeclarationError, Output
from tests.unit.runtime.json_values import values

MINIMAL: dict[str, Any] = {"ref": "ns/name@1", "inputs": {"type": "object"}, "outputs": []}
FULL: dict[str, Any] = {
    "ref": "ns/name@2",
    "build": {"context": "."},
    "image": {"platforms": {"amd64": "r@sha256:" + "a" * 64}, "default_platform": "amd64"},
    "runtime": {"cpu": "2", "memory_gb": 4, "timeout_s": 30, "gpu": "T4", "concurrency": 3},
    "secrets": {"required": ["A_KEY"], "optional": ["B_KEY", "C_KEY"]},
    "inputs": {"type": "object", "properties": {"n": {"type": "integer"}}},
    "outputs": [
        {"path": "outputs/a.txt", "mime": "text/plain", "description": "text"},
        {"path": "outputs/b.json", "mime": "application/json", "description": "maybe", "optional": True},
        {"path": "outputs/pages/*.png", "mime": "image/png", "description": "pages"},
    ],
}
FINGERPRINTS = [
    pytest.param({}, "cpu:1;memory:1Gi", id="defaults"),
    pytest.param({"cpu": "1", "memory_gb": 2}, "cpu:1;memory:2Gi", id="whole numbers"),
    pytest.param({"cpu": "0.5", "memory_gb": 0.5}, "cpu:0.5;memory:0.5Gi", id="fractions"),
    pytest.param({"cpu": "2", "memory_gb": 2.0}, "cpu:2;memory:2Gi", id="the shortest decimal of a float"),
    pytest.param({"cpu": "2", "memory_gb": 1.25}, "cpu:2;memory:1.25Gi", id="two digits"),
    pytest.param({"cpu": "2", "memory_gb": 0.1}, "cpu:2;memory:0.1Gi", id="a tenth"),
    pytest.param({"cpu": "2", "memory_gb": 1048576}, "cpu:2;memory:1048576Gi", id="a large whole number"),
    pytest.param({"cpu": "2", "memory_gb": 16.123456789}, "cpu:2;memory:16.123456789Gi", id="many digits"),
    pytest.param({"cpu": "4", "memory_gb": 8, "gpu": "A10G"}, "cpu:4;gpu:A10G;memory:8Gi", id="a GPU, sorted"),
    pytest.param({"cpu": "4", "memory_gb": 8, "gpu": None}, "cpu:4;memory:8Gi", id="no GPU asked for"),
]
UNUSABLE = [
    pytest.param([], id="a list"),
    pytest.param(None, id="nothing"),
    pytest.param("ns/name@1", id="a string"),
    pytest.param({"inputs": {}, "outputs": []}, id="no ref"),
    pytest.param({"ref": "ns/name@1", "outputs": []}, id="no inputs"),
    pytest.param({"ref": "ns/name@1", "inputs": {}}, id="no outputs"),
    pytest.param(MINIMAL | {"ref": "latest"}, id="not a ref"),
    pytest.param(MINIMAL | {"ref": 1}, id="a ref that is a number"),
    pytest.param(MINIMAL | {"runtime": "big"}, id="a runtime that is a string"),
    pytest.param(MINIMAL | {"secrets": "A_KEY"}, id="secrets that are a string"),
    pytest.param(MINIMAL | {"inputs": "object"}, id="inputs that are a string"),
    pytest.param(MINIMAL | {"outputs": {"path": "outputs/a"}}, id="outputs that are an object"),
    pytest.param(MINIMAL | {"outputs": [{"mime": "a/b"}]}, id="an output without a path"),
    pytest.param(MINIMAL | {"outputs": [{"path": "outputs/a"}]}, id="an output without a media type"),
]


def test_everything_that_is_declared_is_there() -> None:
    """Runtime, secrets, inputs and outputs, in the order of the file."""
    found = Declaration.parse(FULL)

    assert str(found.ref) == "ns/name@2"
    assert (found.runtime.cpu, found.runtime.memory_gb, found.runtime.gpu) == ("2", 4, "T4")
    assert (found.runtime.timeout_s, found.runtime.concurrency) == (30, 3)
    assert (found.required_secrets, found.optional_secrets) == (("A_KEY",), ("B_KEY", "C_KEY"))
    assert found.secrets == ("A_KEY", "B_KEY", "C_KEY")
    assert found.inputs == FULL["inputs"]
    assert [output.path for output in found.outputs] == ["outputs/a.txt", "outputs/b.json", "outputs/pages/*.png"]
    assert [output.required for output in found.outputs] == [True, False, False]


def test_what_is_not_declared_has_its_default() -> None:
    """One slot, no secrets, no GPU."""
    found = Declaration.parse(MINIMAL)

    assert (found.runtime.concurrency, found.runtime.gpu, found.secrets) == (1, None, ())
    assert found.runtime.timeout_s > 0


def test_the_document_holds_behaviour_and_not_the_pins() -> None:
    """What an image carries must not change when it is pinned."""
    assert Declaration.parse(FULL).document.keys() == FULL.keys() - {"image"}


@pytest.mark.parametrize(("runtime", "fingerprint"), FINGERPRINTS)
def test_the_fingerprint_is_sorted_parts_with_the_shortest_decimals(runtime: dict[str, Any], fingerprint: str) -> None:
    """CONTRACT section 3."""
    assert Declaration.parse(MINIMAL | {"runtime": runtime}).env_fingerprint == fingerprint


@pytest.mark.parametrize(
    ("path", "matches"),
    [
        ("outputs/a.txt", True),
        ("outputs/pages/1.png", False),
        ("outputs/a-txt", False),
        ("outputs/a.txt\n", False),
        ("outputs/a.txt/b", False),
    ],
)
def test_a_plain_output_matches_its_own_path_only(path: str, matches: object) -> None:
    """A dot is a dot."""
    assert bool(Output("outputs/a.txt", "text/plain", "", optional=False).pattern().fullmatch(path)) is matches


@pytest.mark.parametrize(
    ("path", "matches"),
    [
        ("outputs/pages/1.png", True),
        ("outputs/pages/.png", True),
        ("outputs/pages/a b (2).png", True),
        ("outputs/pages/1\n2.png", True),
        ("outputs/pages/1.jpg", False),
        ("outputs/pages/1/2.png", False),
        ("outputs/1.png", False),
    ],
)
def test_a_star_stays_within_its_segment(path: str, matches: object) -> None:
    """Zero or more characters, none of them a slash."""
    assert bool(Output("outputs/pages/*.png", "image/png", "", optional=False).pattern().fullmatch(path)) is matches


def test_a_file_may_be_json_or_yaml(tmp_path: Path) -> None:
    """An image carries it as JSON, a repository as YAML; both say the same."""
    as_json, as_yaml = tmp_path / "json.yaml", tmp_path / "yaml.yaml"
    as_json.write_text(json.dumps(FULL))
    as_yaml.write_text("# a comment\n" + "\n".join(f"{key}: {json.dumps(value)}" for key, value in FULL.items()))

    assert Declaration.load(as_json) == Declaration.load(as_yaml) == Declaration.parse(FULL)


@pytest.mark.parametrize("document", UNUSABLE)
def test_a_document_that_cannot_be_used_is_refused(document: Any) -> None:
    """With a message that names the file."""
    with pytest.raises(DeclarationError, match=r"required|another shape|a ref looks like|cannot be read"):
        Declaration.parse(document)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"- a\n- b\n", b"ref: [", b"\xff\xfe", b"ref: ns/name@1\nref: ns/name@2\n", b"!!python/object:os.x {}"],
)
def test_a_file_that_cannot_be_parsed_is_refused(tmp_path: Path, content: bytes) -> None:
    """Whatever the parser raises means the same to a service that starts."""
    (tmp_path / "registry.yaml").write_bytes(content)

    with pytest.raises(DeclarationError, match=r"required|another shape|a ref looks like|cannot be read"):
        Declaration.load(tmp_path / "registry.yaml")


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    """A directory is no file either."""
    with pytest.raises(DeclarationError, match=r"required|another shape|a ref looks like|cannot be read"):
        Declaration.load(tmp_path / "registry.yaml")
    with pytest.raises(DeclarationError):
        Declaration.load(tmp_path)


@settings(max_examples=40)
@given(st.dictionaries(st.sampled_from([*FULL, "other"]), values))
def test_nothing_but_a_declaration_error_comes_out_of_any_document(document: dict[str, Any]) -> None:
    """A service answers one line, never a traceback."""
    with contextlib.suppress(DeclarationError):
        Declaration.parse(document)

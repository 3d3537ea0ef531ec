"""Whatever a registry file holds, it is a registration or a list of problems, each with a place; never a crash."""

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from apps.core.registry import RegistryInvalidError, load_registration
from apps.core.registry.document import load_document
from apps.core.registry.load import check
from tests.unit.registry.conftest import GOOD

DOCUMENT: dict[str, Any] = YAML(typ="safe", pure=True).load(GOOD)

# What a slip or malice may put in the place of a right value
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["#", "$ref", "outputs/a", "outputs/*", "CI", "A", "1", "0", "a@sha256:" + "a" * 64]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=8) | st.sampled_from(["$ref", "type", "properties"]), inner, max_size=3)
    ),
    max_leaves=6,
)


def _paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in members:
        yield from _paths(item, (*path, key))


def _replaced(path: tuple[Any, ...], value: Any) -> Any:
    document = copy.deepcopy(DOCUMENT)
    if not path:
        return value
    holder: Any = document
    for step in path[:-1]:
        holder = holder[step]
    holder[path[-1]] = value
    return document


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a path that is written again for every example."""
    folder = tmp_path_factory.mktemp("processors") / "llm_chat"
    folder.mkdir()
    return folder / "registry.yaml"


def _agree(file: Path) -> None:
    """Check that the file is a registration exactly when it has no problem, and that every problem has its place."""
    _, problems = check(file)
    lines = file.read_bytes().count(b"\n") + 1
    for problem in problems:
        assert problem.file == file
        assert 1 <= problem.line <= lines
        assert problem.field == "" or problem.field.startswith("/")
        assert problem.reason
        assert "\n" not in str(problem)
    assert len({(problem.line, problem.field, problem.reason) for problem in problems}) == len(problems)
    if problems:
        with pytest.raises(RegistryInvalidError):
            load_registration(file.parent)
    else:
        assert str(load_registration(file.parent).ref) == "llm/chat@1"


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(path=st.sampled_from(sorted(_paths(DOCUMENT), key=str)), value=values)
@example(path=("inputs",), value={"$ref": "#"})
@example(path=("inputs",), value={"properties": {"a": {"$ref": "#/properties/a"}}})
@example(path=("inputs",), value={"$id": "http://example.com/a", "$ref": "#/definitions/b"})
@example(path=("runtime", "memory_gb"), value=10**400)
@example(path=("outputs", 0, "path"), value="outputs/\ud800")
@example(path=("build", "args"), value={"\n": None})
@example(path=("image", "platforms", "amd64"), value="")
def test_one_strange_value_anywhere_is_a_registration_or_a_problem(
    file: Path, path: tuple[Any, ...], value: Any
) -> None:
    """Written as JSON, which is YAML."""
    file.write_text(json.dumps(_replaced(path, value), indent=1), encoding="utf-8")

    _agree(file)


@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow])
@given(st.binary(max_size=60) | st.text(alphabet="ab:-?[]{},#&*!|>'\"%@ \n\t0.~<", max_size=60).map(str.encode))
def test_any_bytes_are_a_document_or_a_problem(file: Path, data: bytes) -> None:
    """Files come from people and from broken merges."""
    file.write_bytes(data)

    document, problems = load_document(file)

    assert (document is not None) or problems
    _agree(file)


@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow])
@given(
    at=st.integers(0, len(GOOD)), length=st.integers(0, 30), text=st.text(alphabet="a:-[]{}&*!\n\t \"'#1", max_size=4)
)
def test_a_careless_edit_is_a_registration_or_a_problem(file: Path, at: int, length: int, text: str) -> None:
    """Some characters removed, some typed, anywhere."""
    file.write_text(GOOD[:at] + text + GOOD[at + length :], encoding="utf-8")

    _, problems = check(file)

    if problems:
        _agree(file)
    else:
        load_registration(file.parent)

"""A Draft-07 schema judges alike as a part of another document in Draft 2020-12."""

from __future__ import annotations

import copy
from typing import Any

import jsonschema_rs
import pytest

from processor_runtime.schemas import compile_schema
from processor_runtime.schemas.embedding import embedded

N: dict[str, Any] = {"definitions": {"n": {"type": "integer"}}}
ALIKE: list[Any] = [
    pytest.param({**N, "properties": {"a": {"$ref": "#/definitions/n"}}}, {"a": 1}, {"a": "1"}, id="a reference"),
    pytest.param(
        {"properties": {"a": {"$ref": "#"}, "b": {"type": "null"}}},
        {"a": {"b": None}},
        {"a": {"b": 1}},
        id="a reference to the root",
    ),
    pytest.param(
        {"definitions": {"n": {"$id": "#n", "type": "integer"}}, "properties": {"a": {"$ref": "#n"}}},
        {"a": 1},
        {"a": "1"},
        id="an anchor",
    ),
    pytest.param(
        {**N, "properties": {"a": {"$ref": "#/definitions/n", "minimum": 5}}},
        {"a": 1},
        {"a": "1"},
        id="what stands beside a reference is ignored",
    ),
    pytest.param(
        {"properties": {"a": {"items": [{"type": "string"}, {"type": "integer"}]}}},
        {"a": ["x", 1, None]},
        {"a": ["x", "y"]},
        id="a list of items",
    ),
    pytest.param(
        {"properties": {"a": {"items": [{"type": "string"}], "additionalItems": {"type": "null"}}}},
        {"a": ["x", None]},
        {"a": ["x", 1]},
        id="additional items",
    ),
    pytest.param(
        {"properties": {"a": {"items": {"type": "string"}, "additionalItems": False}}},
        {"a": ["x", "y"]},
        {"a": ["x", 1]},
        id="additional items beside one schema say nothing",
    ),
    pytest.param({"dependencies": {"a": ["b"]}}, {"a": 1, "b": 1}, {"a": 1}, id="a dependency on a name"),
    pytest.param(
        {**N, "dependencies": {"a": {"properties": {"b": {"$ref": "#/definitions/n"}}}}},
        {"a": 1, "b": 1},
        {"a": 1, "b": "1"},
        id="a dependency on a schema",
    ),
    pytest.param(
        {"properties": {"format": {"type": "string"}, "items": {"type": "null"}, "$ref": {"const": 1}}},
        {"format": "x", "items": None, "$ref": 1},
        {"format": 1},
        id="properties that are called like keywords",
    ),
    pytest.param(
        {"properties": {"a": {"const": {"$ref": "#/x", "format": "y"}}}},
        {"a": {"$ref": "#/x", "format": "y"}},
        {"a": {}},
        id="a value that looks like a schema",
    ),
    pytest.param(
        {
            **N,
            "not": {"required": ["b"]},
            "allOf": [{"properties": {"a": {"anyOf": [{"$ref": "#/definitions/n"}]}}}, True],
        },
        {"a": 1},
        {"a": "1"},
        id="within combinations",
    ),
]


@pytest.mark.parametrize(("schema", "good", "bad"), ALIKE)
def test_it_judges_alike(schema: dict[str, Any], good: dict[str, Any], bad: dict[str, Any]) -> None:
    """Wherever it stands, and what was given is not changed."""
    before = copy.deepcopy(schema)
    document = {"$ref": "#/$defs/part", "$defs": {"part": embedded(schema, "#/$defs/part")}}
    newer, older = jsonschema_rs.Draft202012Validator(document), compile_schema(schema)

    assert (newer.is_valid(good), older.is_valid(good)) == (True, True)
    assert (newer.is_valid(bad), older.is_valid(bad)) == (False, False)
    assert schema == before


def test_what_is_said_of_the_whole_file_is_left_out() -> None:
    """It is a part now, and another draft."""
    schema = {"$schema": "http://json-schema.org/draft-07/schema#", "$id": "urn:x", "title": "x", "definitions": {}}

    assert embedded(schema, "#/x") == {"title": "x", "definitions": {}}


def test_a_format_is_no_rule() -> None:
    """It is an annotation, which readers of OpenAPI hold requests to; the property of that name stays."""
    schema = {"properties": {"mail": {"type": "string", "format": "email"}, "format": {"format": "date"}}}

    assert embedded(schema, "#/x") == {"properties": {"mail": {"type": "string"}, "format": {}}}

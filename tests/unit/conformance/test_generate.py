"""Inputs from a schema: the valid ones are, and the broken ones are not."""

from __future__ import annotations

import json
from typing import Any

import pytest

from processor_conformance.generate import Schema, broken_inputs, differing_inputs, valid_inputs, validator

SCHEMAS: dict[str, dict[str, Any]] = {
    "plain": {
        "$schema": "https://json-schema.org/draft-07/schema#",
        "type": "object",
        "additionalProperties": False,
        "required": ["schema", "params"],
        "properties": {
            "schema": {"const": "v1"},
            "params": {
                "type": "object",
                "required": ["text"],
                "properties": {
                    "text": {"type": "string", "minLength": 1, "maxLength": 5},
                    "kind": {"enum": ["a", "b", 3]},
                    "share": {"type": "number", "minimum": 0, "exclusiveMaximum": 1},
                    "count": {"type": "integer", "minimum": 1, "maximum": 3},
                    "tags": {"type": "array", "items": {"type": "string"}, "minItems": 1, "uniqueItems": True},
                    "mail": {"type": "string", "format": "email"},
                },
            },
        },
    },
    "references": {
        "type": "object",
        "required": ["tree"],
        "properties": {"tree": {"$ref": "#/definitions/tree"}},
        "definitions": {
            "tree": {
                "type": "object",
                "required": ["name"],
                "properties": {
                    "name": {"type": "string", "pattern": "^[a-f0-9]{4}$"},
                    "child": {"$ref": "#/definitions/tree"},
                },
            }
        },
    },
    "branches": {
        "type": "object",
        "required": ["kind"],
        "properties": {"kind": {"anyOf": [{"const": "x"}, {"type": "integer", "multipleOf": 5, "minimum": 5}]}},
        "allOf": [{"required": ["also"], "properties": {"also": {"type": ["null", "boolean"]}}}],
    },
}
EACH = pytest.mark.parametrize("schema", SCHEMAS.values(), ids=SCHEMAS.keys())


@EACH
def test_what_is_made_is_valid_and_differs(schema: Schema) -> None:
    """An invalid one would blame a service that is right."""
    made = valid_inputs(schema, 10)

    assert made
    assert all(validator(schema).is_valid(value) for value in made)
    assert len({json.dumps(value, sort_keys=True) for value in made}) == len(made)


@EACH
def test_what_is_made_is_the_same_every_time(schema: Schema) -> None:
    """A failure can be seen again."""
    assert valid_inputs(schema, 5) == valid_inputs(schema, 5)


@EACH
def test_what_is_broken_is_invalid_and_says_why(schema: Schema) -> None:
    """A valid one would blame a service that is right."""
    broken = [pair for value in valid_inputs(schema, 5) for pair in broken_inputs(schema, value)]

    assert broken
    assert all(what and not validator(schema).is_valid(value) for what, value in broken)


def test_every_kind_of_rule_is_broken() -> None:
    """Each rule of the schema, in its place."""
    value = {
        "schema": "v1",
        "params": {"text": "hello", "kind": "a", "share": 0.5, "count": 2, "tags": ["t"], "mail": "none"},
    }
    broken = {what for what, _ in broken_inputs(SCHEMAS["plain"], value)}

    assert {
        "/schema: not one of those allowed",
        "/params: absent",
        "/kit-unknown: not declared",
        "/params/text: absent",
        "/params/text: too short",
        "/params/text: too long",
        "/params/kind: not one of those allowed",
        "/params/share: beyond minimum",
        "/params/share: beyond exclusiveMaximum",
        "/params/count: beyond maximum",
        "/params/count: of another type",
        "/params/tags: too few",
        "/params/tags: twice the same",
    } <= broken


def test_a_format_is_no_rule() -> None:
    """It is an annotation, for the service as for the kit."""
    assert validator({"format": "email"}).is_valid("no address")


@EACH
def test_differing_inputs_are_valid_and_differ(schema: Schema) -> None:
    """They are what makes a conflict."""
    value = valid_inputs(schema, 1)[0]
    other = differing_inputs(schema, value)

    assert other != value
    assert validator(schema).is_valid(other)


def test_where_nothing_differs_there_is_nothing_to_give() -> None:
    """A schema of one value has no second one."""
    assert differing_inputs({"const": 1}, 1) is None


def test_what_is_no_schema_is_said() -> None:
    """A service may announce anything."""
    with pytest.raises(ValueError, match="kit"):
        validator({"type": "kit"})

"""Details name places and never values."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.runtime.judged import Judged
from tests.unit.runtime.services import payload

EVERY_RULE: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "type": {"type": "integer"},
        "enum": {"enum": ["a", 1, None]},
        "const": {"const": {"a": [1]}},
        "pattern": {"type": "string", "pattern": "^[a-f]+$"},
        "length": {"type": ["string", "array"], "minLength": 1000, "maxItems": 0},
        "short": {"maxLength": 1},
        "number": {"type": "number", "minimum": 3, "multipleOf": 0.5},
        "less": {"exclusiveMaximum": -1e300},
        "items": {"items": {"type": "boolean"}, "uniqueItems": True, "minItems": 9},
        "contains": {"type": "array", "contains": {"const": 1}},
        "object": {"type": "object", "required": ["here"], "minProperties": 5, "maxProperties": 6},
        "names": {"propertyNames": {"maxLength": 1}},
        "patterns": {"patternProperties": {"^x": {"type": "null"}}, "additionalProperties": False},
        "anyOf": {"anyOf": [{"type": "null"}, {"const": 3}]},
        "oneOf": {"oneOf": [{"type": "string"}, {"minLength": 0}]},
        "not": {"not": {}},
        "if": {"if": {"type": "string"}, "then": {"const": "b"}, "else": False},
        "never": False,
        "dependencies": {"dependencies": {"a": ["b"]}, "required": ["c"]},
        "tuple": {"items": [{"type": "null"}], "additionalItems": False},
    },
}
MARKER = "MaRkEr"
NUMBER = 8675309


def _marked(value: Any) -> Any:
    """Return *value* with the marker in each of its strings and numbers; keys stay."""
    if isinstance(value, str):
        return MARKER + value
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int | float):
        return NUMBER
    if isinstance(value, list):
        return [_marked(child) for child in value]
    return {key: _marked(child) for key, child in value.items()}


scalars = st.one_of(st.text(max_size=3), st.integers(), st.booleans(), st.none(), st.just(1.5))
marked = st.one_of(
    scalars, st.lists(scalars, max_size=3), st.dictionaries(st.sampled_from(["a", "c", "here", "xx"]), scalars)
).map(_marked)
broken_bodies = st.fixed_dictionaries(
    {},
    optional={
        "schema": st.one_of(st.just("v1"), marked),
        "execution_id": st.one_of(st.just("e1"), marked),
        "write_prefix": st.one_of(st.just("/tmp/e1/"), marked, st.sampled_from([f"/tmp/{MARKER}/../", f"/{MARKER}/"])),
        "mode": st.one_of(st.just("mock"), st.just("real"), marked),
        "ref": st.one_of(st.just("ns/name@1"), marked),
        "timeout_s": st.one_of(st.just(1), st.just(MARKER)),
        "context": st.one_of(st.just({}), st.just([MARKER]), st.just({"a": MARKER * 800})),
        "inputs": marked,
    },
)
broken_inputs = st.dictionaries(st.sampled_from(list(EVERY_RULE["properties"])), marked)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.one_of(broken_bodies, broken_inputs.map(lambda inputs: payload(inputs=inputs))))
def test_details_are_few_and_never_hold_a_value(judged: Judged, body: dict[str, Any]) -> None:
    """Whatever is broken: strings and numbers that were sent are not sent back."""
    judged.inputs = EVERY_RULE
    refusal = judged.refusal(body)
    if refusal is None:
        return
    details = refusal.error.details

    assert 1 <= len(details) <= 20
    assert MARKER not in json.dumps(details)
    assert str(NUMBER) not in json.dumps(details)
    assert all(detail.keys() == {"path", "message"} for detail in details)
    assert all(len(detail["path"]) <= 300 and len(detail["message"]) <= 300 for detail in details)
    assert MARKER not in refusal.error.text


@pytest.mark.parametrize("rule", EVERY_RULE["properties"])
@pytest.mark.parametrize("value", [MARKER, NUMBER, [MARKER, MARKER], {"here": MARKER, "xx": MARKER}], ids=str)
def test_no_rule_of_a_schema_tells_the_value_that_broke_it(judged: Judged, rule: str, value: Any) -> None:
    """Each keyword of Draft-07 has its own message."""
    judged.inputs = EVERY_RULE
    refusal = judged.refusal(payload(inputs={rule: value}))
    if refusal is None:
        return

    assert MARKER not in json.dumps(refusal.error.details)
    assert str(NUMBER) not in json.dumps(refusal.error.details)
    assert refusal.error.details[0]["path"].startswith(f"/inputs/{rule}")


def test_a_file_reference_does_not_tell_its_path_or_hash(judged: Judged) -> None:
    """Only where it stands among the inputs."""
    reference = {"$artifact": f"/artifacts/inputs/{MARKER}", "sha256": "0" * 64}

    details = judged.refused(payload(inputs={"schema": "v1", "params": {"a/b": [reference]}})).error.details

    assert [detail["path"] for detail in details] == ["/inputs/params/a~1b/0"]
    assert MARKER not in json.dumps(details)


def test_many_broken_rules_are_20_details(judged: Judged) -> None:
    """Unknown fields and broken inputs alike."""
    judged.inputs = {"type": "object", "additionalProperties": {"type": "null"}}
    many: dict[str, Any] = {f"k{number}": number for number in range(100)}

    assert len(judged.refused(payload(**many)).error.details) == 20
    assert len(judged.refused(payload(inputs=many)).error.details) == 20


def test_a_place_is_a_json_pointer(judged: Judged) -> None:
    """RFC 6901."""
    judged.inputs = {"type": "object", "properties": {"a/b~c": {"items": {"type": "null"}}}}

    details = judged.refused(payload(inputs={"a/b~c": [None, 1]})).error.details

    assert [detail["path"] for detail in details] == ["/inputs/a~1b~0c/1"]

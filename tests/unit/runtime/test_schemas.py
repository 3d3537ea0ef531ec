"""The contract's JSON Schemas are Draft-07, take the contract's own examples, and refuse what it forbids."""

from __future__ import annotations

import copy
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor_runtime.errors import WritePrefixError
from processor_runtime.prefix import expand
from processor_runtime.schemas import NAMES, compile_schema, load, validator

SHA256 = "0123456789abcdef" * 4
DIGEST = "sha256:" + SHA256
META: dict[str, Any] = {
    "ref": "ns/name@1", "env_fingerprint": "cpu:1;memory:2Gi", "image_digest": DIGEST, "pinned": True,
}  # fmt: skip
ROW: dict[str, Any] = {
    "path": "/artifacts/outputs/e1/outputs/response.txt", "mime": "text/plain", "size_bytes": 12, "sha256": SHA256,
}  # fmt: skip
# CONTRACT sections 2, 3, 4 and 6
REQUEST: dict[str, Any] = {
    "schema": "v1", "execution_id": "e1", "write_prefix": "/artifacts/outputs/{execution_id}/",
    "mode": "mock", "ref": "ns/name@1", "inputs": {"schema": "v1", "params": {}},
}  # fmt: skip
SUCCESS: dict[str, Any] = {
    "status": "success",
    "execution_id": "e1",
    "outputs": [ROW],
    "index_path": "/artifacts/outputs/e1/outputs.json",
    "meta": {**META, "queued_ms": 0, "duration_ms": 123, "extra": {}},
}
ERROR: dict[str, Any] = {
    "status": "error",
    "execution_id": "e1",
    "error": {"code": "ERR_INPUTS", "message": "stable text", "retryable": False, "details": []},
    "meta": {**META, "pinned": False},
}
RECEIPT: dict[str, Any] = {
    "contract": "v1", "ref": "ns/name@1", "execution_id": "e1", "mode": "mock",
    "write_prefix": "/artifacts/outputs/e1/", "inputs_sha256": SHA256, "context": {}, "image_digest": DIGEST,
    "env_fingerprint": "cpu:1;memory:2Gi", "outputs": [ROW], "started_at": "2026-01-31T12:00:00.123Z",
    "finished_at": "2026-01-31T12:00:00.246Z", "duration_ms": 123, "trace_id": None, "envelope": SUCCESS,
}  # fmt: skip
INDEX: dict[str, Any] = {"execution_id": "e1", "outputs": [ROW]}
EVENTS: list[dict[str, Any]] = [
    {"event": "progress", "data": {"execution_id": "e1", "fraction": 0.5, "message": "half"}},
    {"event": "progress", "data": {"execution_id": "e1", "fraction": None, "message": ""}},
    {"event": "token", "data": {"execution_id": "e1", "text": "a"}},
    {
        "event": "log",
        "data": {"execution_id": "e1", "ts": "…", "level": "info", "event": "handler.x", "ref": "ns/name@1"},
    },
    {"event": "output", "data": {"execution_id": "e1", **ROW}},
    {"event": "done", "data": SUCCESS},
    {"event": "done", "data": ERROR},
    {"event": "tomorrow", "data": {"execution_id": "e1"}},
]
GOOD = [
    pytest.param("request", REQUEST, id="the contract's request"),
    pytest.param("request", {**REQUEST, "timeout_s": 0.5, "context": {"a": 1}}, id="a request with what is optional"),
    pytest.param("envelope", SUCCESS, id="the contract's success"),
    pytest.param("envelope", ERROR, id="the contract's error"),
    pytest.param(
        "envelope",
        {**ERROR, "execution_id": "", "meta": {**META, "image_digest": ""}},
        id="a refusal that knows little",
    ),
    pytest.param("envelope", {**ERROR, "meta": {**META, "duration_ms": 1, "queued_ms": 0}}, id="a run that failed"),
    pytest.param("envelope", {**SUCCESS, "outputs": []}, id="a success without outputs"),
    pytest.param("receipt", RECEIPT, id="a receipt"),
    pytest.param(
        "receipt", {**RECEIPT, "started_at": None, "duration_ms": None, "envelope": ERROR}, id="a cancel in the queue"
    ),
    pytest.param("index", INDEX, id="an index"),
    *(pytest.param("event", event, id=f"event {number}: {event['event']}") for number, event in enumerate(EVENTS)),
]
OPEN = [("envelope", SUCCESS), ("envelope", ERROR), ("receipt", RECEIPT), ("index", INDEX), ("event", EVENTS[0])]
REQUIRED = [
    ("request", REQUEST, ["execution_id", "write_prefix", "schema", "mode", "inputs"]),
    ("envelope", SUCCESS, ["status", "execution_id", "outputs", "index_path", "meta"]),
    ("envelope", SUCCESS["meta"], ["queued_ms", "duration_ms", "extra", *META]),
    ("envelope", ROW, list(ROW)),
    ("envelope", ERROR, ["status", "execution_id", "error", "meta"]),
    ("envelope", ERROR["error"], ["code", "message", "retryable", "details"]),
    ("receipt", RECEIPT, list(RECEIPT)),
    ("index", INDEX, ["execution_id", "outputs"]),
    ("event", EVENTS[0], ["event", "data"]),
    ("event", EVENTS[0]["data"], ["execution_id", "fraction", "message"]),
]
WRONG: list[tuple[str, dict[str, Any], str, Any]] = [
    ("request", REQUEST, "schema", "v2"),
    ("request", REQUEST, "execution_id", "-e1"),
    ("request", REQUEST, "execution_id", "e" * 129),
    ("request", REQUEST, "execution_id", ""),
    ("request", REQUEST, "write_prefix", ""),
    ("request", REQUEST, "write_prefix", "outputs/{execution_id}/"),
    ("request", REQUEST, "write_prefix", "/artifacts/{execution_id}/../"),
    ("request", REQUEST, "write_prefix", "/artifacts/{id}/"),
    ("request", REQUEST, "mode", "dream"),
    ("request", REQUEST, "timeout_s", 0),
    ("request", REQUEST, "timeout_s", "1"),
    ("request", REQUEST, "context", []),
    ("request", REQUEST, "inputs", []),
    ("request", REQUEST, "other", 1),
    ("envelope", SUCCESS, "status", "ok"),
    ("envelope", SUCCESS, "execution_id", ""),
    ("envelope", SUCCESS, "error", ERROR["error"]),
    ("envelope", SUCCESS, "outputs", None),
    ("envelope", SUCCESS, "index_path", "outputs.json"),
    ("envelope", ERROR, "outputs", []),
    ("envelope", ERROR, "index_path", "/artifacts/outputs/e1/outputs.json"),
    ("envelope", SUCCESS["meta"], "image_digest", ""),
    ("envelope", SUCCESS["meta"], "image_digest", "latest"),
    ("envelope", SUCCESS["meta"], "pinned", "true"),
    ("envelope", SUCCESS["meta"], "duration_ms", 1.5),
    ("envelope", SUCCESS["meta"], "queued_ms", -1),
    ("envelope", SUCCESS["meta"], "extra", []),
    ("envelope", SUCCESS["meta"], "ref", "latest"),
    ("envelope", ROW, "sha256", DIGEST),
    ("envelope", ROW, "sha256", SHA256.upper()),
    ("envelope", ROW, "size_bytes", -1),
    ("envelope", ROW, "path", "outputs/a.txt"),
    ("envelope", ROW, "mime", ""),
    ("envelope", ERROR["error"], "code", "oops"),
    ("envelope", ERROR["error"], "retryable", 0),
    ("envelope", ERROR["error"], "details", [{"path": "/x"}]),
    ("envelope", ERROR["error"], "details", [{"path": "/x", "message": "y"}] * 21),
    ("receipt", RECEIPT, "contract", "v2"),
    ("receipt", RECEIPT, "mode", "dream"),
    ("receipt", RECEIPT, "write_prefix", "/artifacts/outputs/e1"),
    ("receipt", RECEIPT, "inputs_sha256", ""),
    ("receipt", RECEIPT, "image_digest", ""),
    ("receipt", RECEIPT, "trace_id", "xyz"),
    ("receipt", RECEIPT, "context", None),
    ("event", EVENTS[0]["data"], "fraction", 1.5),
    ("event", EVENTS[0]["data"], "fraction", "half"),
    ("event", EVENTS[0]["data"], "message", None),
]
WHOLE = {"request": [REQUEST], "envelope": [SUCCESS, ERROR], "receipt": [RECEIPT], "index": [INDEX], "event": EVENTS}

PARTS = ["/", ".", "a", "\xe9", "{execution_id}", "{", "}", "\\", "\x00", "\x9f", "\n"]  # of a write prefix


def _changed(name: str, part: dict[str, Any], key: str, value: Any = ...) -> dict[str, Any]:
    """Return the whole document that holds *part*, with *key* of that part set, or removed."""
    for whole in WHOLE[name]:
        memo: dict[int, Any] = {}
        copied = copy.deepcopy(whole, memo)
        if id(part) in memo:
            found = memo[id(part)]
            if value is ...:
                del found[key]
            else:
                found[key] = value
            assert isinstance(copied, dict)
            return copied
    raise AssertionError("no document holds that part")


def test_the_schemas_are_the_contracts_five() -> None:
    """One file each."""
    assert set(NAMES) == {"request", "envelope", "receipt", "index", "event"}


@pytest.mark.parametrize("name", NAMES)
def test_each_schema_is_a_draft_07_schema(name: str) -> None:
    """It says so itself, and has an identity and a title."""
    schema = load(name)

    assert jsonschema_rs.meta.is_valid(schema)
    assert schema["$schema"] == "http://json-schema.org/draft-07/schema#"
    assert schema["$id"] == f"urn:processor-contract:v1:{name}"
    assert schema["title"]


@pytest.mark.parametrize(("name", "document"), GOOD)
def test_the_contracts_examples_are_valid(name: str, document: dict[str, Any]) -> None:
    """As they stand on its page."""
    assert [error.message for error in validator(name).iter_errors(document)] == []


@pytest.mark.parametrize(("name", "document"), [pytest.param(*row, id=f"{row[0]}-{i}") for i, row in enumerate(OPEN)])
def test_answers_may_hold_more_than_readers_know(name: str, document: dict[str, Any]) -> None:
    """Readers ignore what they do not know, at every level."""

    def opened(value: Any) -> Any:
        if isinstance(value, dict):
            return {**{key: opened(child) for key, child in value.items()}, "x_tomorrow": 1}
        return [opened(child) for child in value] if isinstance(value, list) else value

    assert validator(name).is_valid(opened(document))


@pytest.mark.parametrize(
    ("name", "part", "key"),
    [
        pytest.param(name, part, key, id=f"{name}-{number}-{key}")
        for number, (name, part, keys) in enumerate(REQUIRED)
        for key in keys
    ],
)
def test_what_is_required_is_required(name: str, part: dict[str, Any], key: str) -> None:
    """Key by key."""
    assert not validator(name).is_valid(_changed(name, part, key))


@pytest.mark.parametrize(
    ("name", "part", "key", "value"),
    [pytest.param(*row, id=f"{number}-{row[0]}-{row[2]}") for number, row in enumerate(WRONG)],
)
def test_what_the_contract_forbids_is_refused(name: str, part: dict[str, Any], key: str, value: Any) -> None:
    """Value by value."""
    assert not validator(name).is_valid(_changed(name, part, key, value))


def test_an_execution_id_with_a_line_break_is_refused() -> None:
    """`$` of some dialects would let it pass."""
    assert not validator("request").is_valid({**REQUEST, "execution_id": "e1\n"})


@given(st.lists(st.sampled_from(PARTS)).map("".join))
def test_the_pattern_of_a_prefix_is_its_rule(text: str) -> None:
    """What the schema takes the rule takes, but for the number of bytes, and the other way round."""
    try:
        expand(text, "e1")
        good = True
    except WritePrefixError:
        good = False

    assert validator("request").is_valid({**REQUEST, "write_prefix": text}) is (good and text not in {"", "/"})


@pytest.mark.parametrize(
    "reference",
    [
        "https://example.org/schema.json",
        "http://127.0.0.1:1/schema.json#/definitions/x",
        "file:///etc/passwd",
        "other.json",
        "#/definitions/none",
        "urn:processor-contract:v1:envelope",
    ],
)
def test_a_reference_outside_the_file_is_refused(reference: str) -> None:
    """When the service starts, without opening anything."""
    with pytest.raises(ValueError, match=r".+"):
        compile_schema({"type": "object", "properties": {"a": {"$ref": reference}}})


def test_a_reference_inside_the_file_is_followed() -> None:
    """By pointer and by `$id`."""
    schema = {"definitions": {"n": {"$id": "#n", "type": "integer"}}, "properties": {"a": {"$ref": "#/definitions/n"}}}

    assert compile_schema(schema).is_valid({"a": 1})
    assert not compile_schema(schema).is_valid({"a": "1"})


@pytest.mark.parametrize("schema", [{"type": "nonsense"}, {"required": "a"}, {"minimum": "1"}, {"pattern": "("}])
def test_what_is_no_schema_is_refused(schema: dict[str, Any]) -> None:
    """When the service starts, not when it is asked."""
    with pytest.raises(ValueError, match=r".+"):
        compile_schema(schema)


@pytest.mark.parametrize(
    "declared", ["https://json-schema.org/draft/2020-12/schema", "http://json-schema.org/draft-04/schema#"]
)
def test_a_schema_is_draft_07_whatever_it_says(declared: str) -> None:
    """`dependencies` is of 07 and gone in 2020-12; a boolean `exclusiveMinimum` is of 04."""
    compiled = compile_schema({"$schema": declared, "dependencies": {"a": ["b"]}, "properties": {"n": {"const": 1}}})

    assert not compiled.is_valid({"a": 1})
    assert not compiled.is_valid({"n": 2})


def test_format_is_not_asserted() -> None:
    """It is an annotation."""
    schema = {"properties": {"mail": {"format": "email"}, "when": {"format": "date-time"}, "re": {"format": "regex"}}}

    assert compile_schema(schema).is_valid({"mail": "none", "when": "never", "re": "("})


def test_an_error_never_shows_the_value() -> None:
    """What is sent back names rules."""
    errors = list(compile_schema({"properties": {"a": {"const": 1}}}).iter_errors({"a": "MARKER"}))

    assert len(errors) == 1
    assert "MARKER" not in errors[0].message

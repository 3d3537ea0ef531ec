"""The rules of a request: each one, their order, and details that name places and never values."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from processor_runtime import artifacts, canonical
from processor_runtime.artifacts import Artifact
from processor_runtime.request import Refusal, Rules, RunRequest, TakesLongError
from processor_runtime.schemas import compile_schema, validator
from tests.unit.runtime.json_values import values
from tests.unit.runtime.services import declared, payload, set_for

CONTENT = b"a page"
SHA256 = hashlib.sha256(CONTENT).hexdigest()
FILE = {"$artifact": "/artifacts/inputs/page.png", "sha256": SHA256}
INPUTS = {
    "type": "object",
    "required": ["schema", "params"],
    "additionalProperties": False,
    "properties": {"schema": {"const": "v1"}, "params": {"type": "object"}},
}
Judge = Callable[..., RunRequest]


class Judged:
    """Rules over one folder, with whatever a test changes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environ: dict[str, str] = {}
        self.secrets: dict[str, str] = {"NEEDED_KEY": "value"}
        self.inputs: dict[str, Any] = INPUTS

    def rules(self) -> Rules:
        """Return the rules as they stand."""
        declaration = declared(inputs=self.inputs)
        return Rules(declaration, set_for(self.folder, **self.environ), self.secrets, compile_schema(self.inputs))

    def check(self, body: dict[str, Any] | bytes, trace_id: str | None = None) -> RunRequest:
        """Return the request, its files closed."""
        found = self.rules().check(body if isinstance(body, bytes) else json.dumps(body).encode(), trace_id)
        found.close()
        return found

    def refusal(self, body: dict[str, Any] | bytes) -> Refusal | None:
        """Return how *body* is refused, or `None` where it is not."""
        try:
            self.check(body)
        except Refusal as exc:
            return exc
        return None

    def refused(self, body: dict[str, Any] | bytes) -> Refusal:
        """Return how *body* is refused; it must be."""
        refusal = self.refusal(body)
        assert refusal is not None, "it was not refused"
        assert 1 <= len(refusal.error.details) <= 20
        return refusal

    def verdict(self, body: dict[str, Any] | bytes) -> tuple[str, str]:
        """Return code and message by which *body* is refused."""
        error = self.refused(body).error
        return str(error.code), error.text


@pytest.fixture
def judged(tmp_path: Path) -> Judged:
    """Return rules over a folder with one good file."""
    (tmp_path / "inputs").mkdir()
    (tmp_path / "inputs" / "page.png").write_bytes(CONTENT)
    return Judged(tmp_path)


# --- what is accepted


def test_a_good_request_is_taken_as_it_is(judged: Judged) -> None:
    """Prefix expanded, references opened, inputs as sent and hashed."""
    inputs = {"schema": "v1", "params": {"document": FILE, "n": 1.5}}
    body = payload("e-1.x_Y", mode="real", inputs=inputs, ref="ns/name@1", timeout_s=1.5, context={"a": [None]})

    found = judged.check(body, trace_id="f" * 32)

    assert (found.execution_id, found.prefix, found.mode) == ("e-1.x_Y", "/artifacts/outputs/e-1.x_Y/", "real")
    assert (found.inputs, found.inputs_sha256) == (inputs, canonical.sha256(inputs))
    assert isinstance(found.params["document"], Artifact)
    assert found.params["n"] == 1.5
    assert (found.timeout_s, found.context, found.trace_id) == (1.5, {"a": [None]}, "f" * 32)
    assert [artifact.path for artifact in found.artifacts] == ["/artifacts/inputs/page.png"]
    assert validator("request").is_valid(body)


def test_files_are_left_to_a_thread_that_may_take_long(judged: Judged) -> None:
    """A request that names none is judged at once."""
    named = json.dumps(payload(inputs={"schema": "v1", "params": {"document": [FILE]}})).encode()

    with pytest.raises(TakesLongError):
        judged.rules().check(named, files=False)

    assert judged.rules().check(json.dumps(payload()).encode(), files=False).artifacts == ()


def test_what_is_optional_may_be_absent(judged: Judged) -> None:
    """The registry's time, an empty context, no trace."""
    found = judged.check(payload())

    assert (found.timeout_s, found.context, found.trace_id, found.artifacts) == (60, {}, None, ())


@pytest.mark.parametrize(("asked", "given"), [(1, 1), (59.5, 59.5), (60, 60), (61, 60), (1e300, 60), (1e-9, 1e-9)])
def test_timeout_s_lowers_the_registrys_and_never_raises_it(judged: Judged, asked: float, given: float) -> None:
    """Seconds, whole or not."""
    assert judged.check(payload(timeout_s=asked)).timeout_s == given


@pytest.mark.parametrize("execution_id", ["a", "0", "A.b_c-d", "e" * 128, "1..", "a-"])
def test_an_execution_id_of_the_contracts_pattern_is_taken(judged: Judged, execution_id: str) -> None:
    """1 to 128 characters."""
    assert judged.check(payload(execution_id)).execution_id == execution_id


def test_a_context_of_4096_bytes_is_taken_and_one_more_is_not(judged: Judged) -> None:
    """In its UTF-8 JCS form, however it was spelled."""
    context = {"é": "é" * 2043 + "x"}
    assert len(canonical.dumps(context)) == 4096

    assert judged.check(payload(context=context)).context == context
    assert judged.verdict(payload(context={"é": "é" * 2043 + "xy"})) == ("ERR_INPUTS", "invalid context")


def test_real_is_taken_where_ci_says_no(judged: Judged) -> None:
    """Spelled like a person would."""
    judged.environ["CI"] = "False"

    assert judged.check(payload(mode="real")).mode == "real"


def test_mock_is_taken_in_ci_and_without_secrets(judged: Judged) -> None:
    """It costs nothing."""
    judged.environ["CI"] = "true"
    judged.secrets = {}

    assert judged.check(payload()).mode == "mock"


def test_format_and_default_are_annotations(judged: Judged) -> None:
    """And the schema is Draft-07 whatever `$schema` says."""
    judged.inputs = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {"mail": {"type": "string", "format": "email"}, "n": {"type": "integer", "default": 3}},
        "dependencies": {"a": ["b"]},
    }

    assert judged.check(payload(inputs={"mail": "no address"})).inputs == {"mail": "no address"}
    assert judged.verdict(payload(inputs={"a": 1})) == ("ERR_INPUTS", "inputs do not match the schema")


# --- each rule

ABSENT = object()
BROKEN = [
    ("execution_id", ABSENT, "ERR_INPUTS", "missing execution_id"),
    ("execution_id", "", "ERR_INPUTS", "missing execution_id"),
    ("execution_id", None, "ERR_INPUTS", "invalid execution_id"),
    ("execution_id", 7, "ERR_INPUTS", "invalid execution_id"),
    ("execution_id", ["e1"], "ERR_INPUTS", "invalid execution_id"),
    ("execution_id", "-e1", "ERR_INPUTS", "invalid execution_id"),
    ("execution_id", ".", "ERR_INPUTS", "invalid execution_id"),
    ("execution_id", "..", "ERR_INPUTS", "invalid execution_id"),
    ("execution_id", "a/b", "ERR_INPUTS", "invalid execution_id"),
    ("execution_id", "e1\n", "ERR_INPUTS", "invalid execution_id"),
    ("execution_id", " e1", "ERR_INPUTS", "invalid execution_id"),
    ("execution_id", "é", "ERR_INPUTS", "invalid execution_id"),
    ("execution_id", "\u0661", "ERR_INPUTS", "invalid execution_id"),
    ("execution_id", "e" * 129, "ERR_INPUTS", "invalid execution_id"),
    ("write_prefix", ABSENT, "ERR_INPUTS", "missing write_prefix"),
    ("write_prefix", "", "ERR_INPUTS", "missing write_prefix"),
    ("write_prefix", None, "ERR_WRITE_PREFIX", "write_prefix not allowed"),
    ("write_prefix", 7, "ERR_WRITE_PREFIX", "write_prefix not allowed"),
    ("write_prefix", False, "ERR_WRITE_PREFIX", "write_prefix not allowed"),
    ("write_prefix", "/etc/e1/", "ERR_WRITE_PREFIX", "write_prefix not allowed"),
    ("write_prefix", "/artifacts/inputs/e1/", "ERR_WRITE_PREFIX", "write_prefix not allowed"),
    ("schema", ABSENT, "ERR_INPUTS", "unsupported schema"),
    ("schema", "", "ERR_INPUTS", "unsupported schema"),
    ("schema", None, "ERR_INPUTS", "unsupported schema"),
    ("schema", "v2", "ERR_INPUTS", "unsupported schema"),
    ("schema", 1, "ERR_INPUTS", "unsupported schema"),
    ("mode", ABSENT, "ERR_MODE_INVALID", "mode must be mock or real and served here"),
    ("mode", "", "ERR_MODE_INVALID", "mode must be mock or real and served here"),
    ("mode", None, "ERR_MODE_INVALID", "mode must be mock or real and served here"),
    ("mode", "Mock", "ERR_MODE_INVALID", "mode must be mock or real and served here"),
    ("mode", "mock ", "ERR_MODE_INVALID", "mode must be mock or real and served here"),
    ("mode", ["mock"], "ERR_MODE_INVALID", "mode must be mock or real and served here"),
    ("ref", "ns/name@2", "ERR_REF_MISMATCH", "this image serves another ref"),
    ("ref", "", "ERR_REF_MISMATCH", "this image serves another ref"),
    ("ref", None, "ERR_REF_MISMATCH", "this image serves another ref"),
    ("ref", 1, "ERR_REF_MISMATCH", "this image serves another ref"),
    ("timeout_s", 0, "ERR_INPUTS", "invalid timeout_s"),
    ("timeout_s", -1, "ERR_INPUTS", "invalid timeout_s"),
    ("timeout_s", -0.0, "ERR_INPUTS", "invalid timeout_s"),
    ("timeout_s", "1", "ERR_INPUTS", "invalid timeout_s"),
    ("timeout_s", "", "ERR_INPUTS", "invalid timeout_s"),
    ("timeout_s", True, "ERR_INPUTS", "invalid timeout_s"),
    ("timeout_s", None, "ERR_INPUTS", "invalid timeout_s"),
    ("context", None, "ERR_INPUTS", "invalid context"),
    ("context", "", "ERR_INPUTS", "invalid context"),
    ("context", [], "ERR_INPUTS", "invalid context"),
    ("context", 1, "ERR_INPUTS", "invalid context"),
    ("extra", None, "ERR_INPUTS", "unknown field"),
    ("Schema", "v1", "ERR_INPUTS", "unknown field"),
    ("", 1, "ERR_INPUTS", "unknown field"),
    ("inputs", ABSENT, "ERR_INPUTS", "inputs do not match the schema"),
    ("inputs", None, "ERR_INPUTS", "inputs do not match the schema"),
    ("inputs", [], "ERR_INPUTS", "inputs do not match the schema"),
    ("inputs", {}, "ERR_INPUTS", "inputs do not match the schema"),
    ("inputs", {"schema": "v1", "params": {}, "more": 1}, "ERR_INPUTS", "inputs do not match the schema"),
    ("inputs", {"schema": "v1", "params": {"d": FILE | {"sha256": "0" * 64}}}, "ERR_INPUTS", "artifact not usable"),
]


@pytest.mark.parametrize(
    ("field", "value", "code", "message"),
    [pytest.param(*row, id=f"{row[0]}-{number}") for number, row in enumerate(BROKEN)],
)
def test_each_rule_answers_with_its_own_code_and_message(
    judged: Judged, field: str, value: object, code: str, message: str
) -> None:
    """CONTRACT section 2; the id is echoed as soon as it was found valid."""
    body = payload()
    if value is ABSENT:
        del body[field]
    else:
        body[field] = value

    refusal = judged.refused(body)

    assert (str(refusal.error.code), refusal.error.text) == (code, message)
    assert refusal.execution_id == ("" if field == "execution_id" else "e1")


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b'"e1"', b"null", b"\xff", b'{"a": 1, "a": 1}', b"{} "[:1] + b"1}"])
def test_a_body_that_is_no_i_json_object_is_refused(judged: Judged, raw: bytes) -> None:
    """Nothing of it is known, not even the id."""
    refusal = judged.refused(raw)

    assert (str(refusal.error.code), refusal.error.text) == ("ERR_INPUTS", "Invalid JSON body")
    assert refusal.execution_id == ""


def test_a_mode_that_this_process_does_not_serve_is_refused(judged: Judged) -> None:
    """Either way round, and before the CI guard."""
    for served, asked in (("mock", "real"), ("real", "mock")):
        judged.environ = {"PROCESSOR_MODE": served, "CI": "true" if asked == "real" else ""}
        assert judged.verdict(payload(mode=asked))[0] == "ERR_MODE_INVALID"


@pytest.mark.parametrize(
    ("digest", "message"),
    [
        ("", "IMAGE_DIGEST env var not set"),
        ("latest", "IMAGE_DIGEST is not a digest"),
        ("sha256:" + "A" * 64, "IMAGE_DIGEST is not a digest"),
    ],
)
def test_without_an_image_digest_nothing_runs(judged: Judged, digest: str, message: str) -> None:
    """Not even mock: every receipt names the image."""
    judged.environ["IMAGE_DIGEST"] = digest

    assert judged.verdict(payload()) == ("ERR_IMAGE_DIGEST_MISSING", message)


def test_a_missing_secret_is_named(judged: Judged) -> None:
    """By its variable."""
    judged.secrets = {"SPARE_KEY": "value"}

    refusal = judged.refused(payload(mode="real"))

    assert str(refusal.error.code) == "ERR_MISSING_SECRET"
    assert [detail["path"] for detail in refusal.error.details] == ["NEEDED_KEY"]


def test_inputs_are_an_object_even_if_the_schema_forgets_to_say_so(judged: Judged) -> None:
    """Handlers rely on it."""
    judged.inputs = {}

    assert judged.verdict(payload(inputs=[1]))[1] == "inputs do not match the schema"


# --- their order


def _no_body(_judged: Judged, _body: dict[str, Any]) -> None:
    """The body is broken as text, at the end of `_sent`."""


def _put(field: str, value: object) -> Callable[[Judged, dict[str, Any]], None]:
    return lambda _judged, body: body.update({field: value})


def _environ(**changes: str) -> Callable[[Judged, dict[str, Any]], None]:
    return lambda judged, _body: judged.environ.update(changes)


def _inputs(**changes: object) -> Callable[[Judged, dict[str, Any]], None]:
    return lambda _judged, body: body["inputs"].update(changes)


def _no_secret(judged: Judged, _body: dict[str, Any]) -> None:
    judged.secrets = {}


ORDER: list[tuple[str, Callable[[Judged, dict[str, Any]], None], str]] = [
    ("body", _no_body, "Invalid JSON body"),
    ("execution_id", _put("execution_id", "-"), "invalid execution_id"),
    ("write_prefix", _put("write_prefix", "/etc/x/"), "write_prefix not allowed"),
    ("schema", _put("schema", "v2"), "unsupported schema"),
    ("mode", _environ(PROCESSOR_MODE="mock"), "mode must be mock or real and served here"),
    ("CI guard", _environ(CI="1"), "mode=real is blocked in CI"),
    ("ref", _put("ref", "ns/name@2"), "this image serves another ref"),
    ("timeout_s", _put("timeout_s", 0), "invalid timeout_s"),
    ("context", _put("context", []), "invalid context"),
    ("other keys", _put("other", 1), "unknown field"),
    ("inputs", _inputs(more=1), "inputs do not match the schema"),
    ("file references", _inputs(params={"d": FILE | {"sha256": "0" * 64}}), "artifact not usable"),
    ("IMAGE_DIGEST", _environ(IMAGE_DIGEST=""), "IMAGE_DIGEST env var not set"),
    ("secrets", _no_secret, "required secret not set"),
]
PAIRS = [pytest.param(*pair, id=f"{pair[0][0]} before {pair[1][0]}") for pair in itertools.combinations(ORDER, 2)]


@pytest.mark.parametrize(("earlier", "later"), PAIRS)
def test_of_two_broken_rules_the_earlier_one_answers(
    judged: Judged,
    earlier: tuple[str, Callable[[Judged, dict[str, Any]], None], str],
    later: tuple[str, Callable[[Judged, dict[str, Any]], None], str],
) -> None:
    """Adjacent in the contract's table or not."""
    body = payload(mode="real")
    for _, break_it, _ in (earlier, later):
        break_it(judged, body)
    raw = json.dumps(body).encode()

    assert judged.verdict(raw[:-1] if earlier[0] == "body" else raw)[1] == earlier[2]


@pytest.mark.parametrize(("name", "break_it", "message"), [pytest.param(*row, id=row[0]) for row in ORDER[1:]])
def test_each_of_these_rules_answers_when_it_alone_is_broken(
    judged: Judged, name: str, break_it: Callable[[Judged, dict[str, Any]], None], message: str
) -> None:
    """Else the test above would say nothing."""
    body = payload(mode="real")
    assert judged.check(body).mode == "real"
    break_it(judged, body)

    assert judged.verdict(body)[1] == message, name


# --- details

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


# --- files


@pytest.mark.parametrize(
    "change",
    [
        {"IMAGE_DIGEST": ""},
        {"IMAGE_DIGEST": "latest"},
    ],
)
def test_files_are_closed_when_a_later_rule_refuses(
    judged: Judged, change: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A refusal must not cost a descriptor."""
    opened: list[Artifact] = []

    def noted(*arguments: Any) -> Artifact:
        opened.append(artifacts.open_reference(*arguments))
        return opened[-1]

    monkeypatch.setattr("processor_runtime.request.open_reference", noted)
    judged.environ = change
    judged.refused(payload(inputs={"schema": "v1", "params": {"a": FILE, "b": FILE}}))
    judged.environ = {}
    judged.refused(payload(inputs={"schema": "v1", "params": {"a": FILE, "b": FILE | {"sha256": "0" * 64}}}))
    judged.secrets = {}
    judged.refused(payload(mode="real", inputs={"schema": "v1", "params": {"a": FILE}}))

    assert [artifact._fd for artifact in opened] == [-1] * 4


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.sampled_from([*payload(), "ref", "timeout_s", "context"]), values))
def test_any_object_is_a_request_or_a_refusal(judged: Judged, body: dict[str, Any]) -> None:
    """Never another exception."""
    with contextlib.suppress(Refusal):
        judged.check(payload() | body)

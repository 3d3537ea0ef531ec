"""The rules of a request: each one, and which answers where two are broken."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.unit.runtime.judged import FILE, Judged
from tests.unit.runtime.services import payload

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

"""Requests that are taken, and what becomes of their files."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from processor_runtime import artifacts, canonical
from processor_runtime.artifacts import Artifact
from processor_runtime.request import Refusal, TakesLongError
from processor_runtime.schemas import validator
from tests.unit.runtime.json_values import values
from tests.unit.runtime.judged import FILE, Judged
from tests.unit.runtime.services import payload

# --- what is accepted


def test_a_good_request_is_taken_as_it_is(judged: Judged) -> None:
    """Prefix expanded, references opened, inputs as sent and hashed."""
    inputs = {"schema": "v1", "params": {"document": FILE, "n": 1.5}}
    body = payload("e-1.x_Y", mode="real", inputs=inputs, ref="ns/name@1", timeout_s=1.5, context={"a": [None]})

    found = judged.check(body, trace_id="f" * 32)

    assert (found.execution_id, found.place.prefix, found.mode) == ("e-1.x_Y", "/artifacts/outputs/e-1.x_Y/", "real")
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

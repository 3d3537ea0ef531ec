"""Every processor refuses what CONTRACT §2 says, in its order, and a refusal leaves nothing behind."""

from __future__ import annotations

import json
from itertools import combinations

import pytest

from tests.contract.examples import bad_inputs
from tests.contract.requests import LIMIT, RULES, Request, Rule, broken, is_echoed
from tests.support.service import JsonObject, Service

MISSING = object()
NOT_STRINGS = [None, 5, True, ["x"], {"x": 1}]


def with_field(service: Service, name: str, value: object) -> Request:
    """Return a good request but for this field."""
    request = Request.good(service)
    if value is MISSING:
        del request.payload[name]
    else:
        request.payload[name] = value
    return request


def told(value: object) -> str:
    """Return how a test's name spells *value*."""
    return "missing" if value is MISSING else json.dumps(value)[:40]


# --- order -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "second"),
    [pytest.param(*pair, id=f"{pair[0].name} before {pair[1].name}") for pair in combinations(RULES, 2)],
)
def test_of_two_broken_rules_the_first_answers(service: Service, first: Rule, second: Rule) -> None:
    """Each pair of the table's rows that one request can break."""
    request = broken(service, first, second)

    request.refused(first.code, first.message, echoed=is_echoed(first, second))


def test_with_all_rules_broken_they_answer_one_after_the_other(service: Service) -> None:
    """A client that repairs what it is told comes to the end of the table, and then to a success."""
    for number, rule in enumerate(RULES):
        rest = RULES[number:]
        broken(service, *rest).refused(rule.code, rule.message, echoed=is_echoed(rule, *rest))

    assert broken(service).send().json()["status"] == "success"


# --- media type and size ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "media_type",
    ["text/plain", "text/json", "application/jsonp", "application/x-ndjson", "application/json-patch+json", "json", ""],
)
def test_another_media_type_is_refused(service: Service, media_type: str) -> None:
    """415, before the body is looked at."""
    request = Request.good(service)
    request.headers["Content-Type"] = media_type

    request.refused("ERR_INPUTS", "Content-Type must be application/json", echoed=False)


def test_no_media_type_is_refused(service: Service) -> None:
    """It is not guessed."""
    request = Request.good(service)
    request.headers = {}

    request.refused("ERR_INPUTS", "Content-Type must be application/json", echoed=False)


@pytest.mark.parametrize("coding", ["gzip", "br", "deflate", "identity", "x"])
def test_a_content_encoding_is_refused(service: Service, coding: str) -> None:
    """What is compressed could be of any size."""
    request = Request.good(service)
    request.headers["Content-Encoding"] = coding

    request.refused("ERR_INPUTS", "Content-Type must be application/json", echoed=False)


@pytest.mark.parametrize(
    "media_type",
    ["application/json; charset=utf-8", "Application/JSON", "application/json ;a=b", 'application/json;x="y; z"'],
)
def test_the_media_type_may_have_parameters_and_any_case(service: Service, media_type: str) -> None:
    """RFC 9110: types are case-insensitive, parameters come after a semicolon."""
    request = Request.good(service)
    request.headers["Content-Type"] = media_type

    assert request.send().json()["status"] == "success"


@pytest.mark.parametrize("chunked", [False, True], ids=["announced", "chunked"])
def test_a_body_may_have_sixteen_mebibytes_and_no_byte_more(service: Service, *, chunked: bool) -> None:
    """The default of `PROCESSOR_MAX_BODY_BYTES`, whichever way the body comes."""
    request = Request.good(service)
    request.chunked = chunked
    request.tail = b" " * (LIMIT - len(request.content()))
    assert request.send().json()["status"] == "success"

    request = Request.good(service)
    request.chunked = chunked
    request.tail = b" " * (LIMIT - len(request.content()) + 1)
    request.refused("ERR_INPUTS", "Request body too large", echoed=False)


def test_a_body_that_is_announced_too_large_is_refused_before_it_is_sent(service: Service) -> None:
    """Whoever waits for the answer before sending gets it."""
    before = service.tree()
    head = f"POST /run HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {LIMIT + 1}\r\n\r\n"
    response, body = service.send(head.encode())

    assert (response.status, json.loads(body)["error"]["message"]) == (413, "Request body too large")
    assert service.tree() == before


# --- execution_id ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [MISSING, ""], ids=told)
def test_a_missing_id_is_refused(service: Service, value: object) -> None:
    """Absent and empty are the same."""
    request = with_field(service, "execution_id", value)

    request.refused("ERR_INPUTS", "missing execution_id", echoed=False)


BAD_IDS = [
    *NOT_STRINGS, *["-a", ".a", "_a", "..", ".", "a/b", "a b", " a", "a ", "a\n", "\na", "a\x00", "é", "aé", "\u0661"],
    *["a" * 129, "{execution_id}", "a:b", "a\\b", "a+b"],
]  # fmt: skip


@pytest.mark.parametrize("value", BAD_IDS, ids=told)
def test_an_id_that_is_no_name_is_refused(service: Service, value: object) -> None:
    """The whole string has to match, and what was refused is not repeated."""
    request = with_field(service, "execution_id", value)

    request.refused("ERR_INPUTS", "invalid execution_id", echoed=False)


# --- schema, mode, ref, timeout_s, context, other keys ---------------------------------------------------------------


@pytest.mark.parametrize("value", [MISSING, "", "v2", "V1", " v1", 1, *NOT_STRINGS], ids=told)
def test_another_schema_is_refused(service: Service, value: object) -> None:
    """There is only v1."""
    with_field(service, "schema", value).refused("ERR_INPUTS", "unsupported schema")


@pytest.mark.parametrize("value", [MISSING, "", "dream", "MOCK", "Mock", " mock", "mock\n", *NOT_STRINGS], ids=told)
def test_another_mode_is_refused(service: Service, value: object) -> None:
    """Exactly `mock` or `real`."""
    with_field(service, "mode", value).refused("ERR_MODE_INVALID")


def test_a_mode_that_is_not_served_here_is_refused(service: Service) -> None:
    """This process was started with `PROCESSOR_MODE=mock`."""
    with_field(service, "mode", "real").refused("ERR_MODE_INVALID")


@pytest.mark.parametrize("value", ["", "other/one@1", "x", *NOT_STRINGS], ids=told)
def test_another_ref_is_refused(service: Service, value: object) -> None:
    """A request that was meant for another processor is not run by this one."""
    with_field(service, "ref", value).refused("ERR_REF_MISMATCH")


@pytest.mark.parametrize("spelling", ["{} ", "{}0", " {}", "{}\n"])
def test_the_ref_is_compared_as_it_is(service: Service, spelling: str) -> None:
    """Another version is another processor, and nothing is trimmed."""
    with_field(service, "ref", spelling.format(service.ref)).refused("ERR_REF_MISMATCH")
    with_field(service, "ref", service.ref.upper()).refused("ERR_REF_MISMATCH")


@pytest.mark.parametrize("value", [0, -1, -0.5, "5", "", None, True, False, [5], {}, 0.0, -1e300], ids=told)
def test_a_deadline_that_is_no_number_above_zero_is_refused(service: Service, value: object) -> None:
    """A boolean is no number in JSON."""
    with_field(service, "timeout_s", value).refused("ERR_INPUTS", "invalid timeout_s")


@pytest.mark.parametrize("value", ["", "x", None, 5, True, [], [{}]], ids=told)
def test_a_context_that_is_no_object_is_refused(service: Service, value: object) -> None:
    """Wrong type and `null` are invalid."""
    with_field(service, "context", value).refused("ERR_INPUTS", "invalid context")


def test_a_context_may_have_four_kibibytes_in_canonical_form_and_no_byte_more(service: Service) -> None:
    """Counted in UTF-8 after RFC 8785, not as it was sent."""
    frame = len('{"k":"","n":1}')
    fits = {"n": 1, "k": "é" * ((4096 - frame) // 2)}
    request = Request.good(service, context=fits)
    request.body = json.dumps(request.payload, indent=4).replace('"n": 1', '"n": 1.000e0').encode()
    assert len(request.body) > 3 * 4096, "spaces and escapes make it far longer than 4 KiB"
    assert request.send().json()["status"] == "success"

    Request.good(service, context={**fits, "k": fits["k"] + "x"}).refused("ERR_INPUTS", "invalid context")  # type: ignore[operator]


@pytest.mark.parametrize("name", ["surprise", "", "Mode", "execution_id ", "$schema", "inputs\u0000", "é", "__proto__"])
def test_an_unknown_field_is_refused_by_name(service: Service, name: str) -> None:
    """A misspelt option must not be passed over in silence."""
    error = with_field(service, name, 1).refused("ERR_INPUTS", "unknown field")

    assert [detail["path"] for detail in error["details"]] == [f"/{name}"]


def test_of_many_mistakes_twenty_are_told(service: Service) -> None:
    """The answer's size does not grow with the caller's."""
    request = Request.good(service, **{f"surprise{number}": number for number in range(50)})

    assert len(request.refused("ERR_INPUTS", "unknown field")["details"]) == 20


# --- inputs ----------------------------------------------------------------------------------------------------------


def test_inputs_that_the_registry_does_not_allow_are_refused(service: Service) -> None:
    """Each way to break them."""
    for inputs in [MISSING, *bad_inputs(service)]:
        error = with_field(service, "inputs", inputs).refused("ERR_INPUTS", "inputs do not match the schema")
        assert all(detail["path"].startswith("/inputs") for detail in error["details"])
        assert error["details"]


def test_no_refusal_repeats_a_value(service: Service) -> None:
    """Paths and rules are told, values never: not in the answer, not in the log."""
    canary = "canary-value-5e0d"
    fields = ["execution_id", "write_prefix", "schema", "mode", "ref", "timeout_s", "inputs"]
    values: list[object] = [f" {canary}", {"x": canary}, [canary]]
    requests = [with_field(service, name, value) for name in fields for value in values]
    good: JsonObject = Request.good(service).payload["inputs"]
    requests += [with_field(service, "inputs", {**good, "schema": canary})]
    for name in good["params"]:
        requests += [with_field(service, "inputs", {**good, "params": {**good["params"], name: {"x": canary}}})]
    requests += [Request(service, {}, body=f'{{"schema": "{canary}", "schema": 1}}'.encode())]
    requests += [Request(service, {}, body=f'{{"execution_id": "{canary}"'.encode())]

    for request in requests:
        response = request.send()
        if response.status_code != 200:  # one processor may take what another refuses
            assert canary not in response.text, request.payload
    service.wait_for_line(event="http.run.error")
    assert canary not in "".join(str(line) for line in service.lines(event="http.run.error"))

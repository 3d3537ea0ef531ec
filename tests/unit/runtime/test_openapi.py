"""The OpenAPI document says what a processor takes and answers, and each of its parts can be found."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from processor_runtime import openapi
from processor_runtime.errors import ERRORS, WritePrefixError
from processor_runtime.prefix import Roots, expand
from tests.unit.runtime.services import Bench, payload

INPUTS = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    "type": "object",
    "required": ["n"],
    "properties": {"n": {"$ref": "#/definitions/n"}},
    "definitions": {"n": {"type": "integer"}},
}
OPERATIONS = {
    ("/healthz", "get"): {"200", "503"},
    ("/contract", "get"): {"200", "401"},
    ("/run", "post"): {
        "200", "400", "401", "403", "409", "413", "415", "429", "499", "500", "502", "503", "504", "507",
    },
    ("/run-stream", "post"): {
        "200", "400", "401", "403", "409", "413", "415", "429", "499", "500", "502", "503", "504", "507",
    },
    ("/run/{execution_id}", "delete"): {"202", "401", "404"},
}  # fmt: skip
FAILURE: dict[str, Any] = {
    "status": "error",
    "execution_id": "",
    "error": {"code": "ERR_INPUTS", "message": "unknown field", "retryable": False, "details": []},
    "meta": {"ref": "ns/name@1", "env_fingerprint": "cpu:1;memory:2Gi", "image_digest": "", "pinned": False},
}


@pytest.fixture
def document(tmp_path: Path) -> dict[str, Any]:
    """Return the document of a processor whose inputs have definitions of their own."""
    return openapi.document(
        Bench(tmp_path, lambda _run: None, inputs=INPUTS).service.contract(), token=False, roots=["/artifacts", "/tmp"]
    )


def _references(value: Any, resource: dict[str, Any]) -> Iterator[tuple[dict[str, Any], str]]:
    """Yield each reference in *value*, and the resource that its pointer counts from: the nearest one with an `$id`."""
    if isinstance(value, dict):
        resource = value if "$id" in value else resource
        if isinstance(value.get("$ref"), str):
            yield resource, value["$ref"]
        for child in value.values():
            yield from _references(child, resource)
    elif isinstance(value, list):
        for child in value:
            yield from _references(child, resource)


def _leads_somewhere(resource: dict[str, Any], reference: str) -> bool:
    value: Any = resource
    for part in reference.removeprefix("#/").split("/"):
        if not isinstance(value, dict) or part not in value:
            return False
        value = value[part]
    return reference.startswith("#/")


def test_it_is_openapi_3_1_and_names_the_processor(document: dict[str, Any]) -> None:
    """Version 3.1 is the first whose schemas are JSON Schema."""
    assert document["openapi"].startswith("3.2.")
    assert document["info"] == {"title": "ns/name@1", "version": "v1"}


def test_it_has_the_contracts_operations_with_all_their_statuses(document: dict[str, Any]) -> None:
    """CONTRACT sections 1 and 5."""
    found = {
        (path, method): set(operation["responses"])
        for path, item in document["paths"].items()
        for method, operation in item.items()
    }

    assert found == OPERATIONS


def test_every_operation_says_what_it_does_and_every_response_what_it_means(document: dict[str, Any]) -> None:
    """OpenAPI requires the latter."""
    for item in document["paths"].values():
        for operation in item.values():
            assert operation["summary"]
            assert all(response["description"] for response in operation["responses"].values())


def test_every_code_of_a_run_is_named_where_its_status_is(document: dict[str, Any]) -> None:
    """A reader finds what to expect."""
    for path in ("/run", "/run-stream"):
        responses = document["paths"][path]["post"]["responses"]
        for code, row in ERRORS.items():
            if row.status not in {None, 404, 405}:
                assert str(code) in responses[str(row.status)]["description"]


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    """Those of the envelope and of the processor's own inputs, too."""
    references = list(_references(document, document))

    assert references
    assert {reference for resource, reference in references if not _leads_somewhere(resource, reference)} == set()


def test_a_path_parameter_is_declared(document: dict[str, Any]) -> None:
    """And required, as OpenAPI wants it."""
    (parameter,) = document["paths"]["/run/{execution_id}"]["delete"]["parameters"]

    assert (parameter["name"], parameter["in"], parameter["required"]) == ("execution_id", "path", True)


@pytest.mark.parametrize(
    ("write_prefix", "roots", "wanted"),
    [
        ("/artifacts/outputs/{execution_id}/", ["/artifacts", "/tmp"], True),
        ("/tmp/x", ["/artifacts", "/tmp"], True),
        ("/artifacts/inputs-of-mine/", ["/artifacts"], True),
        ("/anywhere/", ["/"], True),
        ("/a.b+(c)/x/", ["/a.b+(c)"], True),
        ("/axb+(c)/x/", ["/a.b+(c)"], False),
        ("/etc/{execution_id}/", ["/artifacts", "/tmp"], False),
        ("/tmp/", ["/artifacts", "/tmp"], False),
        ("/tmpx/y/", ["/artifacts", "/tmp"], False),
        ("/tmp/x/", ["/artifacts"], False),
        ("/artifacts/inputs/x/", ["/artifacts"], False),
        ("/artifacts/inputs", ["/artifacts"], False),
    ],
)
def test_a_prefix_lies_below_a_root_of_this_service(
    tmp_path: Path, write_prefix: str, roots: list[str], *, wanted: bool
) -> None:
    """As the schema of the request has it, and so the rule."""
    contract = Bench(tmp_path, lambda _run: None, inputs=INPUTS).service.contract()
    document = openapi.document(contract, token=False, roots=roots)
    judge = jsonschema_rs.Draft202012Validator(
        document["components"]["schemas"]["Request"]["properties"]["write_prefix"]
    )

    assert judge.is_valid(write_prefix) is wanted
    assert _allowed(write_prefix, roots) is wanted


def _allowed(write_prefix: str, roots: list[str]) -> bool:
    try:
        Roots.of(":".join(roots), "", "/artifacts").check_write_lexically(expand(write_prefix, "e1"))
    except WritePrefixError:
        return False
    return True


def test_a_status_has_its_own_envelopes_and_headers(document: dict[str, Any]) -> None:
    """A failure is no 200, and what is busy or draining says when to come again."""
    responses = document["paths"]["/run"]["post"]["responses"]

    def is_valid(status: str, **error: str) -> bool:
        schema = responses[status]["content"]["application/json"]["schema"]
        judge = jsonschema_rs.Draft202012Validator({**schema, "components": document["components"]})
        return judge.is_valid({**FAILURE, "error": {**FAILURE["error"], **error}})

    assert is_valid("400")
    assert not is_valid("200")
    assert not is_valid("500")
    assert is_valid("500", code="ERR_RUNTIME")
    assert {status for status in responses if "Retry-After" in responses[status].get("headers", {})} == {"429", "503"}
    assert list(responses["401"]["headers"]) == ["WWW-Authenticate"]


def test_each_event_is_described_as_it_goes_over_the_wire(document: dict[str, Any]) -> None:
    """With an id, and with data that is the contract's event, as JSON; `done` holds an envelope."""
    item = document["paths"]["/run-stream"]["post"]["responses"]["200"]["content"]["text/event-stream"]["itemSchema"]
    judge = jsonschema_rs.Draft202012Validator({**item, "components": document["components"]})

    assert judge.is_valid({"id": "1", "event": "token", "data": "{}"})
    assert not judge.is_valid({"id": "0", "event": "token", "data": "{}"})
    assert not judge.is_valid({"event": "token", "data": "{}"})
    assert not judge.is_valid({"id": "1", "event": "token", "data": {}})
    event = document["components"]["schemas"]["Event"]
    said = {row["if"]["properties"]["event"]["const"]: row["then"]["properties"]["data"] for row in event["allOf"]}
    assert set(said) == {"progress", "token", "log", "output", "done"}
    assert {data["contentMediaType"] for data in said.values()} == {"application/json"}
    assert said["done"]["contentSchema"] == {"$ref": "#/components/schemas/Envelope"}
    token = jsonschema_rs.Draft202012Validator(said["token"]["contentSchema"])
    assert (token.is_valid({"text": "a"}), token.is_valid({"text": 1})) == (True, False)


def test_the_request_is_the_contracts_with_this_processors_inputs(document: dict[str, Any]) -> None:
    """A good one is valid, one with other inputs is not; OpenAPI 3.1 reads it as draft 2020-12."""
    schema = {"$ref": "#/components/schemas/Request", "components": document["components"]}
    judge = jsonschema_rs.Draft202012Validator(schema)

    assert judge.is_valid(payload(inputs={"n": 1}))
    assert not judge.is_valid(payload(inputs={"n": "1"}))
    assert not judge.is_valid(payload(inputs={}))
    assert not judge.is_valid(payload(inputs={"n": 1}, other=1))


def test_the_envelope_is_the_contracts(document: dict[str, Any], tmp_path: Path) -> None:
    """Every answer of a run is valid by it."""
    schema = {"$ref": "#/components/schemas/Envelope", "components": document["components"]}
    judge = jsonschema_rs.Draft202012Validator(schema)
    bench = Bench(tmp_path, lambda run: run.write_text("outputs/a.txt", "x"))

    assert judge.is_valid(bench.ask(payload()).envelope)
    assert judge.is_valid(bench.ask(payload(mode="dream")).envelope)
    assert not judge.is_valid({"status": "success"})


def test_what_the_contract_said_is_not_changed(tmp_path: Path) -> None:
    """`GET /contract` and `/openapi.json` are made of the same objects."""
    contract = Bench(tmp_path, lambda _run: None, inputs=INPUTS).service.contract()

    first = openapi.document(contract, token=False, roots=["/artifacts"])
    second = openapi.document({**contract, "ref": "ns/other@1"}, token=False, roots=["/tmp"])

    assert contract["inputs"] == INPUTS
    assert first == openapi.document(contract, token=False, roots=["/artifacts"])
    assert first != second

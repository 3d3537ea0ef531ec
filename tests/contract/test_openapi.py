"""`/openapi.json` describes the real request and every status."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import pytest

from tests.contract.conftest import Services
from tests.contract.discovery import STEPS
from tests.contract.judge import STATUS_OF_INPUTS, TABLE
from tests.contract.requests import RULES, Request, Rule, broken
from tests.support.service import JsonObject, Service


@pytest.fixture
def document(service: Service) -> JsonObject:
    """What each processor serves as `/openapi.json`."""
    response = service.http.get("/openapi.json")
    assert (response.status_code, response.headers["content-type"].partition(";")[0]) == (200, "application/json")
    found: JsonObject = response.json()
    return found


def references(value: Any) -> Iterator[str]:
    """Return each `$ref` in *value*."""
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from references(item)


def request_schema(document: JsonObject) -> JsonObject:
    """Return the schema of the body of `/run`, with all that it refers to."""
    body = document["paths"]["/run"]["post"]["requestBody"]
    assert body["required"] is True
    assert list(body["content"]) == ["application/json"]
    return {**body["content"]["application/json"]["schema"], "components": document["components"]}


def test_it_describes_the_routes_that_there_are(document: JsonObject) -> None:
    """Each of §1's table, and no other."""
    assert document["openapi"].startswith("3.")
    assert {(path, method) for path, methods in document["paths"].items() for method in methods} - {
        ("/healthz", "head")
    } == {
        ("/healthz", "get"),
        ("/run", "post"),
        ("/run-stream", "post"),
        ("/run/{execution_id}", "delete"),
        ("/contract", "get"),
    }


def test_each_reference_in_it_leads_somewhere(document: JsonObject) -> None:
    """A reader resolves them from the root of the document."""
    for reference in references(document):
        assert reference.startswith("#/"), reference
        target: Any = document
        for part in reference.removeprefix("#/").split("/"):
            assert part in target, reference
            target = target[part]


def test_it_names_every_status(document: JsonObject) -> None:
    """All of §5's table, each with an envelope; the stream's refusals too."""
    statuses = {str(status) for status, _, _ in TABLE.values()} | {str(status) for status in STATUS_OF_INPUTS.values()}
    of_a_run = statuses - {"404", "405"} | {"200"}
    for path in ("/run", "/run-stream"):
        responses = document["paths"][path]["post"]["responses"]
        assert set(responses) >= of_a_run
        assert {kind for status in of_a_run - {"200"} for kind in responses[status]["content"]} == {"application/json"}
    assert list(document["paths"]["/run"]["post"]["responses"]["200"]["content"]) == ["application/json"]
    assert list(document["paths"]["/run-stream"]["post"]["responses"]["200"]["content"]) == ["text/event-stream"]
    assert set(document["paths"]["/run/{execution_id}"]["delete"]["responses"]) >= {"202", "401", "404"}
    assert set(document["paths"]["/healthz"]["get"]["responses"]) >= {"200", "503"}


def test_it_describes_the_request_that_is_taken(service: Service, document: JsonObject) -> None:
    """A good one is valid by it, with all that may be said besides."""
    schema = request_schema(document)
    good = Request.good(service, ref=service.ref, timeout_s=1.5, context={"any": [1]}).payload

    assert [error.message for error in jsonschema_rs.Draft202012Validator(schema).iter_errors(good)] == []
    assert service.run(good)["status"] == "success"


@pytest.mark.parametrize("rule", RULES[3:], ids=lambda rule: str(rule.name))
def test_what_is_refused_is_not_described(service: Service, document: JsonObject, rule: Rule) -> None:
    """What breaks a rule that a schema can state is invalid by it: a generated client cannot get it wrong."""
    judge = jsonschema_rs.Draft202012Validator(request_schema(document))

    assert not judge.is_valid(broken(service, rule).payload)


def test_a_mode_that_is_not_served_is_not_described(services: Services) -> None:
    """`PROCESSOR_MODE` narrows what this process takes."""
    service = services.get(STEPS, PROCESSOR_MODE="mock")
    judge = jsonschema_rs.Draft202012Validator(request_schema(service.http.get("/openapi.json").json()))

    assert judge.is_valid(Request.good(service).payload)
    assert not judge.is_valid(Request.good(service, mode="real").payload)


def test_it_says_whether_a_token_is_needed(services: Services) -> None:
    """With one set, every route but health asks for it, and so the description says."""
    token = "canary-token-93d2"
    service = services.get(STEPS, PROCESSOR_MODE="mock", PROCESSOR_TOKEN=token)
    document = service.http.get("/openapi.json", headers={"Authorization": f"Bearer {token}"}).json()

    schemes = document["components"]["securitySchemes"]
    assert [(scheme["type"], scheme["scheme"].lower()) for scheme in schemes.values()] == [("http", "bearer")]
    for path, methods in document["paths"].items():
        for operation in methods.values():
            needs = operation.get("security", document.get("security", []))
            assert (needs not in ([], [{}])) == (path != "/healthz"), path

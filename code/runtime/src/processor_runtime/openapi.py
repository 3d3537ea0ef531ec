"""The OpenAPI document of a processor, made from what it promises.

Version 3.2 is the first that can describe the events of a stream (see docs/adr).
"""

import re
from collections.abc import Iterable, Sequence
from typing import Any, Final

from .envelopes import REPLAYED_HEADER
from .errors import ERRORS
from .prefix import INPUTS
from .schemas import load
from .schemas.embedding import embedded

_JSON: Final = "application/json"
_EVENTS: Final = "text/event-stream"
_REQUEST: Final = "#/components/schemas/Request"
_ENVELOPE: Final = "#/components/schemas/Envelope"
_EVENT: Final = "#/components/schemas/Event"
_STATES: Final = ("starting", "failed", "draining")
_PARTS: Final = {
    "contract": {"const": "v1"},
    "ref": {"type": "string"},
    "capabilities": {"type": "array", "items": {"type": "string"}},
    "modes": {"type": "array", "items": {"enum": ["mock", "real"]}, "minItems": 1},
    "inputs": {"type": "object"},
    "outputs": {"type": "array", "items": {"type": "object", "required": ["path", "mime"]}},
    "runtime": {"type": "object", "required": ["cpu", "memory_gb", "timeout_s"]},
    "limits": {"type": "object", "required": ["max_body_bytes", "concurrency", "queue", "timeout_s"]},
    "secrets": {"type": "object", "required": ["required", "optional"]},
}
_RETRY_AFTER: Final = {"Retry-After": {"required": True, "schema": {"type": "integer", "minimum": 1}}}
_HEADERS: Final[dict[int, dict[str, Any]]] = {
    401: {"WWW-Authenticate": {"required": True, "schema": {"const": "Bearer"}}},
    429: _RETRY_AFTER,
    503: _RETRY_AFTER,
}
_NOT_OF_A_RUN: Final = (404, 405)  # another route, another method


def document(contract: dict[str, Any], *, token: bool, roots: Sequence[str]) -> dict[str, Any]:
    """Return the OpenAPI document for what `GET /contract` says.

    Args:
        contract: The request is the contract's, with this processor's `inputs`,
            `ref` and modes in it.
        token: Whether one is needed.
        roots: The logical folders that prefixes may lie below.
    """
    run = {"200": _success(_JSON, {"schema": _only("success")}), **_failures()}
    stream = {"200": _success(_EVENTS, {"itemSchema": {"$ref": _EVENT}}), **_failures()}
    request = _request(contract, roots)
    body = _body(contract["limits"]["max_body_bytes"])
    described = {
        "openapi": "3.2.0",
        "info": {"title": contract["ref"], "version": contract["contract"]},
        "paths": {
            "/healthz": {"get": _health()},
            "/contract": {"get": _contract()},
            "/run": {
                "post": {"summary": "Run to the end and answer one envelope", "requestBody": body, "responses": run}
            },
            "/run-stream": {
                "post": {"summary": "Run and stream, ending in `done`", "requestBody": body, "responses": stream}
            },
            "/run/{execution_id}": {"delete": _cancel(request["properties"]["execution_id"])},
        },
        "components": {
            "schemas": {
                "Request": request,
                "Envelope": embedded(load("envelope"), _ENVELOPE),
                "Event": _event(),
            },
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }
    return {**described, "security": [{"token": []}]} if token else described


# --- what is sent


def _request(contract: dict[str, Any], roots: Sequence[str]) -> dict[str, Any]:
    request = embedded(load("request"), _REQUEST)
    properties = request["properties"]
    properties["inputs"] = embedded(contract["inputs"], f"{_REQUEST}/properties/inputs")
    properties["ref"]["const"] = contract["ref"]
    properties["mode"]["enum"] = contract["modes"]
    prefix = properties["write_prefix"]
    below = "|".join(_escaped(root.rstrip("/")) for root in roots)
    prefix["pattern"] = f"^(?:{below}){prefix['pattern'].removeprefix('^')}"
    prefix["not"] = {"pattern": f"^{INPUTS}(?:/|$)"}
    return request


def _escaped(text: str) -> str:
    """Return the pattern of *text*; `re.escape` escapes more than ECMA-262 allows."""
    return re.sub(r"[\\^$.*+?()\[\]{}|/]", r"\\\g<0>", text)


def _body(max_bytes: int) -> dict[str, Any]:
    rule = f"I-JSON (RFC 7493) of at most {max_bytes} bytes and 64 levels: no key twice, integers within ±(2^53-1)."
    return {"description": rule, "required": True, "content": {_JSON: {"schema": {"$ref": _REQUEST}}}}


# --- what is answered


def _event() -> dict[str, Any]:
    """Return the event's schema as it goes over the wire: with its id, and its data as JSON in a string."""
    event = embedded(load("event"), _EVENT)
    event["required"] = ["id", *event["required"]]
    event["properties"]["id"] = {"type": "string", "pattern": "^[1-9][0-9]*$"}
    for named in event["allOf"]:
        if named["if"]["properties"]["event"] == {"const": "done"}:
            named["then"]["properties"]["data"] = {"$ref": _ENVELOPE}
    for part in (event, *(named["then"] for named in event["allOf"])):
        data = part["properties"]["data"]
        part["properties"]["data"] = {"type": "string", "contentMediaType": _JSON, "contentSchema": data}
    return event


def _only(status: str, *codes: str) -> dict[str, Any]:
    """Return the schema of an envelope with this status, and one of *codes* if it is an error."""
    properties: dict[str, Any] = {"status": {"const": status}}
    if codes:
        properties["error"] = {"properties": {"code": {"enum": list(codes)}}}
    return {"allOf": [{"$ref": _ENVELOPE}, {"properties": properties}]}


def _success(media_type: str, content: dict[str, Any]) -> dict[str, Any]:
    replayed = {"description": "The answer of a run that was asked for before.", "schema": {"const": "true"}}
    return {
        "description": "success" if media_type == _JSON else "the run's events; the last one is `done`",
        "headers": {REPLAYED_HEADER: replayed},
        "content": {media_type: content},
    }


def _failures() -> dict[str, Any]:
    """Return every status but 200 that a run can have."""
    by_status: dict[int, list[str]] = {413: ["ERR_INPUTS"], 415: ["ERR_INPUTS"]}
    for code, row in ERRORS.items():
        if row.status is not None and row.status not in _NOT_OF_A_RUN:
            by_status.setdefault(row.status, []).append(str(code))
    return {str(status): _error(status, codes) for status, codes in sorted(by_status.items())}


def _error(status: int, codes: Iterable[str]) -> dict[str, Any]:
    response = {"description": ", ".join(codes), "content": {_JSON: {"schema": _only("error", *codes)}}}
    header = _HEADERS.get(status)
    return {**response, "headers": header} if header else response


def _unauthorized() -> dict[str, Any]:
    return {"401": _error(401, ["ERR_UNAUTHORIZED"])}


def _health() -> dict[str, Any]:
    return {
        "summary": "Ready to accept a run",
        "security": [],
        "responses": {
            "200": _object("ready", {"ok": {"const": True}}, closed=True),
            "503": _object(", ".join(_STATES), {"ok": {"const": False}, "state": {"enum": list(_STATES)}}),
        },
    }


def _contract() -> dict[str, Any]:
    return {"summary": "What this image promises", "responses": {"200": _object("OK", _PARTS), **_unauthorized()}}


def _cancel(execution_id: dict[str, Any]) -> dict[str, Any]:
    answer = {"execution_id": execution_id, "state": {"const": "cancelling"}}
    return {
        "summary": "Ask for the end of a queued or running execution",
        "parameters": [{"name": "execution_id", "in": "path", "required": True, "schema": execution_id}],
        "responses": {
            "202": _object("cancelling", answer),
            **_unauthorized(),
            "404": _error(404, ["ERR_NOT_FOUND"]),
        },
    }


def _object(description: str, properties: dict[str, Any], *, closed: bool = False) -> dict[str, Any]:
    """Return a response that is an object with all of *properties*, and others unless it is *closed*."""
    schema: dict[str, Any] = {"type": "object", "required": list(properties), "properties": properties}
    if closed:
        schema["additionalProperties"] = False
    return {"description": description, "content": {_JSON: {"schema": schema}}}

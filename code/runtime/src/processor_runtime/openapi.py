"""The OpenAPI document of a processor, made from what it promises."""

from typing import Any, Final

from .errors import ERRORS
from .schemas import load

_ENVELOPE: Final = {"$ref": "#/components/schemas/Envelope"}
_JSON: Final = "application/json"


def document(contract: dict[str, Any], *, token: bool) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document for what `GET /contract` says.

    The request is the contract's, with this processor's `inputs`, `ref` and
    modes in it; *token* says whether one is needed.
    """
    request = _moved(load("request"), "#/components/schemas/Request")
    inputs = _moved(contract["inputs"], "#/components/schemas/Request/properties/inputs")
    request["properties"] |= {"inputs": inputs, "ref": {"const": contract["ref"]}, "mode": {"enum": contract["modes"]}}
    described = {
        "openapi": "3.1.0",
        "info": {"title": contract["ref"], "version": contract["contract"]},
        "paths": {
            "/healthz": {"get": _health()},
            "/contract": {"get": {"summary": "What this image promises", "responses": _ok({"type": "object"})}},
            "/run": {"post": _run("Run to the end and answer one envelope", {_JSON: {"schema": _ENVELOPE}})},
            "/run-stream": {
                "post": _run("Run and stream, ending in `done`", {"text/event-stream": {"schema": {"type": "string"}}})
            },
            "/run/{execution_id}": {"delete": _cancel()},
        },
        "components": {
            "schemas": {
                "Request": request,
                "Envelope": _moved(load("envelope"), _ENVELOPE["$ref"]),
            },
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }
    return {**described, "security": [{"token": []}]} if token else described


def _moved(schema: dict[str, Any], to: str) -> dict[str, Any]:
    """Return *schema* as it stands at the pointer *to* of another document: its own references lead there."""

    def moved(value: Any) -> Any:
        if isinstance(value, list):
            return [moved(child) for child in value]
        if not isinstance(value, dict):
            return value
        result = {key: moved(child) for key, child in value.items()}
        reference = result.get("$ref")
        if isinstance(reference, str) and reference.startswith("#"):
            result["$ref"] = to + reference[1:]
        return result

    return {key: moved(value) for key, value in schema.items() if key not in {"$schema", "$id"}}


def _error(description: str) -> dict[str, Any]:
    return {"description": description, "content": {_JSON: {"schema": _ENVELOPE}}}


def _ok(schema: dict[str, Any]) -> dict[str, Any]:
    return {"200": {"description": "OK", "content": {_JSON: {"schema": schema}}}, "401": _error("ERR_UNAUTHORIZED")}


def _health() -> dict[str, Any]:
    schema = {"type": "object", "required": ["ok"], "properties": {"ok": {"type": "boolean"}}}
    content = {_JSON: {"schema": schema}}
    return {
        "summary": "Ready to accept a run",
        "security": [],
        "responses": {
            "200": {"description": "ready", "content": content},
            "503": {"description": "starting, failed or draining", "content": content},
        },
    }


def _run(summary: str, success: dict[str, Any]) -> dict[str, Any]:
    by_status: dict[int, list[str]] = {413: ["ERR_INPUTS"], 415: ["ERR_INPUTS"]}
    for code, row in ERRORS.items():
        if row.status is not None and row.status not in {404, 405}:
            by_status.setdefault(row.status, []).append(str(code))
    return {
        "summary": summary,
        "requestBody": {
            "required": True,
            "content": {_JSON: {"schema": {"$ref": "#/components/schemas/Request"}}},
        },
        "responses": {
            "200": {"description": "success", "content": success},
            **{str(status): _error(", ".join(codes)) for status, codes in sorted(by_status.items())},
        },
    }


def _cancel() -> dict[str, Any]:
    schema = {"type": "object", "required": ["execution_id", "state"]}
    return {
        "summary": "Ask for the end of a queued or running execution",
        "parameters": [{"name": "execution_id", "in": "path", "required": True, "schema": {"type": "string"}}],
        "responses": {
            "202": {"description": "cancelling", "content": {_JSON: {"schema": schema}}},
            "401": _error("ERR_UNAUTHORIZED"),
            "404": _error("ERR_NOT_FOUND"),
        },
    }

"""Inputs that a processor takes, found without knowing the processor: its own example, else made from its schema."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema_rs

from tests.support.service import JsonObject, Service

REFERENCE = {"$artifact", "sha256"}


def example_inputs(service: Service) -> JsonObject:
    """Return inputs that the registry of *service* calls valid; where it wants a file, one is attached.

    A processor that this cannot please gives `examples` at the root of its inputs schema. The files are the first
    one in `samples/` beside its registry, or a line of text.
    """
    schema: JsonObject = service.registry["inputs"]
    found: JsonObject = _example(schema, schema, service)
    assert judge(service).is_valid(found), f"give {service.ref}'s inputs schema an `examples` entry: made {found}"
    return found


def bad_inputs(service: Service) -> list[Any]:
    """Return inputs that the registry of *service* calls invalid, one broken in this way and one in that."""
    good = example_inputs(service)
    candidates: list[Any] = [None, [], "x", 5, {}, {**good, "surprise": 1}, {**good, "schema": "v2"}]
    candidates += [{name: value for name, value in good.items() if name != dropped} for dropped in good]
    replacements: list[Any] = [None, [], "x", {}]
    candidates += [{**good, "params": value} for value in replacements]
    candidates += [{**good, "params": {**good["params"], name: {"not": ["it"]}}} for name in good["params"]]
    bad = [candidate for candidate in candidates if not judge(service).is_valid(candidate)]
    assert len(bad) >= 5, f"{service.ref} takes nearly everything for inputs"
    return bad


def judge(service: Service) -> jsonschema_rs.Draft7Validator:
    """Return the schema of *service*, judged as Draft-07 with `format` as an annotation."""
    return _judge(json.dumps(service.registry["inputs"]))


@cache
def _judge(schema: str) -> jsonschema_rs.Draft7Validator:
    return jsonschema_rs.Draft7Validator(json.loads(schema), validate_formats=False, retriever=_refuse)


def _refuse(uri: str) -> Any:
    raise ValueError(f"{uri} is outside the file")


def _example(schema: JsonObject, root: JsonObject, service: Service) -> Any:
    if "$ref" in schema:
        target: Any = root
        for part in str(schema["$ref"]).removeprefix("#/").split("/"):
            target = target[part.replace("~1", "/").replace("~0", "~")]
        return _example(target, root, service)
    for word in ("examples", "enum"):
        if schema.get(word):
            return schema[word][0]
    for word in ("const", "default"):
        if word in schema:
            return schema[word]
    for word in ("anyOf", "oneOf"):
        if word in schema:
            return _example(schema[word][0], root, service)
    kind = schema.get("type", "object" if "properties" in schema else "string")
    return _of_kind(kind[0] if isinstance(kind, list) else kind, schema, root, service)


def _of_kind(kind: str, schema: JsonObject, root: JsonObject, service: Service) -> Any:
    match kind:
        case "object":
            properties: JsonObject = schema.get("properties", {})
            if properties.keys() >= REFERENCE:
                return service.attach(*_sample(service.folder / "samples"))
            return {name: _example(properties.get(name, {}), root, service) for name in schema.get("required", ())}
        case "array":
            return [_example(schema.get("items", {}), root, service)] * schema.get("minItems", 0)
        case "string":
            return "x" * max(1, schema.get("minLength", 1))
        case "integer" | "number":
            return schema.get("minimum", schema.get("exclusiveMinimum", 0) + 1)
        case _:
            return True if kind == "boolean" else None


def _sample(samples: Path) -> tuple[bytes, str]:
    files = sorted(path for path in samples.glob("*") if path.is_file())
    return (files[0].read_bytes(), files[0].name) if files else (b"a line of text\n", "line.txt")

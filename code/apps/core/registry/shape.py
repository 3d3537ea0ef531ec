"""Whether a document has the shape of `registry.schema.json`."""

import difflib
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final

import jsonschema_rs
from jsonschema_rs import ValidationErrorKind

from .document import Document
from .problems import Kind, Problem, pointer

SCHEMA: Final = Path(__file__).with_name("registry.schema.json")


def shape_problems(document: Document) -> list[Problem]:
    """Return every place where *document* breaks the schema, at most one problem for each field."""
    found: dict[str, Problem] = {}
    for error in _validator().iter_errors(document.value):
        for field, reason in _explain(error):
            found.setdefault(field, document.problem(field, Kind.SHAPE, reason))
    return list(found.values())


@cache
def load_schema() -> dict[str, Any]:
    """Return the JSON Schema of `registry.yaml`, Draft-07."""
    schema: dict[str, Any] = json.loads(SCHEMA.read_text(encoding="utf-8"))
    return schema


@cache
def _validator() -> jsonschema_rs.Draft7Validator:
    return jsonschema_rs.Draft7Validator(load_schema(), offline=True)


def _explain(error: jsonschema_rs.ValidationError) -> Iterator[tuple[str, str]]:
    """Yield the field and the reason of each problem that one failed keyword stands for."""
    match error.kind:
        case ValidationErrorKind.Required():
            yield pointer(*error.instance_path, error.kind.property), "is missing"
        case ValidationErrorKind.AdditionalProperties():
            known = list(_schema_at(error.schema_path[:-1]).get("properties", {}))
            for name in error.kind.unexpected:
                near = difflib.get_close_matches(name, known, n=1)
                hint = f": did you mean {near[0]}?" if near else f": known here are {', '.join(known)}"
                yield pointer(*error.instance_path, name), f"is unknown{hint}"
        case _:
            yield pointer(*error.instance_path), f"must be {_schema_at(error.schema_path[:-1])['x-rule']}"


def _schema_at(path: list[str | int]) -> dict[str, Any]:
    """Return the part of the schema at *path*, which begins at the root."""
    part: Any = load_schema()
    for step in path:
        part = part[step]
    found: dict[str, Any] = part
    return found

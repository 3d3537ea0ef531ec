"""Whether an inputs schema is one that the runtime can judge by."""

from collections.abc import Iterator
from functools import cache
from typing import Any, Final

import jsonschema_rs

from processor_runtime.schemas import compile_schema

_DRAFT_07: Final = "http://json-schema.org/draft-07/schema#"  # known to the library: nothing is fetched
_DATA: Final = frozenset({"const", "default", "enum", "examples"})  # values, in which `$ref` is a key like any other
_SCHEMAS_BY_NAME: Final = frozenset({"definitions", "dependencies", "patternProperties", "properties"})


def inputs_faults(schema: dict[str, Any]) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Yield the path within *schema* and the reason of everything that is not Draft-07, or leads out of the file."""
    found = False
    for error in _draft_07().iter_errors(schema):
        found = True
        yield tuple(error.instance_path), f"is not Draft-07: {error.message}"
    for path, target in _references(schema, ()):
        if not isinstance(target, str) or not target.startswith("#"):
            found = True
            yield path, "must begin with #: a $ref stays inside the file"
    if not found:
        try:
            compile_schema(schema)
        except jsonschema_rs.ValidationError as exc:
            yield tuple(exc.instance_path), f"cannot be used: {exc.message}"
        except ValueError as exc:
            yield (), f"cannot be used: {exc}"


@cache
def _draft_07() -> jsonschema_rs.Draft7Validator:
    return jsonschema_rs.Draft7Validator({"$ref": _DRAFT_07}, validate_formats=True, mask="this", offline=True)


def _references(part: Any, path: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """Yield the path and the target of every ``$ref`` below *part*, which is a schema or a list of schemas."""
    if isinstance(part, list):
        for index, item in enumerate(part):
            yield from _references(item, (*path, index))
    if not isinstance(part, dict):
        return
    for key, value in part.items():
        if key == "$ref":
            yield (*path, key), value
        elif key in _SCHEMAS_BY_NAME and isinstance(value, dict):
            for name, item in value.items():  # a property may be called `$ref` too
                yield from _references(item, (*path, key, name))
        elif key not in _DATA:
            yield from _references(value, (*path, key))

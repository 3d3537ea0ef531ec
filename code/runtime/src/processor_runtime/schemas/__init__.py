"""The contract's JSON Schemas: what requests and answers look like, as files.

Runtime, adapters, conformance kit and `docs/contract/` all use these. Answers
leave `additionalProperties` open, because readers ignore what they do not know.
"""

from functools import cache
from importlib.resources import files
from typing import Any, Final

import jsonschema_rs
import orjson

NAMES: Final = ("request", "envelope", "receipt", "index", "event")


@cache
def load(name: str) -> dict[str, Any]:
    """Return the schema called *name*, one of `NAMES`."""
    schema: dict[str, Any] = orjson.loads(files(__name__).joinpath(f"{name}.schema.json").read_bytes())
    return schema


@cache
def validator(name: str) -> jsonschema_rs.Draft7Validator:
    """Return a validator of the schema called *name*; it never shows values, and opens no URL."""
    return compile_schema(load(name))


def compile_schema(schema: dict[str, Any]) -> jsonschema_rs.Draft7Validator:
    """Return a Draft-07 validator, whatever `$schema` says: `format` is an annotation, remote `$ref`s fail.

    Raises:
        ValueError: *schema* is not a Draft-07 schema, or refers outside itself.
    """
    return jsonschema_rs.Draft7Validator(schema, validate_formats=False, mask="***", retriever=_refuse)


def _refuse(uri: str) -> Any:  # the library's signature
    reason = f"$ref outside the file: {uri}"
    raise ValueError(reason)

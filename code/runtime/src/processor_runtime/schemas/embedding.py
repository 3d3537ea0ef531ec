"""A Draft-07 schema as a part of an OpenAPI document, whose schemas are Draft 2020-12."""

from collections.abc import Callable, Mapping
from typing import Any, Final

_WHOLE_DOCUMENT: Final = frozenset({"$schema", "$id"})
# Draft-07 ignores all that stands beside a `$ref`; these judge nothing, and a reference may lead to the last one
_BESIDE_REF: Final = frozenset({"$ref", "title", "description", "default", "examples", "$comment", "definitions"})


def embedded(schema: Mapping[str, Any], at: str) -> dict[str, Any]:
    """Return *schema* as it reads at the pointer *at* (``#/components/schemas/Request``) of another document.

    It judges alike in the newer draft: lists of `items`, `dependencies`, anchors
    and what stands beside a `$ref` are said as Draft 2020-12 says them. `format` is left
    out: an annotation here (CONTRACT §2), readers of OpenAPI take it for a rule.
    References into the schema lead there. Values that are no schemas (`const`,
    `examples`) stay as they are, and so does *schema*.
    """
    return _object({key: value for key, value in schema.items() if key not in _WHOLE_DOCUMENT}, at)


def _schema(schema: Any, at: str) -> Any:
    return _object(schema, at) if isinstance(schema, dict) else schema  # or true, or false


def _object(schema: dict[str, Any], at: str) -> dict[str, Any]:
    return {key: _READ.get(key, _as_it_is)(value, at) for key, value in _in_newer_words(schema).items()}


def _in_newer_words(schema: dict[str, Any]) -> dict[str, Any]:
    if "$ref" in schema:
        return {key: value for key, value in schema.items() if key in _BESIDE_REF}
    words = {key: value for key, value in schema.items() if key not in {"format", "additionalItems", "dependencies"}}
    if schema.get("$id", "").startswith("#"):
        words["$anchor"] = words.pop("$id").removeprefix("#")
    if isinstance(schema.get("items"), list):
        words["prefixItems"] = words.pop("items")
        words["items"] = schema.get("additionalItems", True)
    dependencies = schema.get("dependencies", {})
    if dependencies:
        words["dependentRequired"] = {name: value for name, value in dependencies.items() if isinstance(value, list)}
        words["dependentSchemas"] = {name: value for name, value in dependencies.items() if not isinstance(value, list)}
    return words


def _each(schemas: list[Any], at: str) -> list[Any]:
    return [_schema(schema, at) for schema in schemas]


def _by_name(schemas: dict[str, Any], at: str) -> dict[str, Any]:
    return {name: _schema(schema, at) for name, schema in schemas.items()}


def _reference(target: str, at: str) -> str:
    return at + target.removeprefix("#") if target == "#" or target.startswith("#/") else target  # or an anchor


def _as_it_is(value: Any, _at: str) -> Any:
    return value


_READ: Final[Mapping[str, Callable[[Any, str], Any]]] = {
    "$ref": _reference,
    **dict.fromkeys(("items", "contains", "additionalProperties", "propertyNames"), _schema),
    **dict.fromkeys(("not", "if", "then", "else"), _schema),
    **dict.fromkeys(("allOf", "anyOf", "oneOf", "prefixItems"), _each),
    **dict.fromkeys(("properties", "patternProperties", "dependentSchemas", "definitions"), _by_name),
}

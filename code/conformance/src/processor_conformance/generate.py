"""Inputs made from a Draft-07 schema: valid ones by hypothesis, broken ones by breaking those rule by rule."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any, Final

import jsonschema_rs
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

Schema = dict[str, Any] | bool
_DEEPEST: Final = 12
_SCALARS: Final = st.none() | st.booleans() | st.integers(-1000, 1000) | st.text("abc é", max_size=8)
_ANY: Final = st.recursive(_SCALARS, lambda inner: st.lists(inner, max_size=2), max_leaves=4)
_LARGEST_INT: Final = 2**53 - 1
_LONGEST: Final = 10**6
_MOST_ITEMS: Final = 10**4


def validator(schema: Schema) -> jsonschema_rs.Draft7Validator:
    """Return what judges by *schema* as Draft-07, whatever `$schema` says; `format` is an annotation.

    Raises:
        ValueError: it is no schema.
    """
    document = {key: value for key, value in schema.items() if key != "$schema"} if isinstance(schema, dict) else schema
    return jsonschema_rs.Draft7Validator(document, validate_formats=False)


def valid_inputs(schema: Schema, count: int) -> list[Any]:
    """Return up to *count* different values that are valid by *schema*; the same ones every time, short ones first."""
    judge = validator(schema)
    found: dict[str, Any] = {}

    @settings(
        max_examples=count * 3,
        phases=[Phase.generate],
        database=None,
        derandomize=True,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(_Maker(schema).of(schema))
    def collect(value: Any) -> None:
        if judge.is_valid(value):
            found.setdefault(json.dumps(value, sort_keys=True), value)

    collect()
    ordered = sorted(found.values(), key=lambda value: len(json.dumps(value)))
    step = max(1, len(ordered) // count)
    return ordered[::step][:count]


class _Maker:
    """Strategies for the parts of one schema."""

    def __init__(self, root: Schema) -> None:
        self._root = root

    def of(self, schema: Schema, depth: int = 0) -> st.SearchStrategy[Any]:
        """Return what makes values for *schema*; most are valid, the caller sorts out the others."""
        if isinstance(schema, bool) or depth > _DEEPEST:
            return _ANY
        schema = resolved(schema, self._root)
        if "const" in schema:
            return st.just(schema["const"])
        if "enum" in schema:
            return st.sampled_from(schema["enum"])
        for several in ("anyOf", "oneOf"):
            if several in schema:
                rest = {key: value for key, value in schema.items() if key != several}
                return st.one_of([self.of(_merged(rest, branch), depth + 1) for branch in schema[several]])
        if "allOf" in schema:
            merged = {key: value for key, value in schema.items() if key != "allOf"}
            for branch in schema["allOf"]:
                merged = _merged(merged, resolved(branch, self._root) if isinstance(branch, dict) else {})
            return self.of(merged, depth + 1)
        return st.one_of([self._of_type(name, schema, depth) for name in _types(schema)])

    def _of_type(self, name: str, schema: dict[str, Any], depth: int) -> st.SearchStrategy[Any]:
        if name == "object":
            return self._object(schema, depth)
        if name == "array":
            return self._array(schema, depth)
        if name == "string":
            return _string(schema)
        if name in {"integer", "number"}:
            return _number(schema, whole=name == "integer")
        return st.none() if name == "null" else st.booleans()

    def _object(self, schema: dict[str, Any], depth: int) -> st.SearchStrategy[dict[str, Any]]:
        known: dict[str, Schema] = schema.get("properties", {})
        required = schema.get("required", [])
        others = schema.get("additionalProperties", True)
        must = {key: self.of(known.get(key, others), depth + 1) for key in required}
        may = {
            key: self.of(child, depth + 1) for key, child in known.items() if key not in required and child is not False
        }
        return st.fixed_dictionaries(must, optional=may)

    def _array(self, schema: dict[str, Any], depth: int) -> st.SearchStrategy[list[Any]]:
        items = schema.get("items", True)
        if isinstance(items, list):
            return st.tuples(*(self.of(item, depth + 1) for item in items)).map(list)
        least = schema.get("minItems", 0)
        most = min(schema.get("maxItems", least + 3), least + 3)
        unique = json.dumps if schema.get("uniqueItems") else None
        return st.lists(self.of(items, depth + 1), min_size=least, max_size=most, unique_by=unique)


def _string(schema: dict[str, Any]) -> st.SearchStrategy[str]:
    least = schema.get("minLength", 0)
    most = min(schema.get("maxLength", least + 20), least + 20)
    if "pattern" in schema:
        # `$` in a JSON Schema is the very end, in Python also before a last line break
        pattern = schema["pattern"]
        pattern = f"{pattern[:-1]}\\Z" if pattern.endswith("$") and not pattern.endswith("\\$") else pattern
        return st.from_regex(pattern).filter(lambda text: least <= len(text) <= max(most, 200))
    letters = st.characters(codec="utf-8", exclude_categories=["Cs"])
    return st.text(letters, min_size=least, max_size=most)


def _number(schema: dict[str, Any], *, whole: bool) -> st.SearchStrategy[Any]:
    low = schema.get("minimum", schema.get("exclusiveMinimum", -1000))
    high = schema.get("maximum", schema.get("exclusiveMaximum", max(low, 0) + 1000))
    if "multipleOf" in schema and float(schema["multipleOf"]).is_integer():
        step = int(schema["multipleOf"])
        return st.integers(-(-int(low) // step), int(high) // step).map(lambda count: count * step)
    integers = st.integers(max(int(low), -_LARGEST_INT), min(int(high), _LARGEST_INT))
    if whole:
        return integers
    return st.floats(low, high, allow_nan=False, allow_infinity=False, width=32 if low == int(low) else 64) | integers


def _types(schema: dict[str, Any]) -> list[str]:
    kind = schema.get("type")
    if isinstance(kind, str):
        return [kind]
    if isinstance(kind, list) and kind:
        return kind
    if "properties" in schema or "required" in schema:
        return ["object"]
    return ["array"] if "items" in schema else ["string", "integer", "boolean", "null"]


def resolved(schema: dict[str, Any], root: Schema) -> dict[str, Any]:
    """Return what a local `$ref` stands for; anything else as it is."""
    for _ in range(_DEEPEST):
        reference = schema.get("$ref")
        if not isinstance(reference, str) or not reference.startswith("#"):
            return schema
        target: Any = root
        for part in reference.lstrip("#").split("/")[1:]:
            target = target.get(part.replace("~1", "/").replace("~0", "~"), {}) if isinstance(target, dict) else {}
        schema = target if isinstance(target, dict) else {}
    return {}


def _merged(left: dict[str, Any], right: Schema) -> dict[str, Any]:
    if isinstance(right, bool):
        return left
    both = {**left, **right}
    if "properties" in left and "properties" in right:
        both["properties"] = {**left["properties"], **right["properties"]}
    if "required" in left and "required" in right:
        both["required"] = [*left["required"], *right["required"]]
    return both


# --- broken ones


def broken_inputs(schema: Schema, value: Any) -> list[tuple[str, Any]]:
    """Return inputs that break *schema*, each with what is wrong, made from the valid *value* by one change each."""
    judge = validator(schema)
    return [(what, broken) for what, broken in _broken(schema, schema, value, "") if not judge.is_valid(broken)]


def _broken(schema: Schema, root: Schema, value: Any, where: str) -> Iterator[tuple[str, Any]]:
    if isinstance(schema, bool):
        return
    schema = resolved(schema, root)
    for what, replacement in _replacements(schema, value):
        yield f"{where or '/'}: {what}", replacement
    if isinstance(value, dict):
        yield from _broken_object(schema, root, value, where)
    elif isinstance(value, list) and isinstance(schema.get("items"), dict):
        for index, child in enumerate(value[:2]):
            for what, broken in _broken(schema["items"], root, child, f"{where}/{index}"):
                yield what, [*value[:index], broken, *value[index + 1 :]]


def _broken_object(
    schema: dict[str, Any], root: Schema, value: dict[str, Any], where: str
) -> Iterator[tuple[str, Any]]:
    for key in schema.get("required", []):
        yield f"{where}/{key}: absent", {name: child for name, child in value.items() if name != key}
    yield f"{where}/kit-unknown: not declared", {**value, "kit-unknown": 1}
    for key, child in schema.get("properties", {}).items():
        if key in value:
            for what, broken in _broken(child, root, value[key], f"{where}/{key}"):
                yield what, {**value, key: broken}
        else:
            yield f"{where}/{key}: of another type", {**value, key: {"kit": [None]}}


def _replacements(schema: dict[str, Any], value: Any) -> Iterator[tuple[str, Any]]:
    kinds: tuple[Any, ...] = (None, True, "kit", 0.5, [], {})
    for kind in kinds:
        if type(kind) is not type(value):
            yield "of another type", copy.copy(kind)
    if "const" in schema or "enum" in schema:
        yield "not one of those allowed", "kit-none-of-them"
    for key, step in (("minimum", -1), ("maximum", 1), ("exclusiveMinimum", 0), ("exclusiveMaximum", 0)):
        if key in schema:
            yield f"beyond {key}", schema[key] + step
    if "minLength" in schema:
        yield "too short", "k" * (schema["minLength"] - 1)
    if schema.get("maxLength", _LONGEST) < _LONGEST:
        yield "too long", "k" * (schema["maxLength"] + 1)
    if "pattern" in schema:
        yield "not by the pattern", "\u0007 kit \u00e9"
    if isinstance(value, list) and value:
        yield from _wrong_lists(schema, value)


def _wrong_lists(schema: dict[str, Any], value: list[Any]) -> Iterator[tuple[str, Any]]:
    if schema.get("minItems"):
        yield "too few", value[: schema["minItems"] - 1]
    yield "twice the same", [value[0], value[0]]
    if schema.get("maxItems", _MOST_ITEMS) < _MOST_ITEMS:
        yield "too many", [value[0]] * (schema["maxItems"] + 1)


def differing_inputs(schema: Schema, value: Any) -> Any | None:
    """Return inputs that are valid too and differ from *value*, as little as possible; ``None`` if none was found."""
    judge = validator(schema)
    for other in _variants(value):
        if other != value and judge.is_valid(other):
            return other
    return next((other for other in valid_inputs(schema, 5) if other != value), None)


def _variants(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        if value.keys() == {"$artifact", "sha256"}:
            return
        for key, child in value.items():
            for other in _variants(child):
                yield {**value, key: other}
    elif isinstance(value, list):
        for index, child in enumerate(value):
            for other in _variants(child):
                yield [*value[:index], other, *value[index + 1 :]]
    elif isinstance(value, str):
        yield f"{value} kit"
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield value + 1
        yield value - 1

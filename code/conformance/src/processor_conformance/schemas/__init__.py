"""The contract's JSON Schemas. Copies, which `scripts/generate.py` keeps current: the kit stands alone."""

from __future__ import annotations

import functools
import json
from importlib import resources
from typing import Any

import jsonschema_rs

from processor_conformance.generate import validator


@functools.cache
def schema(name: str) -> jsonschema_rs.Draft7Validator:
    """Return what judges by ``{name}.schema.json``."""
    text = (resources.files(__name__) / f"{name}.schema.json").read_text(encoding="utf-8")
    return validator(json.loads(text))


def first_problem(name: str, document: Any) -> str:
    """Return what is wrong with *document* by the schema *name*, ``""`` for nothing."""
    for error in schema(name).iter_errors(document):
        where = "/".join(str(part) for part in error.instance_path)
        return f"/{where}: {error.message}"[:400]
    return ""

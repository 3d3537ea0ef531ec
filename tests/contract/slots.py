"""The fixture processor with other limits: fewer slots, a shorter deadline."""

from __future__ import annotations

from pathlib import Path

from tests.contract.discovery import STEPS
from tests.support.service import JsonObject, variant


def with_runtime(into: Path, **runtime: object) -> Path:
    """Return the folder, made below *into*, of the fixture whose registry says *runtime* where it differs."""

    def change(registry: JsonObject) -> None:
        registry["runtime"].update(runtime)

    return variant(STEPS, into, change)

"""What is measured, one module a row: `measure(context)` adds to the results, or says what it could not."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from bench.context import Context


def measures(names: tuple[str, ...]) -> list[tuple[str, Callable[[Context], None]]]:
    """Return the rows *names*, each with its function."""
    return [(name, import_module(f".{name}", __name__).measure) for name in names]

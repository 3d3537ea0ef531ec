"""Which files a payload refers to."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from apps.core.adapters.base import Payload
from processor_runtime.prefix import ARTIFACTS, INPUTS

_KEYS: Final = {"$artifact", "sha256"}
_BAD_SEGMENTS: Final = {"", ".", ".."}


def carried(payload: Payload, root: Path) -> list[str]:
    """Return the logical paths of the files that *payload* refers to and that lie here, below *root*, each once.

    Whatever else it refers to is on the Volume already, or the processor says that it is not.
    """
    found = dict.fromkeys(_references(payload["inputs"]))
    return [
        path for path in found if is_below(f"{INPUTS}/", path) and (root / path.removeprefix(f"{ARTIFACTS}/")).is_file()
    ]


def is_below(folder: str, path: str) -> bool:
    """Whether *path* is a well-formed one below *folder*, which ends in ``/``."""
    return path.startswith(folder) and "\0" not in path and _BAD_SEGMENTS.isdisjoint(path[1:].split("/"))


def _references(value: Any) -> Iterator[str]:  # any JSON value
    if isinstance(value, dict):
        if value.keys() == _KEYS and isinstance(value["$artifact"], str):
            yield value["$artifact"]
        else:
            for child in value.values():
                yield from _references(child)
    elif isinstance(value, list):
        for child in value:
            yield from _references(child)

"""Which paths an output may have, and which two outputs cannot both exist."""

import re
from collections.abc import Iterator, Mapping
from typing import Final

_FOLDER: Final = "outputs"
_MAX_BYTES: Final = 1024
_MAX_SEGMENT_BYTES: Final = 255  # what file systems allow for one name
_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f]")


def output_path_fault(path: str) -> str | None:
    """Return the rule that *path* breaks, as the end of a sentence that begins with it, or ``None``.

    Source: CONTRACT §4 and §8; what is forbidden in a write prefix (§2) is forbidden here too.
    """
    segments = path.split("/")
    rules = (
        (path.startswith("/"), "must be relative: it is joined to the write prefix"),
        ("\\" in path, "must separate folders with /, not with a backslash"),
        (_CONTROL.search(path) is not None, "must not have control characters"),
        ("" in segments, "must not have an empty segment"),
        ("." in segments or ".." in segments, "must not have a segment . or .."),
        (segments[0] != _FOLDER or len(segments) == 1, f"must lie below {_FOLDER}/"),
        (any(segment.count("*") > 1 for segment in segments), "must not have two * in one segment"),
        (
            len(path.encode()) > _MAX_BYTES or any(len(segment.encode()) > _MAX_SEGMENT_BYTES for segment in segments),
            f"must not be longer than {_MAX_BYTES} bytes, nor a segment than {_MAX_SEGMENT_BYTES}",
        ),
    )
    return next((reason for broken, reason in rules if broken), None)


def collisions(paths: Mapping[int, str]) -> Iterator[tuple[int, str]]:
    """Yield each output that cannot exist beside an earlier one, and why.

    Args:
        paths: By its place in the registry, each output's path.
    """
    # Folded, because `A.txt` and `a.txt` are one file on a laptop's file system and two in a container's.
    folded = {index: path.casefold() for index, path in paths.items()}
    for index, path in folded.items():
        for earlier, other in folded.items():
            if earlier >= index:
                break
            if path == other:
                yield index, f"must be unique, and /outputs/{earlier} is the same file (case does not count everywhere)"
                break
            if path.startswith(f"{other}/") or other.startswith(f"{path}/"):
                yield index, f"must not need a folder where another output is a file: see /outputs/{earlier}"
                break

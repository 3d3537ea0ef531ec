"""One thing that is wrong with one `registry.yaml`: where, in which way, and why."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class Kind(StrEnum):
    """The three ways in which a registry file fails."""

    SYNTAX = "cannot parse"
    SHAPE = "wrong shape"
    MEANING = "wrong meaning"


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """What is wrong, in one line that an editor can jump from.

    Attributes:
        file: The registry file, as it was found.
        line: Where in it, from 1.
        field: JSON pointer of the field; ``""`` is the whole file.
        kind: In which of the three ways it fails.
        reason: The rule that is broken; of the file's values it names only refs and fields.
    """

    file: Path
    line: int
    field: str
    kind: Kind
    reason: str

    def __str__(self) -> str:
        return printable(f"{_shown(self.file)}:{self.line}: {self.kind}: {self.field or '/'} {self.reason}")


def pointer(*parts: str | int) -> str:
    """Return the JSON pointer through *parts*, each the name of a field or the index of an item.

    Source: RFC 6901, section 3.
    """
    return "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in parts)


def printable(text: str) -> str:
    """Return *text* on one line: names of fields and folders may hold anything, and end on terminals and in JSON."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def _shown(file: Path) -> Path:
    """Return *file* as a person in the current folder would type it."""
    here = Path.cwd()
    return file.relative_to(here) if file.is_relative_to(here) else file

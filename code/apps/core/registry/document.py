"""`registry.yaml` as plain values, and the line on which each of them stands."""

import math
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from .problems import Kind, Problem, pointer

MAX_BYTES: Final = 256 * 1024
MAX_LEVELS: Final = 64  # as deep as JSON may be in a request; also what ends an alias that holds itself
MAX_NODES: Final = 20_000  # an alias counts wherever it stands, so a small file cannot become a huge value

_TAG: Final = "tag:yaml.org,2002:"
_MERGE: Final = f"{_TAG}merge"
_SCALARS: Final = frozenset(f"{_TAG}{name}" for name in ("str", "null", "bool", "int", "float"))


class _UnreadableError(Exception):
    """The file cannot be turned into nodes; holds the line and the reason."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(reason)
        self.line = line
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Document:
    """One registry file, parsed.

    Attributes:
        file: Where it was found.
        value: What JSON would hold: mappings with text keys, lists, text, finite numbers, booleans and null.
        lines: By JSON pointer, the line (from 1) of each field's name or each item's first character.
    """

    file: Path
    value: Any
    lines: Mapping[str, int]

    def problem(self, field: str, kind: Kind, reason: str) -> Problem:
        """Return a problem with *field*; an absent field stands on the line of what should hold it."""
        holder = field
        while holder and holder not in self.lines:
            holder = holder.rpartition("/")[0]
        return Problem(self.file, self.lines.get(holder, 1), field, kind, reason)


def load_document(file: Path) -> tuple[Document | None, list[Problem]]:
    """Return *file* as a document, and everything in it that JSON could not hold.

    Args:
        file: The path of a `registry.yaml`: YAML 1.2 or JSON, UTF-8, at most 256 KiB, one document.

    Returns:
        The document without its unusable parts, or ``None`` where nothing can be told from the file.
    """
    try:
        root = _compose(_read(file))
    except _UnreadableError as exc:
        return None, [Problem(file, exc.line, "", Kind.SYNTAX, exc.reason)]
    reader = _Reader(file)
    try:
        value = reader.value(root, (), root.start_mark.line + 1)
    except _UnreadableError as exc:
        return None, [*reader.problems, Problem(file, exc.line, "", Kind.SYNTAX, exc.reason)]
    return Document(file, value, reader.lines), reader.problems


def _read(file: Path) -> str:
    """Return the file's text; a link is not followed, so that every registry is a file of this tree."""
    if file.parent.is_symlink():
        raise _UnreadableError(1, "is in a folder that is a symbolic link: put the folder itself here")
    if file.is_symlink():
        raise _UnreadableError(1, "is a symbolic link: put the file itself here")
    try:
        if not stat.S_ISREG(file.lstat().st_mode):  # a pipe would keep the reader waiting for ever
            raise _UnreadableError(1, "is not a file")
        with file.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except OSError as exc:
        raise _UnreadableError(1, f"cannot be read: {exc.strerror}") from exc
    if len(data) > MAX_BYTES:
        raise _UnreadableError(1, f"is larger than {MAX_BYTES // 1024} KiB")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as exc:
        raise _UnreadableError(data.count(b"\n", 0, exc.start) + 1, "is not UTF-8") from exc


def _compose(text: str) -> Node:
    """Return the root node of *text*: nodes, unlike values, still know their lines and their duplicate keys."""
    yaml = YAML(typ="rt")
    yaml.composer.warn_double_anchors = False  # an anchor may be used again; a warning would be nobody's to read
    try:
        root: Node | None = yaml.compose(text)
    except MarkedYAMLError as exc:
        raise _UnreadableError(_line_of(exc, text), _one_line(exc.problem or exc.context)) from exc
    except YAMLError as exc:
        position = getattr(exc, "position", 0)  # a character that YAML does not allow
        raise _UnreadableError(text.count("\n", 0, position) + 1, "holds a character that YAML forbids") from exc
    except RecursionError as exc:
        raise _UnreadableError(1, f"is nested deeper than {MAX_LEVELS} levels") from exc
    if root is None:
        raise _UnreadableError(1, "is empty")
    return root


def _line_of(error: MarkedYAMLError, text: str) -> int:
    """Return where to look; of what is never closed, where it opens rather than the end of the file."""
    seen, opened = error.problem_mark, error.context_mark
    mark = opened if seen is None or (opened is not None and seen.index >= len(text)) else seen
    return min(mark.line + 1, text.count("\n") + 1) if mark else 1


class _Reader:
    """Turns nodes into values, noting lines and whatever JSON could not hold."""

    def __init__(self, file: Path) -> None:
        self.lines: dict[str, int] = {}
        self.problems: list[Problem] = []
        self._file = file
        self._nodes = 0
        self._construct = YAML(typ="safe", pure=True).constructor

    def value(self, node: Node, path: tuple[str | int, ...], line: int) -> Any:
        """Return what *node* holds; *path* leads to it, *line* is where a reader would look for it."""
        self._nodes += 1
        if len(path) >= MAX_LEVELS:
            raise _UnreadableError(line, f"is nested deeper than {MAX_LEVELS} levels")
        if self._nodes > MAX_NODES:
            raise _UnreadableError(line, f"holds more than {MAX_NODES} values (an alias counts wherever it stands)")
        self.lines[pointer(*path)] = line
        if isinstance(node, MappingNode) and node.tag == f"{_TAG}map":
            return self._mapping(node, path)
        if isinstance(node, SequenceNode) and node.tag == f"{_TAG}seq":
            return [self.value(item, (*path, at), item.start_mark.line + 1) for at, item in enumerate(node.value)]
        if isinstance(node, ScalarNode) and node.tag in _SCALARS:
            return self._scalar(node, path, line)
        self._note(path, line, f"has the YAML type {_tag_name(node)}: quote it to make it text")
        return None

    def _mapping(self, node: MappingNode, path: tuple[str | int, ...]) -> dict[str, Any]:
        members: dict[str, Any] = {}
        for key, item in node.value:
            line = key.start_mark.line + 1
            name = _text(key.value) if isinstance(key, ScalarNode) and key.tag == f"{_TAG}str" else None
            if key.tag == _MERGE:
                self._note(path, line, "has a merge key (<<): write the fields out")
            elif name is None:
                self._note(path, line, "has a key that is not text: quote it")
            elif name in members:
                first = self.lines[pointer(*path, name)]
                self._note((*path, name), line, f"is written twice (first on line {first})")
            else:
                members[name] = self.value(item, (*path, name), line)
        return members

    def _scalar(self, node: ScalarNode, path: tuple[str | int, ...], line: int) -> Any:
        try:
            value: Any = self._construct.construct_object(node)
        except (YAMLError, ValueError, KeyError, OverflowError):
            self._note(path, line, f"is tagged {_tag_name(node)} and is none")
            return None
        if isinstance(value, str):
            value = _text(value)
            if value is None:
                self._note(path, line, "holds half of a surrogate pair, which is no character")
        if isinstance(value, float) and not math.isfinite(value):
            self._note(path, line, "must be a finite number")
            return None
        return value

    def _note(self, path: tuple[str | int, ...], line: int, reason: str) -> None:
        self.problems.append(Problem(self._file, line, pointer(*path), Kind.SYNTAX, reason))


def _tag_name(node: Node) -> str:
    return _one_line(str(node.tag)).removeprefix(_TAG)


def _text(scalar: str) -> str | None:
    """Return the characters of *scalar*, or ``None`` if it has half a one: JSON escapes some of them in two halves."""
    try:
        return scalar.encode("utf-16-le", "surrogatepass").decode("utf-16-le")
    except UnicodeDecodeError:
        return None


def _one_line(text: str | None) -> str:
    return " ".join((text or "is not YAML").split())

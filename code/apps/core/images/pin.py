"""Pins: what `registry.yaml` says of a platform's image, read and written. All else in the file stays as it is."""

import fcntl
import io
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, NamedTuple

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import MappingNode, Node

from apps.core.registry import FILE_NAME, ImageReference, Kind, Problem, Registration, RegistryInvalidError
from apps.core.registry.load import check
from processor_runtime.errors import Detail

from .errors import ImageUnpinnedError

_PLATFORMS: Final = ("amd64", "arm64")
_INDENT: Final = 2
_LONG: Final = 10_000  # characters: a pin is never wrapped


def pinned(registration: Registration, platform: str) -> ImageReference:
    """Return the image that *registration* pins for *platform*.

    Raises:
        ImageUnpinnedError: there is none; the details say which there are, and what to do.
    """
    try:
        return registration.platforms[platform]
    except KeyError:
        others = f"it has {', '.join(registration.platforms)}" if registration.platforms else "it has none yet"
        ref = registration.ref
        raise ImageUnpinnedError(
            Detail(path=f"/image/platforms/{platform}", message=f"{ref} has no image for {platform}: {others}"),
            Detail(path=FILE_NAME, message=f"run: processorctl publish --ref {ref} --platform {platform}"),
        ) from None


def write_pins(registration: Registration, pins: Mapping[str, ImageReference]) -> bool:
    """Write *pins*, by platform, into the processor's `registry.yaml`; whether anything was another.

    Comments, order and every other line stay as they are. Two writers wait for
    each other, and a reader sees the old file or the new one.

    Raises:
        RegistryInvalidError: the file, or what would become of it, is wrong. It is then left as it is.
        OSError: it cannot be written.
    """
    file = registration.folder / FILE_NAME
    with _alone(registration.folder):
        text = file.read_bytes().decode("utf-8")
        changed = with_pins(text, file, {name: str(reference) for name, reference in pins.items()})
        if changed == text:
            return False
        _replace(file, changed)
    return True


def with_pins(text: str, file: Path, pins: Mapping[str, str]) -> str:
    """Return *text*, the content of *file*, with *pins* by platform.

    Raises:
        RegistryInvalidError: it is no YAML, or `image` shares its lines with something else.
    """
    lines = text.splitlines(keepends=True)
    try:
        section = _section(YAML(typ="rt").compose(text))
        document = _load("".join(lines[section.first : section.end])) or CommentedMap()
    except (YAMLError, AttributeError) as exc:
        raise RegistryInvalidError([Problem(file, 1, "", Kind.SYNTAX, "is not YAML that can be edited")]) from exc
    image = document.setdefault("image", CommentedMap())
    if "platforms" not in image:
        image.insert(0, "platforms", CommentedMap())
    platforms = image["platforms"]
    if all(platforms.get(name) == reference for name, reference in pins.items()):
        return text
    for name in sorted(pins, key=_PLATFORMS.index):
        if name in platforms:
            platforms[name] = pins[name]
        else:
            platforms.insert(sum(name > other for other in platforms), name, pins[name])
    written = _dump(document, section.indent)
    if "\r\n" in text:
        written = written.replace("\n", "\r\n")
    gap = "\n" if section.first == section.end else ""  # a section of its own, where there was none
    return "".join([*lines[: section.first], gap, written, *lines[section.end :]])


class _Section(NamedTuple):
    """The lines of the file, from 0, that hold `image`; none of them where *end* is *first*."""

    first: int
    end: int
    indent: int


def _section(root: MappingNode) -> _Section:
    after = 0
    for key, value in root.value:
        if key.value == "image":
            indent = value.start_mark.column if value.start_mark.line > key.start_mark.line else _INDENT
            return _Section(key.start_mark.line, _last_line(value) + 1, indent)
        if key.value == "ref":
            after = _last_line(value) + 1
    return _Section(after, after, _INDENT)


def _last_line(node: Node) -> int:
    """Return where the content of *node* ends; its own end mark stands before whatever comes next."""
    if isinstance(node, MappingNode) and node.value and not node.flow_style:
        return _last_line(node.value[-1][1])
    line: int = node.end_mark.line
    return line


def _load(text: str) -> Any:
    return _yaml().load(text)


def _dump(document: CommentedMap, indent: int) -> str:
    stream = io.StringIO()
    yaml = _yaml()
    yaml.indent(mapping=indent, sequence=indent + _INDENT, offset=_INDENT)
    yaml.dump(document, stream)
    return stream.getvalue()


def _yaml() -> YAML:
    yaml = YAML(typ="rt")
    yaml.preserve_quotes = True
    yaml.width = _LONG
    return yaml


def _replace(file: Path, text: str) -> None:
    """Put *text* in the place of *file*, unless it says anything else than the file but for its pins."""
    descriptor, name = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)
    part = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(text.encode("utf-8"))
        before, after, problems = check(file)[0], *check(part)
        if problems or before is None or after is None:
            raise RegistryInvalidError([replace(problem, file=file) for problem in problems])
        if _without_pins(before.value) != _without_pins(after.value):
            reason = "shares its lines with something else: write it on lines of its own"
            raise RegistryInvalidError([Problem(file, 1, "/image", Kind.SYNTAX, reason)])
        shutil.copymode(file, part)
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)


def _without_pins(value: dict[str, Any]) -> dict[str, Any]:
    rest = {name: each for name, each in value.items() if name != "image"}
    image = {name: each for name, each in (value.get("image") or {}).items() if name != "platforms"}
    return {**rest, **({"image": image} if image else {})}


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)

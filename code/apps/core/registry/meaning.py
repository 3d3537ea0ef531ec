"""What the schema cannot say: names that must agree, paths that must not collide, pins that must pin."""

from collections.abc import Callable, Collection, Iterator
from decimal import Decimal
from typing import Any, Final

from processor_runtime.values import Ref

from .document import Document
from .images import ImageReference, ImageReferenceError
from .inputs import inputs_faults
from .names import secret_name_fault
from .outputs import collisions, output_path_fault
from .problems import Kind, Problem, pointer
from .registration import DEFAULT_PLATFORM

_MAX_CPU: Final = 256
_NO_GPU: Final = frozenset({"none", "null", "no", "off", "false"})


def meaning_problems(document: Document, broken: Collection[str]) -> list[Problem]:
    """Return every rule that the sound parts of *document* break.

    Args:
        document: A registry file.
        broken: Fields that are known to be wrong: no rule is asked about them.
    """
    sound = _Sound(document, broken)
    return [document.problem(field, Kind.MEANING, reason) for rule in _RULES for field, reason in rule(sound)]


class _Sound:
    """The parts of a document that have the right shape."""

    def __init__(self, document: Document, broken: Collection[str]) -> None:
        self.folder = document.file.parent.name
        self._value = document.value
        self._broken = broken

    def get(self, *path: str | int) -> Any:
        """Return what stands at *path*, or ``None`` where it is absent or anything in it is wrong."""
        field = pointer(*path)
        if any(f"{each}/".startswith(f"{field}/") for each in self._broken):
            return None
        return self._at(*path)

    def items(self, *path: str | int) -> Iterator[tuple[int, Any]]:
        """Yield index and value of each sound item of the list at *path*."""
        held = self._at(*path)
        for index in range(len(held) if isinstance(held, list) else 0):
            if (item := self.get(*path, index)) is not None:
                yield index, item

    def _at(self, *path: str | int) -> Any:
        value = self._value
        for step in path:
            try:
                value = value[step]
            except (KeyError, IndexError, TypeError):
                return None
        return value


def _folder(sound: _Sound) -> Iterator[tuple[str, str]]:
    if text := sound.get("ref"):
        ref = Ref.parse(text)
        if ref.folder != sound.folder:
            yield "/ref", f"says {ref}, whose folder is called {ref.folder}, not {sound.folder}"


def _build(sound: _Sound) -> Iterator[tuple[str, str]]:
    for name in ("context", "dockerfile"):
        text = sound.get("build", name)
        if text and (text.startswith("/") or "\\" in text):
            yield f"/build/{name}", "must be relative to the processor's folder, with / between folders"
        elif text and name == "dockerfile" and ".." in text.split("/"):
            yield "/build/dockerfile", "must lie in the processor's folder"


def _pins(sound: _Sound) -> Iterator[tuple[str, str]]:
    pinned: dict[str, ImageReference] = {}
    for platform in ("amd64", "arm64"):
        text = sound.get("image", "platforms", platform)
        if text is not None:
            field = pointer("image", "platforms", platform)
            try:
                reference = ImageReference.parse(text)
            except ImageReferenceError as exc:
                yield field, str(exc)
                continue
            if any(reference.digest == other.digest for other in pinned.values()):
                yield field, "has the same digest as another platform: pin each platform's own manifest"
            pinned[platform] = reference
    platforms = sound.get("image", "platforms")
    default = sound.get("image", "default_platform") or DEFAULT_PLATFORM
    if platforms and default not in platforms:
        yield "/image/default_platform", f"must be a pinned platform, and {default} is not pinned"


def _runtime(sound: _Sound) -> Iterator[tuple[str, str]]:
    if (cpu := sound.get("runtime", "cpu")) and not 0 < Decimal(cpu) <= _MAX_CPU:
        yield "/runtime/cpu", f"must be more than 0 and at most {_MAX_CPU} cores"
    if (gpu := sound.get("runtime", "gpu")) and gpu.lower() in _NO_GPU:
        yield "/runtime/gpu", "must be null (without quotes) where no GPU is needed"
    if isinstance(sound.get("runtime", "concurrency"), float):
        yield "/runtime/concurrency", "must be written without a decimal point"


def _secrets(sound: _Sound) -> Iterator[tuple[str, str]]:
    seen: dict[str, str] = {}
    for kind in ("required", "optional"):
        for index, name in sound.items("secrets", kind):
            field = pointer("secrets", kind, index)
            if fault := secret_name_fault(name):
                yield field, fault
            elif name in seen:
                yield field, f"must be named once, and stands in {seen[name]} already"
            seen.setdefault(name, field)


def _inputs(sound: _Sound) -> Iterator[tuple[str, str]]:
    schema = sound.get("inputs")
    if schema is not None:
        for path, reason in inputs_faults(schema):
            yield pointer("inputs", *path), reason


def _outputs(sound: _Sound) -> Iterator[tuple[str, str]]:
    paths: dict[int, str] = {}
    for index, row in sound.items("outputs"):
        if fault := output_path_fault(row["path"]):
            yield pointer("outputs", index, "path"), fault
        else:
            paths[index] = row["path"]
    for index, reason in collisions(paths):
        yield pointer("outputs", index, "path"), reason


_RULES: Final[tuple[Callable[[_Sound], Iterator[tuple[str, str]]], ...]] = (
    _folder,
    _build,
    _pins,
    _runtime,
    _secrets,
    _inputs,
    _outputs,
)

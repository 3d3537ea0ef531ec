"""All processors of a folder: found, checked, and looked up by their refs."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

from processor_runtime.values import Ref

from .document import Document, load_document
from .errors import RefNotFoundError, RegistryInvalidError
from .meaning import meaning_problems
from .problems import Kind, Problem
from .registration import Registration
from .shape import shape_problems

PROCESSORS: Final = Path(__file__).resolve().parents[1] / "processors"
FILE_NAME: Final = "registry.yaml"


@dataclass(frozen=True, slots=True)
class Registry:
    """The processors that exist, in the order of their refs."""

    registrations: Mapping[Ref, Registration]

    def find(self, ref: Ref) -> Registration:
        """Return the processor called *ref*.

        Raises:
            RefNotFoundError: there is none; it names those that exist.
        """
        try:
            return self.registrations[ref]
        except KeyError:
            raise RefNotFoundError(ref, self.registrations) from None

    def __iter__(self) -> Iterator[Registration]:
        return iter(self.registrations.values())

    def __len__(self) -> int:
        return len(self.registrations)


def load_registry(processors: Path = PROCESSORS) -> Registry:
    """Return the registry of every `*/registry.yaml` in the folder *processors*.

    Raises:
        RegistryInvalidError: at least one file is wrong; it holds every problem of every file.
    """
    loaded = [check(file) for file in registry_files(processors)]
    documents = [document for document, _ in loaded if document is not None]
    problems = [problem for _, problems in loaded for problem in problems]
    if problems := [*problems, *_duplicates(documents)]:
        raise RegistryInvalidError(problems)
    registrations = [Registration.parse(document.value, document.file.parent) for document in documents]
    return Registry(MappingProxyType({each.ref: each for each in sorted(registrations, key=lambda each: each.ref)}))


def load_registration(folder: Path) -> Registration:
    """Return the one processor in *folder*, without a look at any other.

    Raises:
        RegistryInvalidError: its file is wrong, or there is none.
    """
    document, problems = check(folder / FILE_NAME)
    if problems or document is None:
        raise RegistryInvalidError(problems)
    return Registration.parse(document.value, folder)


def registry_files(processors: Path) -> list[Path]:
    """Return the registry files of a folder of processors, sorted; hidden folders and `__pycache__` hold none."""
    found = processors.glob(f"*/{FILE_NAME}")
    return sorted(file for file in found if not file.parent.name.startswith((".", "_")))


def check(file: Path) -> tuple[Document | None, list[Problem]]:
    """Return *file* as a document and all that is wrong with it, looked at alone.

    Each stage is asked about what the stages before it found sound, so that one mistake is one problem.
    """
    document, problems = load_document(file)
    if document is None:
        return None, problems
    broken = {problem.field for problem in problems}
    problems += [problem for problem in shape_problems(document) if problem.field not in broken]
    problems += meaning_problems(document, {problem.field for problem in problems})
    return document, problems


def _duplicates(documents: list[Document]) -> Iterator[Problem]:
    """Yield a problem for every file whose ref an earlier file has."""
    first: dict[str, Document] = {}
    for document in documents:
        ref = document.value.get("ref") if isinstance(document.value, dict) else None
        if not isinstance(ref, str):
            continue
        if ref in first:
            other = first[ref].file.parent.name
            yield document.problem("/ref", Kind.MEANING, f"must be unique, and the folder {other} has the same")
        first.setdefault(ref, document)

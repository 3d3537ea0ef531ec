"""The two ways in which looking up a processor fails."""

import difflib
from collections.abc import Iterable
from typing import Final

from processor_runtime.errors import MAX_DETAILS, Detail, ErrorCode, ProcessorError
from processor_runtime.values import Ref

from .problems import Problem, printable

_CLOSE_ENOUGH: Final = 0.6  # difflib's own cutoff: `llm/chta` is near `llm/chat`, `doc/ocr` is not
_MAX_CLOSE: Final = 3


class RegistryInvalidError(ProcessorError):
    """At least one `registry.yaml` cannot be used; *problems* holds every reason of every file."""

    code = ErrorCode.REGISTRY_INVALID

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(problems))
        super().__init__(*_details(self.problems), problems=[str(problem) for problem in self.problems])

    def __str__(self) -> str:
        return "\n".join([self.text, *(str(problem) for problem in self.problems)])


class RefNotFoundError(ProcessorError):
    """No processor has this ref; the details name those that exist."""

    code = ErrorCode.REF_NOT_FOUND

    def __init__(self, ref: Ref, known: Iterable[Ref]) -> None:
        self.ref = ref
        self.known = tuple(sorted(known))
        reasons = [f"there is no {ref}", *_hints(ref, self.known)]
        super().__init__(*(Detail(path="/ref", message=reason) for reason in reasons), ref=str(ref))

    def __str__(self) -> str:
        return f"{self.text}: {'; '.join(detail['message'] for detail in self.details)}"


def _details(problems: tuple[Problem, ...]) -> list[Detail]:
    """Return one detail for each problem, and where they are too many, say in the last one how many more there are."""
    shown = problems if len(problems) <= MAX_DETAILS else problems[: MAX_DETAILS - 1]
    details: list[Detail] = [
        {
            "path": printable(f"{problem.file.parent.name}/{problem.file.name}#{problem.field}"),
            "message": printable(f"line {problem.line}: {problem.kind}: {problem.reason}"),
        }
        for problem in shown
    ]
    if more := len(problems) - len(shown):
        details.append({"path": "", "message": f"and {more} more problems: the log names them"})
    return details


def _hints(ref: Ref, known: tuple[Ref, ...]) -> list[str]:
    """Return what may help someone who asked for *ref*: its other version, near spellings, all that exists."""
    if not known:
        return ["there are no processors: make one with scaffold_processor"]
    hints = []
    if versions := [str(each) for each in known if (each.namespace, each.name) == (ref.namespace, ref.name)]:
        hints.append(f"it exists as {', '.join(versions)}")
    else:
        by_name = {f"{each.namespace}/{each.name}": each for each in known}
        near = difflib.get_close_matches(f"{ref.namespace}/{ref.name}", by_name, n=_MAX_CLOSE, cutoff=_CLOSE_ENOUGH)
        if near:
            hints.append(f"close to it: {', '.join(str(by_name[name]) for name in near)}")
    hints.append(f"there are: {', '.join(map(str, known))}")
    return hints

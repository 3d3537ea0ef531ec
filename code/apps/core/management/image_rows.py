"""What an action of `processorctl` answers: one row for each image, for programs and for people."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from processor_runtime.errors import ERRORS, ProcessorError


@dataclass(frozen=True, slots=True)
class Row:
    """One image of one processor for one platform, and what became of it.

    Attributes:
        ref: The processor, as it was asked for.
        platform: ``amd64`` or ``arm64``; ``""`` where it came to none.
        state: What was done or found, in one word.
        image: Its name: on the engine after `build`, ``repository@sha256:…`` after all else; ``""`` if there is none.
        source: The digest of the source that it was built from, or that there is now; ``""`` if not known.
        sbom: ``repository@sha256:…`` of its bill of materials; ``""`` if not known.
        error: Why it failed.
    """

    ref: str
    platform: str
    state: str
    image: str = ""
    source: str = ""
    sbom: str = ""
    error: ProcessorError | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the row as the object that `--json` shows; what is not known is null."""
        error = None
        if self.error is not None:
            error = {
                "code": self.error.code,
                "message": self.error.text,
                "retryable": self.error.retryable,
                "details": list(self.error.details),
            }
        names = ("ref", "platform", "state", "image", "source", "sbom")
        return {**{name: getattr(self, name) or None for name in names}, "error": error}

    def lines(self) -> list[str]:
        """Return the row for a person: one line, and below a failure its reasons and what to do."""
        head = "  ".join(filter(None, [f"{self.state:<9}", self.ref, self.platform]))
        if self.error is None:
            return [f"{head}  {self.image}".rstrip()]
        reasons = [": ".join(filter(None, [detail["path"], detail["message"]])) for detail in self.error.details]
        shown = [*reasons, ERRORS[self.error.code].next_step]
        return [f"{head}  {self.error.code}: {self.error.text}", *(f"  {line}" for line in shown)]


def failed(ref: str, platform: str, error: ProcessorError) -> Row:
    """Return the row of what could not be done for *error*."""
    return Row(ref, platform, "failed", error=error)


def answer(action: str, rows: Sequence[Row]) -> dict[str, Any]:
    """Return what `--json` shows of *action*."""
    return {"action": action, "ok": all(row.error is None for row in rows), "images": [row.as_json() for row in rows]}

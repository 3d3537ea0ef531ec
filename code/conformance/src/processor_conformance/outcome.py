"""How a check can end."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from .catalogue import Check


class Outcome(StrEnum):
    """The word that a report says of a check."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_APPLICABLE = "not applicable"
    NOT_CHECKED = "not checked"


class FailedError(Exception):
    """The promise does not hold.

    Args:
        sent: What the kit did; holds no secret.
        expected: What the contract promises.
        seen: What came instead.
    """

    def __init__(self, *, sent: str, expected: str, seen: str) -> None:
        super().__init__(f"sent {sent}; expected {expected}; saw {seen}")
        self.sent = sent
        self.expected = expected
        self.seen = seen


class NotApplicableError(Exception):
    """The promise is about something optional that this service does not have; the text says what."""


class NotCheckedError(Exception):
    """The kit could not look; the text says what it would need."""


def expect(holds: object, *, sent: str, expected: str, seen: object) -> None:
    """Return if *holds* is true.

    Raises:
        FailedError: it is not.
    """
    if not holds:
        raise FailedError(sent=sent, expected=expected, seen=brief(seen))


def brief(value: object, length: int = 400) -> str:
    """Return *value* as text of at most *length* characters."""
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= length else f"{text[: length - 1]}…"


@dataclass(frozen=True, slots=True)
class Result:
    """What the kit says of one check.

    Attributes:
        check: Which.
        outcome: The word.
        reason: Why not applicable, or what it would need to be checked.
        sent: What was sent, for a failure.
        expected: What the contract promises, for a failure.
        seen: What came instead, for a failure.
        seconds: How long it took.
    """

    check: Check
    outcome: Outcome
    reason: str = ""
    sent: str = ""
    expected: str = ""
    seen: str = ""
    seconds: float = 0.0

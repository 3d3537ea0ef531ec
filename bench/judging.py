"""A check is one number with a bound; an outcome is what was measured of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from .catalogue import PEERS
from .series import Key, Results

Sense = Literal["at least", "at most"]

BEST_PEER: Final = "the best peer"
_PEERS: Final = {peer.name for peer in PEERS}


@dataclass(frozen=True, slots=True)
class Check:
    """One number that has a bound.

    Attributes:
        goal: Which goal it belongs to, such as ``P1``.
        what: What it is, for readers.
        over: The series above the line; its `at` may stay open where only one load was measured.
        under: The series below it, of a subject or of `BEST_PEER`; ``None`` for a plain number.
        sense: On which side of the bound it must lie.
        bound: How far; a ratio, or in the unit of *over*.
        difference: Whether *over* may be so much more or less than *under*, instead of so many times.
    """

    goal: str
    what: str
    over: Key
    under: Key | None
    sense: Sense
    bound: float
    difference: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """A check and what was measured.

    Attributes:
        check: What was asked.
        value: What came out, or ``None`` where something was not measured.
        against: The subject that it was compared with, or ``""``.
    """

    check: Check
    value: float | None
    against: str

    @property
    def reached(self) -> bool:
        """Whether the bound is kept; what was not measured keeps none."""
        if self.value is None:
            return False
        return self.value >= self.check.bound if self.check.sense == "at least" else self.value <= self.check.bound

    @property
    def missed_by(self) -> float:
        """How many times better it would have to be; at most 1 where the bound is kept.

        Raises:
            ValueError: it was not measured.
        """
        if self.value is None:
            raise ValueError("not measured")
        return self.check.bound / self.value if self.check.sense == "at least" else self.value / self.check.bound


def judge(check: Check, results: Results) -> Outcome:
    """Return what *results* say about *check*."""
    over = _measured(check.over, results)
    if check.under is None:
        return Outcome(check, results.median(over), "")
    under = best_peer(check.under, results) if check.under.subject == BEST_PEER else _measured(check.under, results)
    if under is None:
        return Outcome(check, None, "")
    compared = results.difference if check.difference else results.ratio
    return Outcome(check, compared(over, under), under.subject)


def best_peer(key: Key, results: Results) -> Key | None:
    """Return the series of the peer with the highest median where *key* points, or ``None`` where no peer was measured.

    A peer is taken by its right answers alone: what it refused is in no rate.
    """
    found = [each for each in results.keys(key.row, key.metric) if each.subject in _PEERS and key.at in {each.at, ""}]
    return max(found, key=lambda each: results.median(each) or 0.0, default=None)


def _measured(key: Key, results: Results) -> Key:
    """Return *key* with the load that was measured, where it leaves that open."""
    if key.at or key in results.series:
        return key
    return next((each for each in results.keys(key.row, key.metric) if each.subject == key.subject), key)

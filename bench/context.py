"""What every row is given: how thorough to be, where to write, and where numbers go."""

from __future__ import annotations

import itertools
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeVar

from .environments import SkippedError
from .forecast import left_s
from .paths import TMPFS, VAR
from .profiles import Profile
from .series import Key, Results, Skip
from .subjects import Subject

T = TypeVar("T")

Store = Literal["tmpfs", "disk"]
DISK = VAR / "files"


@dataclass(slots=True)
class Context:
    """One run of the driver through *rows*; *row* is the one that it is at."""

    profile: Profile
    results: Results
    rows: tuple[str, ...]
    row: str = ""
    _began: float = field(default_factory=time.monotonic)
    _row_began: float = field(default_factory=time.monotonic)
    _share: float = 0.0
    _spent: dict[str, float] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=itertools.count)
    _tag: str = field(default_factory=lambda: f"bench-{time.time_ns():x}")

    def say(self, text: str) -> None:
        """Tell *text*, how long it has taken so far, and about how long it still takes."""
        now = time.monotonic()
        left = ""
        if self.row:
            rest_s = left_s(self.profile, self.rows, self._spent, self._share, now - self._row_began)
            left = f" {rest_s / 60:3.0f} min left"
        sys.stderr.write(f"{now - self._began:7.1f} s{left}  {text}\n")
        sys.stderr.flush()

    def begin(self, row: str) -> None:
        """Go on to the next row."""
        now = time.monotonic()
        if self.row:
            self._spent[self.row] = now - self._row_began
        self.row, self._row_began, self._share = row, now, 0.0
        self.say(f"--- {row}")

    def counted(self, steps: Sequence[T]) -> Iterator[T]:
        """Yield the *steps* of a row; where it is among them says how much of the row is done."""
        for number, step in enumerate(steps):
            self._share = number / len(steps)
            yield step

    def add(self, row: str, subject: str, at: str = "", **metrics: float) -> None:
        """Add one sample for each of *metrics*, and tell it."""
        for metric, sample in metrics.items():
            self.results.add(Key(row, subject, metric, at), sample)
        shown = "  ".join(f"{metric}={sample:,.2f}" for metric, sample in metrics.items())
        self.say(f"{row:12} {subject:16} {at:8} {shown}")

    @contextmanager
    def skipping(self, what: str) -> Iterator[None]:
        """Turn what cannot be measured into a named gap in the results."""
        try:
            yield
        except SkippedError as exc:
            self.results.skipped.append(Skip(self.row, what, str(exc)))
            self.say(f"skipped {what}: {exc}")

    @contextmanager
    def folder(self, store: Store) -> Iterator[Path]:
        """Give a new folder on *store*.

        One in memory is removed at once. One on disk stays until everything is
        measured: after many deletions ext4 is slow to create for minutes.
        """
        root = (TMPFS if store == "tmpfs" else DISK) / self._tag / str(next(self._numbers))
        root.mkdir(parents=True)
        try:
            yield root
        finally:
            if store == "tmpfs":
                shutil.rmtree(root)

    def close(self) -> None:
        """Remove every folder; called when nothing is measured any more."""
        for root in (TMPFS / self._tag, DISK):
            shutil.rmtree(root, ignore_errors=True)


def alternating(subjects: list[Subject], number: int) -> list[Subject]:
    """Return *subjects* in the order of round *number*: every second one backwards, so that none is always first."""
    return subjects[::-1] if number % 2 else list(subjects)

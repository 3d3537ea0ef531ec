"""What every row is given: how thorough to be, where to write, and where numbers go."""

from __future__ import annotations

import itertools
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from .environments import SkippedError
from .paths import TMPFS, VAR
from .profiles import Profile
from .series import Key, Results, Skip
from .subjects import Subject

Store = Literal["tmpfs", "disk"]
DISK = VAR / "files"


@dataclass(slots=True)
class Context:
    """One run of the driver; *row* is what it is at."""

    profile: Profile
    results: Results
    row: str = ""
    _began: float = field(default_factory=time.monotonic)
    _numbers: Iterator[int] = field(default_factory=itertools.count)
    _tag: str = field(default_factory=lambda: f"bench-{time.time_ns():x}")

    def say(self, text: str) -> None:
        """Tell how far it is."""
        sys.stderr.write(f"{time.monotonic() - self._began:7.1f} s  {text}\n")
        sys.stderr.flush()

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

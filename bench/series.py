"""What was measured: series of numbers by row, subject and load, kept as one JSON document."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Self


class Key(NamedTuple):
    """Which series is meant.

    Attributes:
        row: What was done, such as ``file-disk``.
        subject: Who did it, such as ``kserve``.
        metric: What was counted, with its unit, such as ``p99_ms``.
        at: Under which load or size, such as ``c64``; empty where there is only one.
    """

    row: str
    subject: str
    metric: str
    at: str = ""


@dataclass(frozen=True, slots=True)
class Skip:
    """Something that was to be measured and was not, in which of the driver's rows, and why."""

    row: str
    what: str
    reason: str


@dataclass(slots=True)
class Results:
    """All of one run of the driver.

    Attributes:
        profile: How thorough it was.
        machine: What it ran on.
        versions: Of each server, by its environment and package.
        series: Samples in the order of their rounds.
        skipped: What is missing.
    """

    profile: str
    machine: dict[str, str] = field(default_factory=dict)
    versions: dict[str, dict[str, str]] = field(default_factory=dict)
    series: dict[Key, list[float]] = field(default_factory=dict)
    skipped: list[Skip] = field(default_factory=list)

    def add(self, key: Key, sample: float) -> None:
        """Append one *sample* to the series *key*."""
        self.series.setdefault(key, []).append(sample)

    def median(self, key: Key) -> float | None:
        """Return the middle of a series, or ``None`` where nothing was measured."""
        samples = self.series.get(key)
        return statistics.median(samples) if samples else None

    def spread(self, key: Key) -> float | None:
        """Return how far the samples of a series lie apart, as a share of their median."""
        samples = self.series.get(key)
        middle = self.median(key)
        return (max(samples) - min(samples)) / middle if samples and middle else None

    def ratio(self, over: Key, under: Key) -> float | None:
        """Return how many times *under* is *over*: the median of the rounds' ratios.

        What slows one round slows both, so the ratio of a round says more than
        that of two medians; it is taken where each round has both.
        """
        above, below = self.series.get(over), self.series.get(under)
        if not above or not below or not all(below):
            return None
        if len(above) == len(below):
            return statistics.median(a / b for a, b in zip(above, below, strict=True))
        return statistics.median(above) / statistics.median(below)

    def difference(self, over: Key, under: Key) -> float | None:
        """Return by how much *over* is more than *under*, as `ratio` does, in their unit."""
        above, below = self.series.get(over), self.series.get(under)
        if not above or not below:
            return None
        if len(above) == len(below):
            return statistics.median(a - b for a, b in zip(above, below, strict=True))
        return statistics.median(above) - statistics.median(below)

    def keys(self, row: str, metric: str) -> Iterator[Key]:
        """Yield what was measured of *metric* in *row*."""
        return (key for key in self.series if key.row == row and key.metric == metric)

    # --- on disk

    def dump(self, path: Path) -> None:
        """Write the document to *path*, the same for the same numbers."""
        document = {
            "profile": self.profile,
            "machine": self.machine,
            "versions": self.versions,
            "series": [{**key._asdict(), "samples": samples} for key, samples in sorted(self.series.items())],
            "skipped": [asdict(skip) for skip in self.skipped],
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(_lines(document), encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Self:
        """Return what `dump` wrote to *path*."""
        document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return cls(
            profile=document["profile"],
            machine=document["machine"],
            versions=document["versions"],
            series={
                Key(row["row"], row["subject"], row["metric"], row["at"]): row["samples"] for row in document["series"]
            },
            skipped=[Skip(**row) for row in document["skipped"]],
        )


def _lines(document: dict[str, Any]) -> str:
    """Return *document* as JSON with one series a line, so that a diff shows which one changed."""
    parts = []
    for name, value in document.items():
        if isinstance(value, list):
            rows = ",\n    ".join(json.dumps(row, ensure_ascii=False) for row in value)
            parts.append(f'  "{name}": [\n    {rows}\n  ]' if rows else f'  "{name}": []')
        else:
            parts.append(f'  "{name}": {json.dumps(value, ensure_ascii=False, sort_keys=True)}')
    return "{\n" + ",\n".join(parts) + "\n}\n"

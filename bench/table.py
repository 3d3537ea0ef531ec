"""The results as Markdown: every number comes from the document, none is written by hand."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from .bounds import BOUNDS
from .catalogue import SUBJECTS
from .goals import TITLES, outcomes
from .judging import BEST_PEER, Outcome
from .series import Key, Results

_WORKS = {
    "echo": "Echo, no output file; ours writes index, receipt and mirror all the same, in memory",
    "file-tmpfs": "One file of 1 KiB for each request, in memory",
    "file-disk": "One file of 1 KiB for each request, on disk",
    "refusal": "Refusals: inputs that break the schema",
    "replay": "Replays: the same request again, answered from its receipt",
}
_INTRODUCTION = (
    "Generated from `bench/results/results.json` by `make generate`; `make bench` measures again. How each number is "
    "made, and what it does not say, is in {readme}. In brackets: how many times the limit, which is the bare ASGI "
    "callable doing the same (for refusals and replays: answering an echo). An empty cell was not measured."
)
_LIMIT = "bare"
_FEW = 10
_UNITS = {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30}


def page(results: Results, readme: str, pictures: Mapping[str, str]) -> str:
    """Return the whole page of *results*.

    Args:
        results: What was measured.
        readme: How the page says where the driver's README is.
        pictures: What each picture shows, by its name beside the page.
    """
    parts = [
        "# Measured side by side",
        _INTRODUCTION.format(readme=readme),
        "; ".join(f"{name}: {value}" for name, value in results.machine.items()) + f"; profile: {results.profile}.",
        *(f"![{what}]({name})" for name, what in pictures.items()),
        "## Goals",
        goals(results),
        *_missed(results),
        *_loads(results),
        *_section(
            "Streams",
            results,
            ("streams", "rate", "events/s"),
            ("streams", "tokens_rate", "tokens/s"),
            ("streams", "cpu_us", "CPU µs/event"),
            ("first-event", "first_ms", "first event, ms"),
            ("first-event", "run_ms", "a `/run`, ms"),
        ),
        *_section(
            "Start and idle memory",
            results,
            ("start", "start_ms", "start to healthy, ms"),
            ("start", "rss_mib", "RSS MiB"),
            ("start", "pss_mib", "PSS MiB"),
            ("start", "processes", "processes"),
        ),
        *_section("Memory", results, ("memory", "before_mib", "before, MiB"), ("memory", "after_mib", "after, MiB")),
        *_section(
            "`/healthz` with 64 runs in flight",
            results,
            ("health", "p50_ms", "p50 ms"),
            ("health", "p99_ms", "p99 ms"),
            ("health", "max_ms", "longest ms"),
        ),
        *_section(
            "One output, small to large",
            results,
            ("size", "ms", "a run, ms"),
            ("size", "mib_s", "MiB/s"),
            ("size", "rss_mib", "RSS after, MiB"),
        ),
        *_section("Many outputs of 1 KiB", results, ("outputs", "ms", "a run, ms")),
        *_section(
            "Adapters",
            results,
            ("adapter", "cold_ms", "cold, ms"),
            ("adapter", "warm_ms", "warm, ms"),
            ("adapter", "whole_s", "whole command, s"),
            ("container", "start_ms", "container to healthy, ms"),
        ),
        *_section(
            "One big output",
            results,
            ("big", "seconds", "seconds"),
            ("big", "above_idle_mib", "above idle, MiB"),
            ("big", "idle_mib", "idle, MiB"),
        ),
        *_section("Whole commands", results, ("help", "ms", "help, ms"), ("command", "ms", "a run, ms")),
        *_skipped(results),
        "## Versions",
        _versions(results),
    ]
    return "\n\n".join(parts) + "\n"


def goals(results: Results) -> str:
    """Return the table of the goals."""
    rows = []
    for outcome in outcomes(results):
        check = outcome.check
        bound = f"{'≥' if check.sense == 'at least' else '≤'} {number(check.bound)}"
        best = check.under is not None and check.under.subject == BEST_PEER and outcome.against
        against = f", {_label(outcome.against)}" if best else ""
        measured = "not measured" if outcome.value is None else number(outcome.value)
        rows.append((check.goal, check.what + against, bound, measured, verdict(outcome)))
    return grid(("", "what", "goal", "measured", ""), rows)


def verdict(outcome: Outcome) -> str:
    """Return whether *outcome* is good, and if not by how much."""
    if outcome.value is None:
        return "not measured"
    return "reached" if outcome.reached else f"missed by a factor of {outcome.missed_by:.2f}"


def grid(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table; all columns but the first are numbers as a rule, and stand on the right."""
    line = " | ".join(["---", *("---:" for _ in head[1:])])
    return "\n".join(["| " + " | ".join(head) + " |", f"| {line} |", *("| " + " | ".join(row) + " |" for row in rows)])


def number(value: float) -> str:
    """Return *value* with three digits that say something, and thousands set apart."""
    if value == 0:
        return "0"
    if abs(value) >= 100:  # noqa: PLR2004  # three digits before the point
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= _FEW else f"{value:.2f}"


def _missed(results: Results) -> Iterable[str]:
    """Yield, for each missed goal, by how much at most, what bounds it, and what would be needed."""
    missed: dict[str, float] = {}
    for outcome in outcomes(results):
        if outcome.value is not None and not outcome.reached:
            goal = outcome.check.goal
            missed[goal] = max(missed.get(goal, 0.0), outcome.missed_by)
    if missed:
        yield "## What bounds the goals that are missed"
    for goal, factor in missed.items():
        yield f"**{goal}, {TITLES[goal]}: missed by a factor of up to {factor:.2f}.** {BOUNDS[goal]}"


def _loads(results: Results) -> Iterable[str]:
    for work, title in _WORKS.items():
        keys = list(results.keys(work, "rate"))
        if not keys:
            continue
        loads = sorted({key.at for key in keys}, key=lambda at: int(at[1:]))
        head = ["", *(f"req/s, {at}" for at in loads), *(f"p50 / p99 ms, {at}" for at in loads)]
        rows = [_load(results, work, subject, loads) for subject in _ordered(keys)]
        yield f"## {title}"
        yield grid([*head, "CPU µs", "spread", "failed"], rows)


def _load(results: Results, work: str, subject: str, loads: Sequence[str]) -> list[str]:
    def at(metric: str, load: str) -> float | None:
        return results.median(Key(work, subject, metric, load))

    def cell(*metrics: str, load: str) -> str:
        found = [at(metric, load) for metric in metrics]
        return " / ".join(number(value) for value in found if value is not None)

    limit = "echo" if work in {"refusal", "replay"} else work
    rates = []
    for load in loads:
        times = results.ratio(Key(work, subject, "rate", load), Key(limit, _LIMIT, "rate", load))
        rates.append(cell("rate", load=load) + (f" ({times:.2f})" if times is not None else ""))
    spreads = [results.spread(Key(work, subject, "rate", load)) or 0.0 for load in loads]
    failed = max(at("failed_share", load) or 0.0 for load in loads)
    return [
        _label(subject),
        *rates,
        *(cell("p50_ms", "p99_ms", load=load) for load in loads),
        cell("cpu_us", load=loads[-1]),
        f"{max(spreads):.0%}",
        f"{failed:.0%}" if failed else "0",
    ]


def _section(title: str, results: Results, *columns: tuple[str, str, str]) -> Iterable[str]:
    """Yield a table with one row for each subject and load: *columns* are row, metric and head."""
    keys = [key for row, metric, _ in columns for key in results.keys(row, metric)]
    places = dict.fromkeys((key.subject, key.at) for key in keys if key.at)
    loads = places or dict.fromkeys((key.subject, "") for key in keys)
    if not keys:
        return
    rows = []
    for subject, at in sorted(loads, key=lambda place: (_rank(place[0]), _magnitude(place[1]))):
        cells = []
        for row, metric, _ in columns:
            middle = results.median(Key(row, subject, metric, at))
            if middle is None:
                middle = results.median(Key(row, subject, metric))
            cells.append("" if middle is None else number(middle))
        rows.append([_label(subject) + (f", {at}" if at else ""), *cells])
    yield f"## {title}"
    yield grid(["", *(head for _, _, head in columns)], rows)


def _skipped(results: Results) -> Iterable[str]:
    if results.skipped:
        yield "## Not measured"
        rows = dict.fromkeys((skip.row, skip.what, skip.reason.replace("|", "\\|")) for skip in results.skipped)
        yield grid(("row", "what", "why"), rows).replace("---:", "---")


def _versions(results: Results) -> str:
    return "\n".join(
        f"- {environment}: " + ", ".join(f"{package} {version}" for package, version in packages.items())
        for environment, packages in sorted(results.versions.items())
    )


def _ordered(keys: Iterable[Key]) -> list[str]:
    return sorted({key.subject for key in keys}, key=_rank)


def _rank(subject: str) -> tuple[int, str]:
    """Order limits first, then ourselves, then peers in the catalogue's order."""
    names = list(SUBJECTS)
    return (names.index(subject) if subject in SUBJECTS else len(names), subject)


def _magnitude(at: str) -> float:
    """Order loads by their numbers: ``2 KiB`` before ``1 MiB``, ``50`` before ``200``, words as they come."""
    count, _, unit = at.partition(" ")
    return float(count) * _UNITS.get(unit, 1) if count.isdigit() else 0.0


def _label(subject: str) -> str:
    return SUBJECTS[subject].label if subject in SUBJECTS else subject

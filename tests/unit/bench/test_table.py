"""The page says what was measured, what was missed, and what is not there."""

from __future__ import annotations

import re

import pytest

from bench import bounds
from bench.goals import TITLES
from bench.series import Key, Results, Skip
from bench.table import number
from bench.table import page as whole_page


@pytest.fixture
def results() -> Results:
    """Return results with a reached, a missed and an unmeasured goal."""
    found = Results("full", machine={"cpu": "2 x a core"}, versions={"kserve": {"kserve": "0.21"}})
    for subject, rate in (("bare", 10_000.0), ("ours-async", 5_000.0), ("kserve", 1_000.0)):
        for at in ("c8", "c64"):
            for metric, sample in (("rate", rate), ("p50_ms", 1.0), ("p99_ms", 2.5), ("cpu_us", 40.0)):
                found.add(Key("file-disk", subject, metric, at), sample)
            found.add(Key("file-disk", subject, "failed_share", at), 0.25 if subject == "kserve" else 0.0)
    found.add(Key("health", "ours-async", "p99_ms", "spinning"), 500.0)
    found.skipped = [Skip("loads", "file-disk, cog", "uv pip ended with status 1: a | b")]
    return found


def page(results: Results) -> str:
    """Return the page, as beside the results, without pictures."""
    return whole_page(results, "README.md", {})


def rows(text: str, label: str) -> list[list[str]]:
    """Return the cells of each row that begins with *label*."""
    lines = (line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("|"))
    return [cells for cells in lines if cells[0] == label]


def test_a_load_shows_rate_ratio_latency_and_failures(results: Results) -> None:
    """Connections go from few to many."""
    (ours,) = rows(page(results), "ours, async handler")
    (kserve,) = rows(page(results), "KServe")

    assert ours == [
        "ours, async handler",
        "5,000 (0.50)",
        "5,000 (0.50)",
        "1.00 / 2.50",
        "1.00 / 2.50",
        "40.0",
        "0%",
        "0",
    ]
    assert kserve[-1] == "25%"


def test_a_load_that_was_not_measured_is_empty(results: Results) -> None:
    """A peer that nobody asked is not one that could not answer."""
    results.add(Key("file-disk", "ours-async", "rate", "c1"), 900.0)

    (kserve,) = rows(page(results), "KServe")

    assert (kserve[1], kserve[4]) == ("", "")
    assert kserve[2] == "1,000 (0.10)"


def test_a_reached_and_a_missed_goal_can_be_told_apart(results: Results) -> None:
    """The verdict has the factor."""
    text = page(results)

    assert "| P1 | runs a second at 64 connections, disk, to bare with one file" in text
    assert ["P7", "p99 in ms, ours, async handler, spinning", "≤ 250", "500", "missed by a factor of 2.00"] in rows(
        text, "P7"
    )
    assert any(cells[-1] == "reached" for cells in rows(text, "P1"))


def test_a_missed_goal_has_the_words_about_what_bounds_it(results: Results, monkeypatch: pytest.MonkeyPatch) -> None:
    """And a goal that was reached or not measured has none."""
    monkeypatch.setitem(bounds.BOUNDS, "P7", "Threads that spin.")
    monkeypatch.setitem(bounds.BOUNDS, "P9", "The disk.")

    assert f"**P7, {TITLES['P7']}: missed by a factor of up to 2.00.** Threads that spin." in page(results)
    assert "The disk." not in page(results)


def test_without_a_missed_goal_nothing_is_said_about_bounds() -> None:
    """Not even a heading."""
    assert "bounds" not in page(Results("full"))


@pytest.mark.parametrize("goal", TITLES)
def test_every_goal_has_its_words_and_none_has_a_number(goal: str) -> None:
    """Numbers on the page come from the results; the words say what would be needed."""
    assert "Needed:" in bounds.BOUNDS[goal]
    assert not re.search(r"\b\d", bounds.BOUNDS[goal])


def test_what_was_not_measured_is_named(results: Results) -> None:
    """A bar in its reason does not break the table."""
    assert "uv pip ended with status 1: a \\| b" in page(results)
    assert ["P8", "cold, to the same steps by hand", "≤ 1.15", "not measured", "not measured"] in rows(
        page(results), "P8"
    )


def test_sizes_go_from_small_to_large() -> None:
    """Whatever their letters say."""
    found = Results("full")
    for at in ("1 GiB", "1 KiB", "128 MiB", "64 KiB", "2 MiB"):
        found.add(Key("size", "ours-sync", "ms", at), 1.0)
    names = [line.split(" | ")[0] for line in page(found).splitlines() if line.startswith("| ours, sync handler, ")]

    assert names == [f"| ours, sync handler, {at}" for at in ("1 KiB", "64 KiB", "2 MiB", "128 MiB", "1 GiB")]


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.456, "0.46"), (12.34, "12.3"), (99.94, "99.9"), (123.4, "123"), (45123.0, "45,123")],
)
def test_a_number_has_the_digits_that_say_something(value: float, text: str) -> None:
    """Three of them."""
    assert number(value) == text

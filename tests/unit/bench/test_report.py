"""The README's section and the pictures are made of the results, and of nothing else."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from bench import paths, report
from bench.picture import Bar, bars
from bench.series import Key, Results

README = f"# Title\n\n{report.BEGIN}\nold\n{report.END}\n\n## Next\n"


@pytest.fixture
def results() -> Results:
    """Return results of some subjects on disk."""
    found = Results("full", machine={"cpu": "2 x a core"})
    for subject, rate in (("bare", 9000.0), ("ours-async", 4500.0), ("ours-sync", 4000.0), ("kserve", 1500.0)):
        found.add(Key("file-disk", subject, "rate", "c64"), rate)
        found.add(Key("file-disk", subject, "p99_ms", "c64"), 12.0)
    return found


def test_only_what_stands_between_the_markers_changes(results: Results) -> None:
    """The rest of the README belongs to people; doing it twice changes nothing."""
    once = report.with_section(README, report.section(results))

    assert once.startswith("# Title\n\n")
    assert once.endswith("\n\n## Next\n")
    assert "old" not in once
    assert report.with_section(once, report.section(results)) == once


def test_the_section_names_the_fastest_peer(results: Results) -> None:
    """With the number that was measured."""
    text = report.section(results)

    assert "| KServe, the fastest peer | 1,500 | 12.0 |" in text
    assert "4,500" in text


@pytest.mark.parametrize("readme", ["# Title\n", f"{report.BEGIN}\n", f"{report.END}\n{report.BEGIN}\n"])
def test_a_readme_without_both_markers_is_refused(readme: str, results: Results) -> None:
    """Rather than a section that lands nowhere."""
    with pytest.raises(ValueError, match="needs the lines"):
        report.with_section(readme, report.section(results))


def test_the_repositorys_readme_has_the_markers(results: Results) -> None:
    """So that `make generate` can write."""
    readme = (paths.ROOT / "README.md").read_text("utf-8")

    assert report.section(results) in report.with_section(readme, report.section(results))


def test_everything_is_written_beside_the_results(results: Results, tmp_path: Path) -> None:
    """And a picture without a number is not drawn."""
    results.dump(tmp_path / "results.json")
    report.write(tmp_path)

    assert {path.name for path in tmp_path.iterdir()} == {"results.json", "results.md", "throughput.svg"}


def test_the_page_shows_the_pictures_that_are_drawn(results: Results) -> None:
    """And no other; it leads to the driver's README."""
    text = report.files(results)["results.md"]

    assert "](throughput.svg)" in text
    assert "](streams.svg)" not in text
    assert "](../README.md)" in text


def test_the_site_has_the_same_page_and_pictures(results: Results) -> None:
    """Without a link that leaves the site."""
    beside, site = report.files(results), report.site(results)

    assert site.keys() - {"performance.md"} == beside.keys() - {"results.md"}
    assert site["performance.md"] == beside["results.md"].replace(
        "[the driver's README](../README.md)", "`bench/README.md`"
    )


def test_before_anything_is_measured_the_site_says_so() -> None:
    """Its navigation names the page all the same."""
    assert list(report.site(None)) == ["performance.md"]
    assert "make bench" in report.site(None)["performance.md"]


def test_a_picture_is_well_formed_and_to_scale() -> None:
    """A bar of half the value is half as long."""
    drawn = ET.fromstring(bars("A & B", "note", [Bar("x < y", 10.0, "ours"), Bar("z", 5.0, "peer")]))  # noqa: S314  # ours
    lengths = [float(each.attrib["width"]) for each in drawn.iter("{http://www.w3.org/2000/svg}rect")][1:]
    texts = [each.text for each in drawn.iter("{http://www.w3.org/2000/svg}text")]

    assert lengths[0] == 2 * lengths[1]
    assert texts[0] == "A & B"
    assert "x < y" in texts


def test_a_picture_of_nothing_has_no_bars() -> None:
    """And does not divide by zero."""
    assert bars("t", "n", []).count("<rect") == 1
    assert "1.0" in bars("t", "n", [Bar("zero", 0.0, "peer")])

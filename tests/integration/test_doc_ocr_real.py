"""`doc/ocr@1` in real mode: the samples are read as they were written, by the command that a user types."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageChops

from scripts.package_index import uv_environment

CODE = Path(__file__).resolve().parents[2] / "code"
SAMPLES = CODE / "apps" / "core" / "processors" / "doc_ocr" / "samples"
WORDS_READ = 0.95

# The first run fills an environment from the package index
pytestmark = [pytest.mark.slow, pytest.mark.network]


@dataclass(frozen=True)
class Reading:
    """What one run gave: its envelope, its log, and its outputs on this machine."""

    envelope: dict[str, Any]
    log: list[dict[str, Any]]
    folder: Path

    @property
    def text(self) -> str:
        """The recognised text."""
        return (self.folder / "text.txt").read_text(encoding="utf-8")

    @cached_property
    def pages(self) -> list[dict[str, Any]]:
        """The pages of the layout."""
        pages: list[dict[str, Any]] = json.loads((self.folder / "layout.json").read_text(encoding="utf-8"))["pages"]
        return pages

    def events(self) -> Counter[str]:
        """How often each event was logged."""
        return Counter(line["event"] for line in self.log)


def reading(name: str, artifacts: Path) -> Reading:
    """Return what a real run makes of the sample *name*, with `CI` scrubbed as on a laptop."""
    inputs = {"schema": "v1", "params": {"document": {"$attach": "document"}}}
    command = [
        *(sys.executable, "manage.py", "run_processor", "--ref", "doc/ocr@1", "--adapter", "process", "--mode", "real"),
        *("--attach", f"document={SAMPLES / name}", "--inputs-json", json.dumps(inputs), "--json"),
    ]
    environ = {
        **{key: value for key, value in os.environ.items() if key != "CI"},
        **uv_environment(os.environ),
        "DJANGO_SETTINGS_MODULE": "backend.settings.dev",
        "ARTIFACTS_ROOT": str(artifacts),
    }
    done = subprocess.run(command, cwd=CODE, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    envelope: dict[str, Any] = json.loads(done.stdout)
    log = [json.loads(line) for line in done.stderr.splitlines()]
    return Reading(envelope, log, artifacts / "outputs" / envelope["execution_id"] / "outputs")


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Reading:
    """What a real run makes of the sample page."""
    return reading("page.png", tmp_path_factory.mktemp("page"))


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Reading:
    """What a real run makes of the sample PDF."""
    return reading("pages.pdf", tmp_path_factory.mktemp("pages"))


def words_read(sample: str, text: str) -> float:
    """Return the part of the words on a sample that *text* has, in the order in which a person reads them."""
    expected = (SAMPLES / sample).read_text(encoding="utf-8").split()
    same = SequenceMatcher(None, expected, text.split(), autojunk=False).get_matching_blocks()
    return sum(block.size for block in same) / len(expected)


def test_the_page_is_read_word_by_word_in_reading_order(page: Reading) -> None:
    """Heading, one column after the other, then the table row by row."""
    assert page.text.splitlines()[0] == "Notes from a Harbour Light"
    assert "North pier\t31\t412.5\t0" in page.text.splitlines()
    assert words_read("page.txt", page.text) >= WORDS_READ


def test_the_layout_says_where_each_line_stands(page: Reading) -> None:
    """Boxes lie on the page, with the ink of their line in them."""
    [layout] = page.pages
    with Image.open(SAMPLES / "page.png") as opened:
        sample = opened.convert("L")

    assert (layout["number"], layout["width"], layout["height"]) == (1, *sample.size)
    assert len(layout["lines"]) == len((SAMPLES / "page.txt").read_text(encoding="utf-8").splitlines())
    for line in layout["lines"]:
        xs, ys = zip(*line["box"], strict=True)
        left, top, right, bottom = min(xs), min(ys), max(xs), max(ys)
        assert 0 <= left < right <= sample.width, line
        assert 0 <= top < bottom <= sample.height, line
        assert sample.crop((left, top, right, bottom)).histogram()[0] > 0, line
        assert 0.5 <= line["confidence"] <= 1


def test_the_picture_shows_the_page_with_its_boxes(page: Reading) -> None:
    """A PNG as large as the page; what differs from the page is where a box was drawn."""
    with Image.open(page.folder / "page-0001.png") as opened, Image.open(SAMPLES / "page.png") as sample:
        assert (opened.format, opened.size) == ("PNG", sample.size)
        difference = ImageChops.difference(opened.convert("RGB"), sample.convert("RGB")).convert("L")
    heading = page.pages[0]["lines"][0]["box"]

    assert all(difference.crop((x - 3, y - 3, x + 4, y + 4)).getextrema() != (0, 0) for x, y in heading)
    assert difference.crop((0, 1150, 1240, 1260)).getextrema() == (0, 0)


def test_the_envelope_names_what_was_written(page: Reading) -> None:
    """Three outputs, and where nothing is pinned it says so."""
    names = [row["path"].rpartition("/")[2] for row in page.envelope["outputs"]]

    assert names == ["layout.json", "page-0001.png", "text.txt"]
    assert page.envelope["meta"]["pinned"] is False
    assert page.envelope["meta"]["extra"] == {"pages": 1, "lines": len(page.pages[0]["lines"])}


def test_the_engine_adds_no_line_of_its_own_to_the_log(page: Reading) -> None:
    """Not by the way of a stray write either."""
    events = page.events()

    assert events["handler.page.ok"] == 1
    assert events["process.stray"] == 0
    assert [line for line in page.log if line["event"] == "process.log" and line["logger"] == "RapidOCR"] == []


def test_both_pages_of_a_pdf_are_read(pages: Reading) -> None:
    """A scan in black and white, drawn by PDFium."""
    first, second = pages.text.split("\f")

    assert first.splitlines()[0] == "Notes from a Harbour Light"
    assert second.splitlines()[0] == "Checking and Keeping"
    assert words_read("pages.txt", pages.text) >= WORDS_READ
    assert [layout["number"] for layout in pages.pages] == [1, 2]
    assert pages.events()["handler.page.ok"] == 2
    for layout in pages.pages:
        with Image.open(pages.folder / f"page-{layout['number']:04d}.png") as picture:
            assert (picture.format, *picture.size) == ("PNG", layout["width"], layout["height"])

"""Draw the samples of `doc/ocr@1`: page.png, pages.pdf, and what stands on them as text.

`python -m scripts.make_sample_page` writes them, `--check` (part of the unit tests) says which are stale. Everything
here is our own: the words, the drawing, and a font that comes with Pillow. The same Pillow draws the same pixels.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

SAMPLES = Path(__file__).resolve().parents[1] / "code" / "apps" / "core" / "processors" / "doc_ocr" / "samples"
DPI = 150
SIZE = (1240, 1260)  # in pixels: as wide as A4, and as long as the text needs
MARGIN = 96
GUTTER = 56
BODY, HEAD = 26, 32  # sizes of letters, in pixels
HALF = 128  # darker is ink, where there are no greys
GREYS = 16  # enough for smooth letters; a PNG of 256 greys is twice as large

INTRODUCTION = """
A harbour light does one thing, and it has to do it every night. Nobody looks at it with pleasure while it works, and
everybody notices when it fails.
"""
LEFT = """
The first rule
Write the entry before you leave the lamp room. A note made at breakfast is a memory, and memories improve themselves:
the wind becomes a round number.

The second rule
Say what you saw, then what you think. A keeper who wrote that the lens was dirty helped the next one to clean it.
Blame helped nobody.
"""
RIGHT = """
The third rule
Count in units. Twelve is a number, twelve litres is a fact, and twelve litres since Monday is a reason to look for a
leak.

What it gives us
A machine that reads pages should say which page it read, where each line stood, and how sure it was. Then somebody
else can check the work against the picture.
"""
TABLE = (
    ("Station", "Nights lit", "Oil, litres", "Failures"),
    ("North pier", "31", "412.5", "0"),
    ("Old battery", "29", "377.2", "2"),
    ("River mouth", "30", "405.9", "0"),
    ("Total", "90", "1195.6", "2"),
)
SECOND_PAGE = """
How the sum was checked
The table was added twice, once by the keeper and once by the clerk in the harbour office. When the two totals
differed, both were struck out and the month was counted again from the daily entries.

How long a book was kept
Each book covered one year and was kept for ten. Then the office wrote a short summary and gave the paper to the
school. This is why so many of the books that survive have boats on every second page.
"""


@dataclass(slots=True)
class Page:
    """One page being drawn, and its lines of text in the order in which a person reads them."""

    picture: Image.Image = field(default_factory=lambda: Image.new("L", SIZE, 255))
    lines: list[str] = field(default_factory=list)

    def text(self, at: tuple[float, float], text: str, *, size: int) -> float:
        """Draw one line with its top left corner *at*, and return where the next one begins, in pixels from above."""
        ImageDraw.Draw(self.picture).text(at, text, font=_font(size), fill=0)
        self.lines.append(text)
        return at[1] + size * 1.42

    def block(self, at: tuple[float, float], text: str, *, width: float, size: int) -> float:
        """Draw *text* broken into lines of at most *width* pixels, and return where the next thing begins."""
        left, top = at
        for line in _broken(text, width=width, size=size):
            top = self.text((left, top), line, size=size)
        return top

    def table(self, at: tuple[float, float], rows: tuple[tuple[str, ...], ...], *, width: float, size: int) -> float:
        """Draw *rows* with borders, the first as a head, and return where the next thing begins."""
        left, top = at
        draw = ImageDraw.Draw(self.picture)
        height, column = size * 2.0, width / len(rows[0])
        for number, row in enumerate(rows):
            head = number == 0
            for index, cell in enumerate(row):
                corner = (left + index * column, top)
                box = (*corner, corner[0] + column, corner[1] + height)
                draw.rectangle(box, outline=0, width=2, fill=225 if head else None)
                draw.text((corner[0] + size * 0.7, corner[1] + size * 0.42), cell, font=_font(size), fill=0)
                self.lines.append(cell)
            top += height
        return top


def first_page() -> Page:
    """Return a page with a heading across it, a paragraph, two columns and a table with borders."""
    page = Page()
    width = SIZE[0] - 2 * MARGIN
    column = (width - GUTTER) / 2
    top = page.text((MARGIN, 84), "Notes from a Harbour Light", size=52)
    top = page.text((MARGIN, top + 4), "On keeping a book that others can check", size=HEAD) + 22
    top = page.block((MARGIN, top), INTRODUCTION, width=width, size=BODY) + 30
    ends = []
    for left, parts in ((MARGIN, LEFT), (MARGIN + column + GUTTER, RIGHT)):
        below = top
        for title, body in _sections(parts):
            below = page.text((left, below), title, size=HEAD) + 6
            below = page.block((left, below), body, width=column, size=BODY) + 24
        ends.append(below)
    below = page.text((MARGIN, max(ends) + 26), "Table 1. The lights of one harbour in one month", size=BODY) + 10
    page.table((MARGIN, below), TABLE, width=width, size=BODY)
    return page


def second_page() -> Page:
    """Return a page of one column: the end of what the first page begins."""
    page = Page()
    width = SIZE[0] - 2 * MARGIN
    top = page.text((MARGIN, 84), "Checking and Keeping", size=44) + 20
    for title, body in _sections(SECOND_PAGE):
        top = page.text((MARGIN, top), title, size=HEAD) + 6
        top = page.block((MARGIN, top), body, width=width, size=BODY) + 28
    return page


def samples() -> dict[str, bytes]:
    """Return every sample by its file name."""
    first, second = first_page(), second_page()
    return {
        "page.png": _png(first.picture),
        "page.txt": "\n".join([*first.lines, ""]).encode(),
        "pages.pdf": _pdf([first.picture, second.picture]),
        "pages.txt": "\n".join([*first.lines, *second.lines, ""]).encode(),
    }


def stale(folder: Path = SAMPLES) -> list[str]:
    """Return the names of the samples that are absent or not what this script draws.

    Pictures are compared by pixel: how well they are packed is up to the zlib that is at hand.
    """
    found = []
    for name, data in samples().items():
        path = folder / name
        same = path.exists() and (
            _pixels(path.read_bytes()) == _pixels(data) if name.endswith(".png") else path.read_bytes() == data
        )
        if not same:
            found.append(name)
    return found


def _sections(text: str) -> list[tuple[str, str]]:
    """Return the heading and the body of each part of *text*; an empty line ends a part."""
    parts = (part.split("\n", 1) for part in text.strip().split("\n\n"))
    return [(title, body) for title, body in parts]


def _font(size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size=size)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise TypeError("this Pillow has no FreeType, so it has no scalable font to draw with")
    return font


def _broken(text: str, *, width: float, size: int) -> list[str]:
    font, lines, line = _font(size), [], ""
    for word in text.split():
        longer = f"{line} {word}".strip()
        if font.getlength(longer) > width:
            lines.append(line)
            longer = word
        line = longer
    return [*lines, line]


def _png(picture: Image.Image) -> bytes:
    buffer = BytesIO()
    picture.quantize(GREYS).save(buffer, format="PNG", optimize=True, dpi=(DPI, DPI))
    return buffer.getvalue()


def _pdf(pictures: list[Image.Image]) -> bytes:
    # black and white as a fax is: small, without loss, and what most scans in an archive look like
    pages = [picture.point(lambda grey: 255 * (grey >= HALF), mode="1") for picture in pictures]
    epoch = time.gmtime(0)
    buffer = BytesIO()
    pages[0].save(
        buffer,
        format="PDF",
        save_all=True,
        append_images=pages[1:],
        resolution=DPI,
        title="Notes from a Harbour Light",
        creationDate=epoch,
        modDate=epoch,
    )
    return buffer.getvalue()


def _pixels(data: bytes) -> tuple[tuple[int, int], bytes]:
    with Image.open(BytesIO(data)) as picture:
        return picture.size, picture.convert("L").tobytes()


def main() -> int:
    """Write the samples, or with `--check` only compare them; 1 if one is stale."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing, name what is stale")
    if parser.parse_args().check:
        old = stale()
        print("\n".join(f"samples/{name} is stale: run `python -m scripts.make_sample_page`" for name in old))
        return 1 if old else 0
    SAMPLES.mkdir(parents=True, exist_ok=True)
    for name, data in samples().items():
        (SAMPLES / name).write_bytes(data)
        print(f"samples/{name}: {len(data)} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Lines are put in the order in which a person reads them, from their boxes alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.core.processors.doc_ocr.app.utils import Box, Line, Page, Point, reading_order

SIZE = (1200, 1600)
HEIGHT = 30

Placed = tuple[str, float, float, float]  # text, left, top, width


def line(text: str, left: float, top: float, width: float, height: float = HEIGHT) -> Line:
    """Return a line whose box is level."""
    right, bottom = round(left + width), round(top + height)
    left, top = round(left), round(top)
    return Line(text, ((left, top), (right, top), (right, bottom), (left, bottom)), 0.99)


def column(name: str, left: float, top: float, *, rows: int, width: float = 480, pitch: float = 38) -> list[Line]:
    """Return *rows* lines of running text, ragged on the right, named a1, a2 and so on."""
    return [line(f"{name}{n + 1}", left, top + n * pitch, width - 40 * (n % 3)) for n in range(rows)]


def grid(rows: Sequence[str], *, top: float, lefts: Sequence[float], widths: Sequence[float]) -> list[Line]:
    """Return the cells of a table; each of *rows* is words, one a column."""
    return [
        line(cell, lefts[index], top + 52 * number, widths[index])
        for number, row in enumerate(rows)
        for index, cell in enumerate(row.split())
    ]


def read(lines: Sequence[Line]) -> list[str]:
    """Return the texts of *lines* in reading order, whatever the order in which they were found."""
    shuffled = sorted(lines, key=lambda line: line.text[::-1])
    return [line.text for line in Page.of(1, SIZE, shuffled).lines]


def texts(lines: Sequence[Line]) -> list[str]:
    """Return the texts of *lines* as given."""
    return [line.text for line in lines]


TABLE = grid(["a b c d", "e f g h", "i j k l"], top=900, lefts=[100, 360, 620, 880], widths=[90, 40, 70, 30])

PAGES = [
    pytest.param([], id="an empty page"),
    pytest.param(column("a", 100, 100, rows=5, width=1000), id="one column"),
    pytest.param(column("a", 100, 100, rows=9) + column("b", 650, 100, rows=7), id="two columns, level"),
    pytest.param(column("a", 100, 100, rows=6) + column("b", 650, 117, rows=9), id="two columns, lines not level"),
    pytest.param(
        column("a", 80, 100, rows=8, width=320)
        + column("b", 440, 108, rows=8, width=320)
        + column("c", 800, 95, rows=8, width=320),
        id="three columns",
    ),
    pytest.param(
        [line("heading", 300, 40, 600, 60), *column("a", 100, 140, rows=6), *column("b", 650, 140, rows=6)],
        id="a heading across two columns",
    ),
    pytest.param(
        [line("short", 100, 60, 200, 50), *column("a", 100, 140, rows=6), *column("b", 650, 140, rows=6)],
        id="a heading above the left column",
    ),
    pytest.param(
        column("a", 100, 100, rows=3)
        + column("b", 650, 100, rows=3)
        + [line("middle", 100, 230, 1000)]
        + column("c", 100, 280, rows=3)
        + column("d", 650, 280, rows=3),
        id="columns, a line across, columns",
    ),
    pytest.param(
        [*column("a", 100, 100, rows=9), *column("b", 650, 100, rows=7), line("caption", 100, 500, 400), *TABLE[4:]],
        id="a caption after two columns is not the end of the left one",
    ),
    pytest.param(TABLE, id="a table"),
    pytest.param(
        column("a", 100, 680, rows=5, width=480) + column("b", 650, 680, rows=5, width=480) + TABLE,
        id="a table whose middle lies below the gutter, close to the text",
    ),
    pytest.param(
        grid(["x1 1", "x2 2", "x3 3", "x4 4"], top=100, lefts=[100, 700], widths=[120, 60]), id="a table of two columns"
    ),
    pytest.param(
        grid(["n1 d1 p1", "n2 d2 p2", "n3 d3 p3"], top=100, lefts=[100, 260, 900], widths=[60, 500, 80]),
        id="a table with a column of running text",
    ),
    pytest.param(
        column("a", 80, 100, rows=12, width=440)
        + column("b", 600, 100, rows=4, width=500)
        + grid(["q r s", "t u v", "w x y"], top=270, lefts=[600, 780, 960], widths=[80, 60, 60])
        + column("z", 600, 430, rows=3, width=500),
        id="a table inside the right column",
    ),
    pytest.param(
        [line("to", 100, 100, 60), line("be", 175, 104, 60), line("or", 250, 98, 60), *column("a", 100, 150, rows=2)],
        id="a line that was found in pieces",
    ),
]


@pytest.mark.parametrize("lines", PAGES)
def test_lines_come_as_a_person_reads_them(lines: list[Line]) -> None:
    """Each page is written down here in the order that is expected."""
    assert read(lines) == texts(lines)


TURNS = [
    pytest.param(2.0, id="a little to the right"),
    pytest.param(-3.0, id="a little to the left"),
    pytest.param(90.0, id="on its side"),
    pytest.param(180.0, id="on its head"),
    pytest.param(-90.0, id="on its other side"),
    pytest.param(182.5, id="on its head and not straight"),
]


@pytest.mark.parametrize("degrees", TURNS)
@pytest.mark.parametrize("lines", PAGES[2:])
def test_a_turned_page_is_read_as_the_straight_one(lines: list[Line], degrees: float) -> None:
    """The corners of a box say in which direction its text runs."""
    turned = [Line(line.text, _turned(line.box, degrees), line.confidence) for line in lines]

    assert read(turned) == texts(lines)


def _turned(box: Box, degrees: float) -> Box:
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))

    def point(corner: Point) -> Point:
        return round(corner[0] * cos - corner[1] * sin), round(corner[0] * sin + corner[1] * cos)

    first, second, third, fourth = map(point, box)
    return first, second, third, fourth


def test_text_parts_cells_by_tabs_and_blocks_by_empty_lines() -> None:
    """A table is one line a row; a piece of a line that stands close is no cell."""
    page = Page.of(
        1,
        SIZE,
        [
            *column("a", 100, 100, rows=2),
            *column("b", 650, 100, rows=2),
            *grid(["North 31 412.5", "South 30 398.0"], top=400, lefts=[100, 400, 700], widths=[100, 60, 90]),
            line("one", 100, 600, 60),
            line("line", 175, 600, 60),
        ],
    )

    assert page.text() == "a1\na2\n\nb1\nb2\n\nNorth\t31\t412.5\nSouth\t30\t398.0\n\none line\n"


def test_a_page_without_lines_has_no_text() -> None:
    """Not even an empty line: an empty file says that nothing was there."""
    page = Page.of(7, SIZE, [])

    assert page.text() == ""
    assert page.as_json() == {"number": 7, "width": 1200, "height": 1600, "lines": []}


coordinates = st.integers(-50, 2000)
points = st.tuples(coordinates, coordinates)
anything = st.lists(st.tuples(points, points, points, points), max_size=40)
levels = st.builds(
    lambda left, top, width, height: line("", left, top, width, height).box,
    coordinates,
    coordinates,
    st.integers(0, 900),
    st.integers(0, 80),
)


@pytest.mark.parametrize("strategy", [pytest.param(anything, id="any"), pytest.param(st.lists(levels), id="level")])
def test_every_line_is_read_once(strategy: st.SearchStrategy[list[Box]]) -> None:
    """Whatever the boxes, crossed or without an extent, none is lost and none comes twice."""

    @given(strategy)
    def check(boxes: list[Box]) -> None:
        order = reading_order(boxes)
        assert sorted(index for block in order for row in block for index in row) == list(range(len(boxes)))
        assert all(row for block in order for row in block)

    run: Callable[[], None] = check
    run()

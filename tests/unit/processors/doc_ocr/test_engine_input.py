"""What the engine gets is bounded, and what it finds comes back to the page's own pixels."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from apps.core.processors.doc_ocr.app.utils import (
    WORK_ASPECT,
    WORK_PIXELS,
    Found,
    Turn,
    annotated,
    fitted,
    lines_on_page,
    mock_lines,
    other_turns,
    sureness,
    text_corners,
    turned_back,
    work_size,
)

WHOLE = [(10.0, 20.0), (110.0, 20.0), (110.0, 50.0), (10.0, 50.0)]
SHA256 = "0123456789abcdef" * 4


def test_a_page_that_fits_is_read_as_it_is() -> None:
    """No pixel is touched."""
    picture = Image.new("RGB", (1240, 1754), "white")

    assert fitted(picture) == (picture, 1.0)


def test_a_large_page_is_made_smaller() -> None:
    """By the same factor in both directions."""
    work, factor = fitted(Image.new("RGB", (4000, 3000), "white"))

    assert work.width * work.height <= WORK_PIXELS
    assert work.size == (int(4000 * factor), int(3000 * factor))


@pytest.mark.parametrize("size", [(3000, 20), (20, 3000), (1, 40)])
def test_a_strip_is_padded_with_its_own_ground(size: tuple[int, int]) -> None:
    """It stays in the upper left corner, so boxes need no moving."""
    work, factor = fitted(Image.new("RGB", size, (9, 99, 199)))

    assert factor == 1.0
    assert max(work.size) <= WORK_ASPECT * min(work.size)
    assert work.getcolors() == [(work.width * work.height, (9, 99, 199))]


@given(st.integers(1, 100_000), st.integers(1, 100_000))
def test_no_page_is_more_than_the_engine_takes(width: int, height: int) -> None:
    """The engine enlarges the short side to 736 pixels: that, too, has a bound."""
    size, factor = work_size((width, height))
    grown = max(1.0, 736 / min(size))

    assert 0 < factor <= 1
    assert size[0] * size[1] <= WORK_PIXELS
    assert size[0] * size[1] * grown**2 <= 1.05 * WORK_PIXELS


def test_boxes_come_back_to_the_pixels_of_the_page() -> None:
    """Those of a page that was halved are twice as far, whole numbers, and inside the page."""
    outside = [(-3.0, 1.0), (90.4, 1.0), (90.4, 2.0), (-3.0, 2.0)]
    lines = lines_on_page([(outside, "text", 0.987654)], factor=0.5, size=(150, 100))

    assert lines[0].box == ((0, 2), (150, 2), (150, 4), (0, 4))
    assert lines[0].as_json() == {"text": "text", "box": [[0, 2], [150, 2], [150, 4], [0, 4]], "confidence": 0.9877}


def test_the_box_of_an_upright_strip_begins_where_its_text_does() -> None:
    """The engine lays such a strip down to the left: the text runs from above to below."""
    strip = [(10.0, 10.0), (40.0, 10.0), (40.0, 210.0), (10.0, 210.0)]

    assert text_corners(strip) == [(40, 10), (40, 210), (10, 210), (10, 10)]
    assert text_corners(WHOLE) == WHOLE


@pytest.mark.parametrize("turn", [Turn.ROTATE_90, Turn.ROTATE_180, Turn.ROTATE_270])
def test_what_was_found_on_a_turned_page_is_turned_back(turn: Turn) -> None:
    """The box lies where the ink is, and its first corner is still that of the text's beginning."""
    picture = Image.new("L", (200, 100), 255)
    picture.paste(0, (150, 20, 190, 30))
    turned = ImageOps.invert(picture.transpose(turn)).getbbox()
    assert turned is not None
    left, top, right, bottom = turned

    [(box, text, score)] = turned_back(
        [([(left, top), (right, top), (right, bottom), (left, bottom)], "ink", 0.9)], turn, picture.size
    )

    assert (text, score) == ("ink", 0.9)
    assert sorted(map(tuple, box)) == [(150, 20), (150, 30), (190, 20), (190, 30)]
    begins = {Turn.ROTATE_90: (190, 20), Turn.ROTATE_180: (190, 30), Turn.ROTATE_270: (150, 30)}
    assert box[0] == begins[turn]


def test_long_lines_say_how_sure_a_page_is() -> None:
    """A number that reads both ways must not outvote a sentence that reads in none."""
    found: list[Found] = [(WHOLE, "06", 1.0), (WHOLE, "06", 1.0), (WHOLE, "o e e e e e e e e oue", 0.6)]

    assert sureness(found) < 0.7
    assert sureness([]) == 0


STRIP = [(40.0, 10.0), (40.0, 210.0), (10.0, 210.0), (10.0, 10.0)]

TURNS = [
    pytest.param([], (), id="an empty page"),
    pytest.param([(WHOLE, "a clean line", 0.99)], (), id="a clean page"),
    pytest.param([(WHOLE, "e o e o", 0.7)], (Turn.ROTATE_180,), id="no sense: perhaps on its head"),
    pytest.param(
        [(STRIP, "a line as good as any", 0.99), (WHOLE, "06", 0.9)],
        (Turn.ROTATE_90, Turn.ROTATE_270),
        id="on its side",
    ),
    pytest.param([(WHOLE, "a page with a note", 0.99), (STRIP, "in its margin", 0.99)], (), id="a note in the margin"),
]


@pytest.mark.parametrize(("found", "turns"), TURNS)
def test_a_page_is_turned_only_for_a_reason(found: list[Found], turns: tuple[Turn, ...]) -> None:
    """Each turn costs as much as the page itself."""
    assert other_turns(found) == turns


def test_boxes_are_drawn_on_a_copy() -> None:
    """Red where the edges are, the page's own pixels elsewhere."""
    picture = Image.new("RGB", (200, 100), "white")
    drawn = annotated(picture, lines_on_page([(WHOLE, "text", 0.9)], factor=1, size=picture.size))

    assert drawn.size == picture.size
    assert drawn.getpixel((60, 20)) == drawn.getpixel((110, 35)) == (200, 30, 30)
    assert drawn.getpixel((60, 35)) == (255, 255, 255)
    assert picture.getcolors() == [(20_000, (255, 255, 255))]


@given(st.integers(1, 3000), st.integers(1, 3000), st.integers(1, 9999))
def test_mock_lines_look_like_real_ones(width: int, height: int, number: int) -> None:
    """Inside the page, sure of themselves, and the same each time."""
    lines = mock_lines((width, height), SHA256, number)

    assert lines == mock_lines((width, height), SHA256, number)
    assert lines != mock_lines((width, height), SHA256[::-1], number)
    assert str(number) in lines[0].text
    for line in lines:
        assert 0.9 <= line.confidence < 1
        assert all(0 <= x <= width and 0 <= y <= height for x, y in line.box)

"""What the handler stands on: documents as pictures, the reading order of lines, and how both are written down."""

import math
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from itertools import pairwise
from statistics import median
from typing import Any, Final, Protocol, cast

import pypdfium2
from PIL import Image, ImageDraw, ImageFont, ImageOps, ImageStat, UnidentifiedImageError
from pypdfium2 import raw as pdfium

from processor_runtime import Artifact, InputsError

Point = tuple[int, int]
Box = tuple[Point, Point, Point, Point]  # corners in pixels of the page, clockwise from the top left one of the text
Turn = Image.Transpose
Found = tuple[Sequence[Sequence[float]], str, float]  # a line as the engine gives it: corners, text, confidence 0..1

DOCUMENT: Final = "/inputs/params/document"
PAGES: Final = "/inputs/params/pages"

MAX_BYTES: Final = 100 * 2**20
MAX_PIXELS: Final = 50_000_000  # a page: 150 MB as RGB, and three such pictures exist at once
MAX_PAGES: Final = 100  # in one run: more would not be done before the deadline
FORMATS: Final = ("PNG", "JPEG", "TIFF", "WEBP", "BMP", "GIF")  # the decoders that foreign bytes may reach

# What the engine gets at most: detection takes some 230 MB for each million pixels. Longer strips are padded, because
# the engine enlarges a short side to 736 pixels, however long the other becomes by that.
WORK_PIXELS: Final = 4_000_000
WORK_ASPECT: Final = 7

SURE: Final = 0.85  # a page that is the right way up has more, one upside down some 0.7
_UPRIGHT: Final = 1.5  # the engine lays down what is this many times as high as wide

# Our limit is checked before a picture is decoded; Pillow's own would only warn up to twice its number.
Image.MAX_IMAGE_PIXELS = None

# PDFium is not thread-safe (its own README), nor is `catch_warnings`: one document is decoded at a time.
_DECODER: Final = threading.Lock()


@dataclass(frozen=True, slots=True)
class Line:
    """One line of text on a page: what it says, where it stands, and how sure the engine is (0..1)."""

    text: str
    box: Box
    confidence: float

    def as_json(self) -> dict[str, Any]:
        """Return the line as `layout.json` holds it."""
        return {"text": self.text, "box": [list(point) for point in self.box], "confidence": self.confidence}


@dataclass(frozen=True, slots=True)
class Page:
    """One page that was read: *blocks* of rows of lines, in reading order; *width* and *height* in pixels."""

    number: int
    width: int
    height: int
    blocks: tuple[tuple[tuple[Line, ...], ...], ...]

    @classmethod
    def of(cls, number: int, size: tuple[int, int], lines: Sequence[Line]) -> "Page":
        """Return page *number* with its *lines*, given in any order, put in reading order."""
        order = reading_order([line.box for line in lines])
        blocks = tuple(tuple(tuple(lines[index] for index in row) for row in block) for block in order)
        return cls(number, *size, blocks)

    @property
    def lines(self) -> list[Line]:
        """Every line, in reading order."""
        return [line for block in self.blocks for row in block for line in row]

    def text(self) -> str:
        """Return the page's text: a row a line, cells parted by tabs, an empty line between blocks."""
        blocks = ("".join(f"{_row_text(row)}\n" for row in block) for block in self.blocks)
        return "\n".join(blocks)

    def as_json(self) -> dict[str, Any]:
        """Return the page as `layout.json` holds it."""
        lines = [line.as_json() for line in self.lines]
        return {"number": self.number, "width": self.width, "height": self.height, "lines": lines}


# --- documents -------------------------------------------------------------------------------------------------------


class Document(Protocol):
    """Pages that can be drawn, numbered from 1."""

    def __len__(self) -> int:
        """How many pages there are."""

    def picture(self, number: int) -> Image.Image:
        """Return page *number*, upright, as RGB."""

    def close(self) -> None:
        """Free what the document holds."""


def refusal(message: str, *, path: str = DOCUMENT, **context: object) -> InputsError:
    """Return the error that refuses an input: *message* is a rule, *context* is only logged."""
    return InputsError({"path": path, "message": message}, **context)


@contextmanager
def opened(artifact: Artifact, *, dpi: int) -> Iterator[Document]:
    """Give the pages of *artifact*, drawn at *dpi* if it is a PDF; pictures have their own pixels.

    Raises:
        InputsError: too large, of no known type, broken, encrypted, or without pages.
    """
    if artifact.size_bytes > MAX_BYTES:
        raise refusal(f"has more than {MAX_BYTES // 2**20} MiB")
    data = artifact.read_bytes()
    # readers accept a PDF whose header comes late, within the first 1024 bytes (PDF Reference 1.7, appendix H, note 13)
    document: Document = PdfPages(data, dpi) if b"%PDF-" in data[:1024] else Pictures(data)
    try:
        yield document
    finally:
        document.close()


def chosen_pages(count: int, wanted: Sequence[float] | None) -> list[int]:
    """Return the numbers of the pages to read out of *count*, ascending; *wanted* counts from 1, None means all.

    Raises:
        InputsError: there are too many, or a wanted one does not exist.
    """
    if wanted is None:
        if count > MAX_PAGES:
            raise refusal(f"has more than {MAX_PAGES} pages: name those to read in params.pages")
        return list(range(1, count + 1))
    numbers = sorted({int(number) for number in wanted})
    if numbers[-1] > count:
        raise refusal("names a page that the document does not have", path=PAGES)
    return numbers


class PdfPages:
    """The pages of a PDF."""

    def __init__(self, data: bytes, dpi: int) -> None:
        self._scale = dpi / 72  # a PDF measures in points, 72 to an inch
        self._data = data  # PDFium reads from these bytes, and does not own them
        with _decoding("is a broken PDF"):
            # not by `PdfDocument(data)`: it takes a PDF without pages for one that failed, with the last one's error
            handle = pdfium.FPDF_LoadMemDocument64(data, len(data), None)
            if not handle:
                locked = pdfium.FPDF_GetLastError() in {pdfium.FPDF_ERR_PASSWORD, pdfium.FPDF_ERR_SECURITY}
                raise refusal("is an encrypted PDF" if locked else "is a broken PDF")
            self._pdf = pypdfium2.PdfDocument(handle)
            self._pdf.init_forms()  # else what was filled into a form is not drawn
            self._count = len(self._pdf)
            if self._count == 0:
                self._pdf.close()
                raise refusal("is a PDF without pages")

    def __len__(self) -> int:
        """How many pages there are."""
        return self._count

    def picture(self, number: int) -> Image.Image:
        """Return page *number* as RGB.

        Raises:
            InputsError: the page is broken, or too large to be drawn.
        """
        with _decoding("has a page that cannot be drawn"):
            page = self._pdf[number - 1]
            try:
                _check_pixels(*(math.ceil(side * self._scale) for side in page.get_size()), drawn=" at this dpi")
                return page.render(scale=self._scale).to_pil().convert("RGB")  # type: ignore[no-any-return]
            finally:
                page.close()

    def close(self) -> None:
        """Free what PDFium holds."""
        with _DECODER:
            self._pdf.close()


class Pictures:
    """A picture as a document of one page, or a TIFF with a page for each of its frames.

    Of other files with several frames (an animation, say) the first one is the page.
    """

    def __init__(self, data: bytes) -> None:
        with _decoding("is a broken or cut short picture"):
            try:
                self._image = Image.open(BytesIO(data), formats=FORMATS)
            except UnidentifiedImageError as exc:
                raise refusal("is neither a PDF nor a picture of a known type") from exc
            _check_pixels(*self._image.size)
            self._count = int(getattr(self._image, "n_frames", 1)) if self._image.format == "TIFF" else 1

    def __len__(self) -> int:
        """How many pages there are."""
        return self._count

    def picture(self, number: int) -> Image.Image:
        """Return page *number*, turned as its EXIF orientation says, as RGB.

        Raises:
            InputsError: it cannot be decoded, or is too large to be.
        """
        with _decoding("is a broken or cut short picture"):
            self._image.seek(number - 1)
            _check_pixels(*self._image.size)
            return _rgb(ImageOps.exif_transpose(self._image))

    def close(self) -> None:
        """Free the decoder."""
        self._image.close()


@contextmanager
def _decoding(problem: str) -> Iterator[None]:
    """Turn whatever a decoder raises into a refusal that states *problem*; what it warns of is no failure."""
    with _DECODER, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        except (InputsError, MemoryError):
            raise
        except Exception as exc:  # decoders raise what they stumble over: OSError, KeyError, struct.error, …
            raise refusal(problem, cause=type(exc).__name__) from exc


def _check_pixels(width: int, height: int, *, drawn: str = "") -> None:
    if width * height > MAX_PIXELS:
        raise refusal(f"has a page of more than {MAX_PIXELS // 1_000_000} million pixels{drawn}")
    if width * height == 0:
        raise refusal("has a page without pixels")


_HALF_LIGHT: Final = 128


def _rgb(image: Image.Image) -> Image.Image:
    """Return *image* with 8 bits a channel and nothing transparent."""
    if image.mode.startswith(("I", "F")):  # 16 or 32 bits a pixel, of which a scan may use any part
        low, high = cast("tuple[float, float]", image.getextrema())
        scale = 255 / (high - low) if high > low else 0
        offset = -low * scale if scale else 255
        image = image.convert("F").point(lambda value: value * scale + offset).convert("L")
    elif image.has_transparency_data:
        image = image.convert("RGBA")
        opaque = ImageStat.Stat(image.convert("L"), mask=image.getchannel("A"))
        light = opaque.count[0] > 0 and opaque.mean[0] >= _HALF_LIGHT
        # light letters would vanish on a white ground, dark ones on a black one
        image = Image.alpha_composite(Image.new("RGBA", image.size, "black" if light else "white"), image)
    return image.convert("RGB")


# --- what the engine gets and gives ----------------------------------------------------------------------------------


def work_size(size: tuple[int, int]) -> tuple[tuple[int, int], float]:
    """Return how large the picture of a page of *size* is for the engine, padding included, and the factor it grows by.

    It is no longer a strip than `WORK_ASPECT` and no larger than `WORK_PIXELS`: so a run's memory has a bound.
    """
    width, height = size
    wide, high = max(width, math.ceil(height / WORK_ASPECT)), max(height, math.ceil(width / WORK_ASPECT))
    factor = min(1.0, math.sqrt(WORK_PIXELS / (wide * high)))
    return (int(wide * factor), int(high * factor)), factor


def fitted(picture: Image.Image) -> tuple[Image.Image, float]:
    """Return *picture* as large as `work_size` says, and by which factor it grew; padding is on the right or below."""
    size, factor = work_size(picture.size)
    if factor < 1:
        width, height = (max(1, int(side * factor)) for side in picture.size)
        picture = picture.resize((width, height), reducing_gap=2.0)
    if size == picture.size:
        return picture, factor
    work = Image.new("RGB", size, picture.getpixel((0, 0)))
    work.paste(picture)
    return work, factor


def text_corners(box: Sequence[Sequence[float]]) -> Sequence[Sequence[float]]:
    """Return the corners of a box of the engine, the first one being the top left one of its *text*.

    An upright strip is laid down to the left before it is read (rapidocr, `get_rotate_crop_image`), so its text runs
    from above to below and begins at the right.
    """
    if math.dist(box[0], box[3]) >= _UPRIGHT * max(math.dist(box[0], box[1]), 1):
        return [*box[1:], box[0]]
    return box


def sureness(found: Sequence[Found]) -> float:
    """Return how sure the engine is of a character on average, 0..1; 0 if it found none.

    By characters, because a short number says little of the page: 06 upside down is 90, and as sure.
    """
    characters = sum(len(text) for _, text, _ in found)
    return sum(score * len(text) for _, text, score in found) / characters if characters else 0.0


def other_turns(found: Sequence[Found]) -> tuple[Turn, ...]:
    """Return the turns in which a page is to be read again, because of what was *found* as it stands.

    A page on its side must be turned even where its lines were read: its numbers were not. One on its head is only
    noticed by how little sense it makes.
    """
    sideways = sum(len(text) for box, text, _ in found if abs(box[1][1] - box[0][1]) > abs(box[1][0] - box[0][0]))
    if 2 * sideways > sum(len(text) for _, text, _ in found):
        return Turn.ROTATE_90, Turn.ROTATE_270
    if found and sureness(found) < SURE:
        return (Turn.ROTATE_180,)
    return ()


def turned_back(found: Sequence[Found], turn: Turn, size: tuple[int, int]) -> list[Found]:
    """Return what was *found* on a picture after that *turn*, as it stands on the picture itself, *size* pixels."""
    width, height = size
    back: dict[Turn, Callable[[float, float], tuple[float, float]]] = {
        Turn.ROTATE_90: lambda x, y: (width - y, x),  # Pillow turns to the left
        Turn.ROTATE_180: lambda x, y: (width - x, height - y),
        Turn.ROTATE_270: lambda x, y: (y, height - x),
    }
    return [([back[turn](x, y) for x, y in box], text, score) for box, text, score in found]


def lines_on_page(found: Sequence[Found], *, factor: float, size: tuple[int, int]) -> list[Line]:
    """Return what was *found* on a picture *factor* times as large as its page, whose *size* is in pixels."""
    width, height = size
    lines = []
    for box, text, score in found:
        first, second, third, fourth = (
            (min(max(round(x / factor), 0), width), min(max(round(y / factor), 0), height)) for x, y in box
        )
        lines.append(Line(text, (first, second, third, fourth), round(float(score), 4)))
    return lines


def mock_lines(size: tuple[int, int], sha256: str, number: int) -> list[Line]:
    """Return what mock finds on page *number* of the file with that hash: the same for the same page, always."""
    width, height = size
    texts = (f"Mock text of page {number}", f"{width} x {height} pixels", f"sha256 {sha256[:16]}")
    lines = []
    for row, text in enumerate(texts):
        left, right = width // 10, width // 10 + width * len(text) // 40
        top, bottom = height * (2 * row + 1) // 20, height * (2 * row + 2) // 20
        confidence = 0.9 + int(sha256[2 * row : 2 * row + 2], 16) / 2560  # below 1, and as the file has it
        box = ((left, top), (right, top), (right, bottom), (left, bottom))
        lines.append(Line(text, box, round(confidence, 4)))
    return lines


def trial_card() -> Image.Image:
    """Return a small picture that surely holds text: what the engine is tried on."""
    card = Image.new("RGB", (736, 736), "white")
    ImageDraw.Draw(card).text((100, 300), "ready to read", font=ImageFont.load_default(size=72), fill="black")
    return card


# --- reading order ---------------------------------------------------------------------------------------------------
#
# A heuristic on boxes alone; the picture's ruled lines are not looked at. The page is cut into bands from top to bottom
# and a band into columns from left to right, and so on inside a column. What stands in one row and is no column of
# prose (a table) is read row by row. Known limits: text along curves, columns that are read from right to left, and a
# table cell of several lines (its lines are rows of their own).

_GAP: Final = 1.5  # line heights of empty page that end a band
_GUTTER: Final = 0.5  # line heights between columns; words of a line stand closer or not one below the other
_PROSE: Final = 8.0  # a line this many times as wide as high is running text; cells are shorter
_LONG: Final = 3.0  # a box this many times as wide as high has an angle worth knowing
_QUARTER: Final = math.pi / 2  # radians
_CELLS: Final = 3  # in a row; two may as well be the ends of two columns
_WORDY: Final = 0.25  # the part of a column of cells that may be running text
_ALIGNED: Final = 0.7  # the part of a table's narrow cells that must have company in their row


@dataclass(frozen=True, slots=True)
class _Item:
    """One box, upright: which it is, and its extent."""

    index: int
    left: float
    top: float
    right: float
    bottom: float

    @property
    def height(self) -> float:
        return max(self.bottom - self.top, 1.0)

    @property
    def width(self) -> float:
        return self.right - self.left

    @property
    def middle(self) -> float:
        return (self.top + self.bottom) / 2

    @property
    def prose(self) -> bool:
        return self.width >= _PROSE * self.height


_Row = list[_Item]
_Gap = tuple[float, float]


def reading_order(boxes: Sequence[Box]) -> list[list[list[int]]]:
    """Return the indices of *boxes* as a person reads them: blocks, each of rows, each from left to right.

    A block is a column of text, a table, or a part of either between wide gaps; every index appears once.
    """
    items = _upright(boxes)
    return [[[item.index for item in row] for row in block] for block in _blocks(items)] if items else []


def _upright(boxes: Sequence[Box]) -> list[_Item]:
    """Return the extents of *boxes* on the page turned so that its text runs level from left to right."""
    angle = _direction(boxes)
    cos, sin = math.cos(angle), math.sin(angle)
    items = []
    for index, box in enumerate(boxes):
        xs = [x * cos + y * sin for x, y in box]
        ys = [y * cos - x * sin for x, y in box]
        items.append(_Item(index, min(xs), min(ys), max(xs), max(ys)))
    return items


def _direction(boxes: Sequence[Box]) -> float:
    """Return the angle at which the text runs, in radians: no photograph is quite straight.

    The quarter turn that most of the text agrees on, and the median of what long boxes differ from it by.
    """
    lengths: Counter[int] = Counter()
    angles = []
    for box in boxes:
        angle = math.atan2(box[1][1] - box[0][1], box[1][0] - box[0][0])
        length = math.dist(box[0], box[1])
        lengths[round(angle / _QUARTER) % 4] += round(length)
        if length > _LONG * math.dist(box[1], box[2]):
            angles.append(angle)
    base = max(range(4), key=lambda quarter: lengths[quarter]) * _QUARTER
    differences = [math.remainder(angle - base, 4 * _QUARTER) for angle in angles]
    return base + median([difference for difference in differences if abs(difference) <= _QUARTER / 2] or [0.0])


def _blocks(items: list[_Item]) -> list[list[_Row]]:
    unit = median(item.height for item in items)
    blocks: list[list[_Row]] = []
    for band in _bands(_rows(items), unit):
        columns = _columns(band, unit)
        if len(columns) == 1 or _is_table(band, columns):
            blocks.append(band)
        else:
            for column in columns:
                blocks += _blocks(column)  # fewer items each time, so this ends
    return blocks


def _rows(items: list[_Item]) -> list[_Row]:
    """Return *items* in rows: those whose middles are level, within half a height of the topmost one."""
    rows: list[_Row] = []
    for item in sorted(items, key=lambda item: (item.middle, item.left)):
        first = rows[-1][0] if rows else None
        if first and item.middle - first.middle <= min(item.height, first.height) / 2:
            rows[-1].append(item)
        else:
            rows.append([item])
    return [sorted(row, key=lambda item: item.left) for row in rows]


def _bands(rows: list[_Row], unit: float) -> list[list[_Row]]:
    """Return *rows* in bands: neighbours that are cut into columns at the same place, or not at all."""
    bands: list[list[_Row]] = []
    in_table = False
    for row, cells in zip(rows, _table_rows(rows), strict=True):
        if bands and _continues(bands[-1], row, unit, in_table=in_table, cells=cells):
            bands[-1].append(row)
        else:
            bands.append([row])
            in_table = cells
    return bands


def _table_rows(rows: list[_Row]) -> list[bool]:
    """Return for each row whether it surely is one of a table: at least three cells, as in a neighbour of its."""
    cells = [len(row) >= _CELLS and not any(item.prose for item in row) for row in rows]
    around = [False, *cells, False]
    return [here and (before or after) for before, here, after in zip(around, cells, around[2:], strict=False)]


def _continues(band: list[_Row], row: _Row, unit: float, *, in_table: bool, cells: bool) -> bool:
    if min(item.top for item in row) - max(item.bottom for above in band for item in above) > _GAP * unit:
        return False
    if in_table:
        return not any(item.prose for item in row)
    if cells and not _within_a_column(row, _gutters(band, unit)):
        return False  # a table begins, even where one of its columns ends below the gutter of the text
    if _gutters([*band, row], unit):
        return True
    return not _gutters(band, unit) and not _gutters([row], unit)


def _within_a_column(row: _Row, gutters: list[_Gap]) -> bool:
    left, right = row[0].left, max(item.right for item in row)
    return bool(gutters) and not any(left < gutter[1] and right > gutter[0] for gutter in gutters)


def _gutters(rows: list[_Row], unit: float) -> list[_Gap]:
    """Return the upright strips, at least `_GUTTER` wide, that no item of *rows* touches and that part some."""
    gutters = []
    items = sorted((item for row in rows for item in row), key=lambda item: item.left)
    right = items[0].right
    for item in items[1:]:
        if item.left - right >= _GUTTER * unit:
            gutters.append((right, item.left))
        right = max(right, item.right)
    return gutters


def _columns(band: list[_Row], unit: float) -> list[list[_Item]]:
    """Return the items of *band* by column; a single row is one column, however far its items stand apart."""
    items = [item for row in band for item in row]
    edges = [left for _, left in _gutters(band, unit)] if len(band) > 1 else []
    columns: list[list[_Item]] = [[] for _ in range(len(edges) + 1)]
    for item in items:
        columns[sum(item.left >= edge for edge in edges)].append(item)
    return columns


def _is_table(band: list[_Row], columns: list[list[_Item]]) -> bool:
    """Return whether *band* is read row by row: half its columns hold cells, and these have company in their rows."""
    narrow = [column for column in columns if sum(item.prose for item in column) <= _WORDY * len(column)]
    if 2 * len(narrow) < len(columns):
        return False
    company = {item.index for row in band if len(row) > 1 for item in row}
    cells = [item.index in company for column in narrow for item in column]
    return sum(cells) >= _ALIGNED * len(cells)


# --- what is written -------------------------------------------------------------------------------------------------

_RED: Final = (200, 30, 30)


def _row_text(row: Sequence[Line]) -> str:
    """Return the lines of one row as text: a tab where a cell ends, a space where only a wide word space is."""
    text = row[0].text
    for before, line in pairwise(row):
        gap, height = math.dist(before.box[1], line.box[0]), math.dist(line.box[0], line.box[3])
        text += ("\t" if gap > height else " ") + line.text
    return text


def annotated(picture: Image.Image, lines: Sequence[Line]) -> Image.Image:
    """Return a copy of *picture* with the box of each line drawn, and its number in the given order, from 1."""
    drawn = picture.copy()
    draw = ImageDraw.Draw(drawn)
    width = max(1, min(picture.size) // 600)
    font = ImageFont.load_default(size=max(10, min(picture.size) // 90))
    for number, line in enumerate(lines, start=1):
        draw.polygon(line.box, outline=_RED, width=width)
        draw.text(line.box[0], str(number), font=font, fill=_RED, anchor="rt")
    return drawn


def png(picture: Image.Image) -> bytes:
    """Return *picture* as a PNG, packed quickly rather than tightly."""
    buffer = BytesIO()
    picture.save(buffer, format="PNG", compress_level=2)
    return buffer.getvalue()

"""Files of many kinds become upright RGB pages; what cannot is refused with a rule, before it costs anything."""

from __future__ import annotations

import hashlib
import os
import struct
import zlib
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw

from apps.core.processors.doc_ocr.app import utils
from apps.core.processors.doc_ocr.app.utils import DOCUMENT, MAX_BYTES, MAX_PAGES, PAGES, chosen_pages, opened
from processor_runtime import Artifact, InputsError

Attach = Callable[[bytes], Artifact]

INK, PAPER = (0, 0, 0), (255, 255, 255)


@pytest.fixture
def attach(tmp_path: Path) -> Iterator[Attach]:
    """A function that makes an artifact of some bytes, as the runtime hands it to a handler."""
    artifacts: list[Artifact] = []

    def attached(data: bytes) -> Artifact:
        path = tmp_path / f"{len(artifacts)}"
        path.write_bytes(data)
        artifact = Artifact(os.open(path, os.O_RDONLY), str(path), hashlib.sha256(data).hexdigest(), len(data))
        artifacts.append(artifact)
        return artifact

    yield attached
    for artifact in artifacts:
        artifact.close()


def drawn(mode: str = "RGB", size: tuple[int, int] = (60, 40)) -> Image.Image:
    """Return a picture of paper with a bar of ink along its top."""
    picture = Image.new("RGB", size, PAPER)
    ImageDraw.Draw(picture).rectangle((0, 0, size[0], size[1] // 4), fill=INK)
    return picture.convert(mode)


def saved(picture: Image.Image, kind: str, **options: Any) -> bytes:
    """Return the file that Pillow makes of *picture*."""
    buffer = BytesIO()
    picture.save(buffer, format=kind, **options)
    return buffer.getvalue()


def page(attach: Attach, data: bytes, number: int = 1, *, dpi: int = 72) -> Image.Image:
    """Return one page of the document that *data* is."""
    with opened(attach(data), dpi=dpi) as document:
        return document.picture(number)


def dark(picture: Image.Image, at: tuple[int, int]) -> bool:
    """Return whether there is ink at a place of an RGB picture."""
    pixel = picture.getpixel(at)
    assert isinstance(pixel, tuple)
    return sum(pixel) < 3 * 128


def pdf(*objects: str, trailer: str = "") -> bytes:
    """Return a PDF of *objects*, numbered from 1, the first one being its catalogue."""
    data, offsets = b"%PDF-1.7\n", []
    for number, text in enumerate(objects, start=1):
        offsets.append(len(data))
        data += f"{number} 0 obj\n{text}\nendobj\n".encode()
    table = "".join(f"{offset:010d} 00000 n \n" for offset in offsets)
    size = len(objects) + 1
    end = f"xref\n0 {size}\n0000000000 65535 f \n{table}trailer\n<< /Size {size} /Root 1 0 R {trailer} >>\n"
    return data + f"{end}startxref\n{len(data)}\n%%EOF\n".encode()


def empty_pdf(*, pages: int = 1, media: str = "0 0 200 100") -> bytes:
    """Return a PDF of empty pages with that media box, in points."""
    kids = " ".join(f"{number + 3} 0 R" for number in range(pages))
    page = f"<< /Type /Page /Parent 2 0 R /MediaBox [{media}] >>"
    return pdf(
        "<< /Type /Catalog /Pages 2 0 R >>", f"<< /Type /Pages /Kids [{kids}] /Count {pages} >>", *[page] * pages
    )


def locked_pdf() -> bytes:
    """Return a PDF whose password nobody knows: the hashes in it are of none."""
    return pdf(
        "<< /Type /Catalog /Pages 2 0 R >>",
        "<< /Type /Pages /Kids [] /Count 0 >>",
        f"<< /Filter /Standard /V 1 /R 2 /P -4 /O <{'41' * 32}> /U <{'42' * 32}> >>",
        trailer="/Encrypt 3 0 R /ID [<00><00>]",
    )


def form_pdf() -> bytes:
    """Return a PDF of one page without content, and a text field on it that somebody filled in."""
    look = "/DA (/Helv 30 Tf 0 g)"
    font = "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"
    return pdf(
        "<< /Type /Catalog /Pages 2 0 R /AcroForm 4 0 R >>",
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 200 100] /Annots [5 0 R] >>",
        f"<< /Fields [5 0 R] /NeedAppearances true {look} /DR << /Font << /Helv {font} >> >> >>",
        f"<< /Type /Annot /Subtype /Widget /FT /Tx /T (n) /V (HARBOUR) /Rect [20 20 180 80] /F 4 {look} /P 3 0 R >>",
    )


def png_header(width: int, height: int) -> bytes:
    """Return a PNG that claims a size and holds next to nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 64)) + chunk(b"IEND", b"")
    )


# --- what is read


@pytest.mark.parametrize("kind", utils.FORMATS)
def test_a_picture_is_one_page_with_its_own_pixels(attach: Attach, kind: str) -> None:
    """The resolution that a PDF would be drawn at does not touch it."""
    with opened(attach(saved(drawn(), kind)), dpi=300) as document:
        picture = document.picture(1)

        assert len(document) == 1
    assert (picture.mode, picture.size) == ("RGB", (60, 40))
    assert dark(picture, (30, 3))
    assert not dark(picture, (30, 30))


@pytest.mark.parametrize(
    ("mode", "kind"),
    [
        pytest.param("1", "PNG", id="black and white"),
        pytest.param("L", "JPEG", id="grey"),
        pytest.param("P", "PNG", id="a palette"),
        pytest.param("CMYK", "JPEG", id="CMYK"),
        pytest.param("CMYK", "TIFF", id="CMYK, uncompressed"),
        pytest.param("YCbCr", "TIFF", id="YCbCr"),
        pytest.param("F", "TIFF", id="floating point"),
        pytest.param("I", "TIFF", id="32 bits"),
    ],
)
def test_every_kind_of_pixel_becomes_rgb(attach: Attach, mode: str, kind: str) -> None:
    """Ink stays dark and paper stays light."""
    source = drawn("L").convert(mode) if mode in {"F", "I"} else drawn(mode)
    picture = page(attach, saved(source, kind))

    assert picture.mode == "RGB"
    assert dark(picture, (30, 3))
    assert not dark(picture, (30, 30))


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_are_stretched_to_eight(attach: Attach, kind: str) -> None:
    """A scanner of 12 bits fills a sixteenth of the range: cut off at 255, its page would be white."""
    scan = Image.frombytes("I;16", (60, 40), struct.pack("<2400H", *[900] * 600, *[4000] * 1800))
    picture = page(attach, saved(scan, kind))

    assert picture.getpixel((30, 3)) == (0, 0, 0)
    assert picture.getpixel((30, 30)) == (255, 255, 255)


def test_an_empty_scan_of_sixteen_bits_is_paper(attach: Attach) -> None:
    """One value everywhere has no range to stretch."""
    assert page(attach, saved(Image.new("I;16", (9, 9), 500), "PNG")).getpixel((4, 4)) == (255, 255, 255)


@pytest.mark.parametrize(
    ("ink", "ground"),
    [pytest.param((0, 0, 0), (255, 255, 255), id="dark"), pytest.param((255, 255, 255), (0, 0, 0), id="light")],
)
def test_what_is_transparent_becomes_the_ground_that_ink_shows_on(
    attach: Attach, ink: tuple[int, int, int], ground: tuple[int, int, int]
) -> None:
    """White letters on nothing would be lost on white."""
    letters = Image.new("RGBA", (60, 40), (*ground, 0))
    letters.paste((*ink, 255), (10, 10, 50, 20))
    picture = page(attach, saved(letters, "PNG"))

    assert picture.getpixel((30, 15)) == ink
    assert picture.getpixel((30, 30)) == ground


def test_a_picture_of_nothing_is_paper(attach: Attach) -> None:
    """All of it is transparent."""
    nothing = Image.new("RGBA", (9, 9), (0, 0, 0, 0))

    assert page(attach, saved(nothing, "WEBP", lossless=True)).getpixel((4, 4)) == (255, 255, 255)


def test_a_transparent_palette_is_no_warning(attach: Attach) -> None:
    """Pillow would rather be asked for RGBA, and says so; tests turn a warning into an error."""
    palette = drawn("P")
    picture = page(attach, saved(palette, "PNG", transparency=bytes([255] * 200 + [0] * 56)))

    assert (picture.mode, picture.size) == ("RGB", (60, 40))


def test_a_photograph_is_turned_as_its_exif_says(attach: Attach) -> None:
    """Orientation 6: the camera was held upright, the bar on top of the sensor stands on the right."""
    exif = Image.Exif()
    exif[0x0112] = 6
    picture = page(attach, saved(drawn(), "JPEG", exif=exif))

    assert picture.size == (40, 60)
    assert dark(picture, (37, 30))
    assert not dark(picture, (3, 30))


def test_exif_that_is_broken_turns_nothing(attach: Attach) -> None:
    """The warning that Pillow gives is for whoever wrote the file; the page is fine."""
    data = saved(drawn(), "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\x00\x12\x01\x03\0")
    with pytest.warns(UserWarning, match="EXIF"), Image.open(BytesIO(data)) as image:
        image.getexif()

    assert page(attach, data).size == (60, 40)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_of_an_animation_the_first_frame_is_the_page(attach: Attach, kind: str) -> None:
    """Frames are moments, not pages."""
    later = Image.new("RGB", (60, 40), INK)
    data = saved(drawn(), kind, save_all=True, append_images=[later, later])

    with opened(attach(data), dpi=72) as document:
        assert len(document) == 1
        assert not dark(document.picture(1), (30, 30))


def test_the_frames_of_a_tiff_are_pages_in_any_order(attach: Attach) -> None:
    """A fax is one file with a frame for each sheet."""
    frames = [Image.new("1", (10 * number, 20), 1) for number in (1, 2, 3)]
    data = saved(frames[0], "TIFF", save_all=True, append_images=frames[1:], compression="group4")

    with opened(attach(data), dpi=72) as document:
        assert len(document) == 3
        assert [document.picture(number).width for number in (3, 1, 2)] == [30, 10, 20]


@pytest.mark.parametrize(("dpi", "size"), [(72, (200, 100)), (144, (400, 200)), (150, (417, 209))])
def test_a_pdf_is_drawn_at_the_wanted_resolution(attach: Attach, dpi: int, size: tuple[int, int]) -> None:
    """72 points are an inch; what is not a whole number of pixels is rounded up."""
    picture = page(attach, empty_pdf(), dpi=dpi)

    assert (picture.mode, picture.size) == ("RGB", size)
    assert picture.getpixel((5, 5)) == (255, 255, 255)


def test_a_pdf_may_begin_late(attach: Attach) -> None:
    """Readers accept a header within the first 1024 bytes."""
    with opened(attach(b"From: a mail\n\n" * 20 + empty_pdf(pages=3)), dpi=72) as document:
        assert len(document) == 3


def test_a_filled_form_shows_what_was_filled_in(attach: Attach) -> None:
    """The value of a field is drawn by the form, not by the page."""
    picture = page(attach, form_pdf())

    assert picture.size == (200, 100)
    assert picture.convert("L").getextrema() == (0, 255)


# --- what is refused


def cut(data: bytes) -> bytes:
    """Return what a broken connection leaves of a file."""
    return data[: len(data) * 2 // 3]


NOISE = Image.effect_noise((120, 80), 90)

REFUSED = [
    pytest.param(b"", "is neither a PDF nor a picture of a known type", id="an empty file"),
    pytest.param(b"plain text\n" * 99, "is neither a PDF nor a picture of a known type", id="text"),
    pytest.param(b"PK\x03\x04" + b"\0" * 99, "is neither a PDF nor a picture of a known type", id="an archive"),
    pytest.param(
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        "is neither a PDF nor a picture of a known type",
        id="PostScript, which is a program",
    ),
    pytest.param(saved(drawn(), "ICO"), "is neither a PDF nor a picture of a known type", id="a type not named"),
    *(
        pytest.param(cut(saved(NOISE, kind)), "is a broken or cut short picture", id=f"half a {kind}")
        for kind in ("PNG", "JPEG", "TIFF", "BMP", "GIF")
    ),
    pytest.param(png_header(200, 200), "is a broken or cut short picture", id="a PNG without its pixels"),
    pytest.param(empty_pdf()[:60], "is a broken PDF", id="half a PDF"),
    pytest.param(b"%PDF-1.7\n", "is a broken PDF", id="the header of a PDF"),
    pytest.param(locked_pdf(), "is an encrypted PDF", id="an encrypted PDF"),
    # after the encrypted one: PDFium keeps the last error until the next
    pytest.param(empty_pdf(pages=0), "is a PDF without pages", id="a PDF without pages"),
    pytest.param(
        png_header(60_000, 60_000), "has a page of more than 50 million pixels", id="a picture that unpacks to 10 GB"
    ),
    pytest.param(
        empty_pdf(media="0 0 14400 14400"),
        "has a page of more than 50 million pixels at this dpi",
        id="a PDF of five metres by five",
    ),
]


@pytest.mark.parametrize(("data", "message"), REFUSED)
def test_what_cannot_be_read_is_refused_with_a_rule(attach: Attach, data: bytes, message: str) -> None:
    """The detail names the place in the request and the rule; nothing of the file is in it."""
    with pytest.raises(InputsError) as caught:
        page(attach, data, dpi=150)

    assert caught.value.details == ({"path": DOCUMENT, "message": message},)


def test_a_picture_over_the_limit_is_not_decoded(attach: Attach, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its header alone says that it is too large."""
    decoded: list[str] = []
    monkeypatch.setattr(Image.Image, "load", lambda image: decoded.append(image.format))

    with pytest.raises(InputsError):
        page(attach, png_header(60_000, 60_000))

    assert decoded == []


def test_each_frame_is_measured_before_it_is_decoded(attach: Attach, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first page of a TIFF says nothing of the second."""
    monkeypatch.setattr(utils, "MAX_PIXELS", 1_000_000)
    frames = [Image.new("1", (10, 10)), Image.new("1", (2000, 2000))]
    data = saved(frames[0], "TIFF", save_all=True, append_images=frames[1:], compression="group4")

    assert page(attach, data, 1).size == (10, 10)
    with pytest.raises(InputsError) as caught:
        page(attach, data, 2)
    assert caught.value.details[0]["message"] == "has a page of more than 1 million pixels"


def test_a_file_over_the_limit_is_not_even_read(attach: Attach, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its size is known from its artifact."""
    artifact = attach(b"")
    artifact.size_bytes = MAX_BYTES + 1
    read: list[Artifact] = []
    monkeypatch.setattr(Artifact, "read_bytes", read.append)

    with pytest.raises(InputsError) as caught, opened(artifact, dpi=72):
        pass

    assert caught.value.details == ({"path": DOCUMENT, "message": "has more than 100 MiB"},)
    assert read == []


def test_no_memory_is_not_the_callers_fault(attach: Attach, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file within the limits that cannot be decoded here must not be called broken."""

    def fail(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(utils, "_rgb", fail)

    with pytest.raises(MemoryError):
        page(attach, saved(drawn(), "PNG"))


# --- which pages


@pytest.mark.parametrize(
    ("wanted", "numbers"),
    [
        pytest.param(None, [1, 2, 3, 4, 5], id="all"),
        pytest.param([3], [3], id="one"),
        pytest.param([5, 1], [1, 5], id="in the order of the document"),
        pytest.param([2.0, 2], [2], id="JSON has one kind of number"),
    ],
)
def test_pages_are_chosen_by_number(wanted: list[float] | None, numbers: list[int]) -> None:
    """They count from 1, as people do."""
    assert chosen_pages(5, wanted) == numbers


def test_a_page_that_does_not_exist_is_refused() -> None:
    """The detail names the parameter, not the document."""
    with pytest.raises(InputsError) as caught:
        chosen_pages(5, [1, 6])

    assert caught.value.details[0]["path"] == PAGES


def test_a_long_document_needs_a_choice() -> None:
    """All of it would not be read before the deadline; some of it may be."""
    assert chosen_pages(MAX_PAGES, None)[-1] == MAX_PAGES
    assert chosen_pages(MAX_PAGES + 1, [MAX_PAGES + 1]) == [MAX_PAGES + 1]
    with pytest.raises(InputsError) as caught:
        chosen_pages(MAX_PAGES + 1, None)
    assert caught.value.details == (
        {"path": DOCUMENT, "message": "has more than 100 pages: name those to read in params.pages"},
    )

"""The handler, called as a function: mock without an engine, and real with one that is played."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from functools import partial
from io import BytesIO
from itertools import count
from pathlib import Path
from threading import Event
from types import MappingProxyType, ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from apps.core.processors.doc_ocr.app import handler
from processor_runtime.declaration import Declaration
from processor_runtime.handler import Processor

SAMPLES = handler.REGISTRY.parent / "samples"
PAGE = (SAMPLES / "page.png").read_bytes()
PAGES = (SAMPLES / "pages.pdf").read_bytes()
NOTHING: Mapping[str, object] = MappingProxyType({})
ids = count(1)


class Ocr:
    """The handler with settings of this test's own; `entry` itself reads the environment once a process."""

    def __init__(self, artifacts: Path) -> None:
        self.artifacts = artifacts
        self._entry = Processor(handler.entry.work, handler.entry.setup)

    def run(
        self, document: bytes, params: Mapping[str, object] = NOTHING, *, mode: str = "mock", timeout_s: float = 60
    ) -> dict[str, Any]:
        """Return the envelope of a run with an id of its own."""
        sha256 = hashlib.sha256(document).hexdigest()
        folder = self.artifacts / "inputs" / sha256
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "document").write_bytes(document)
        reference = {"$artifact": f"/artifacts/inputs/{sha256}/document", "sha256": sha256}
        return self._entry(
            {
                "schema": "v1",
                "execution_id": f"ocr-{next(ids)}",
                "write_prefix": "/artifacts/outputs/{execution_id}/",
                "mode": mode,
                "timeout_s": timeout_s,
                "inputs": {"schema": "v1", "params": {"document": reference, **params}},
            }
        )

    def read(self, envelope: dict[str, Any], name: str) -> bytes:
        """Return the content of the output *name*."""
        return (self.artifacts / "outputs" / str(envelope["execution_id"]) / "outputs" / name).read_bytes()

    def layout(self, envelope: dict[str, Any]) -> list[dict[str, Any]]:
        """Return the pages of `layout.json`."""
        pages: list[dict[str, Any]] = json.loads(self.read(envelope, "layout.json"))["pages"]
        return pages


def names(envelope: dict[str, Any]) -> list[str]:
    """Return the names of the outputs in an envelope."""
    return [row["path"].rpartition("/")[2] for row in envelope["outputs"]]


def hashes(envelope: dict[str, Any]) -> list[str]:
    """Return the hashes of the outputs in an envelope."""
    return [row["sha256"] for row in envelope["outputs"]]


def tiff(*sizes: tuple[int, int]) -> bytes:
    """Return a TIFF of white pages."""
    frames = [Image.new("L", size, 255) for size in sizes]
    buffer = BytesIO()
    frames[0].save(buffer, format="TIFF", save_all=True, append_images=frames[1:])
    return buffer.getvalue()


@pytest.fixture
def ocr(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ocr:
    """The handler, with an artifacts folder of this test's own."""
    monkeypatch.setenv("IMAGE_DIGEST", f"sha256:{'0' * 64}")
    monkeypatch.setenv("PROCESSOR_ARTIFACTS_DIR", str(tmp_path))
    monkeypatch.setenv("PROCESSOR_MODE", "mock")
    return Ocr(tmp_path)


# --- mock


def test_mock_gives_the_outputs_of_a_real_run(ocr: Ocr) -> None:
    """Text, layout, and a picture as large as the page."""
    envelope = ocr.run(PAGE)

    assert [(row["path"].rpartition("/")[2], row["mime"]) for row in envelope["outputs"]] == [
        ("layout.json", "application/json"),
        ("page-0001.png", "image/png"),
        ("text.txt", "text/plain"),
    ]
    [page] = ocr.layout(envelope)
    assert {name: page[name] for name in ("number", "width", "height")} == {"number": 1, "width": 1240, "height": 1260}
    assert [sorted(line) for line in page["lines"]] == [["box", "confidence", "text"]] * 3
    assert ocr.read(envelope, "text.txt").decode().splitlines() == [line["text"] for line in page["lines"]]
    with Image.open(BytesIO(ocr.read(envelope, "page-0001.png"))) as picture:
        assert (picture.format, picture.size) == ("PNG", (1240, 1260))
    assert envelope["meta"]["extra"] == {"pages": 1, "lines": 3}


def test_mock_depends_on_the_file_alone(ocr: Ocr) -> None:
    """The same file gives the same bytes, another one gives others."""
    first, second, other = ocr.run(PAGE), ocr.run(PAGE), ocr.run(PAGES, {"pages": [1]})

    assert first["execution_id"] != second["execution_id"]
    assert hashes(first) == hashes(second)
    assert not set(hashes(first)) & set(hashes(other))


def test_pages_are_kept_apart(ocr: Ocr) -> None:
    """One picture each, a form feed in the text."""
    envelope = ocr.run(PAGES)

    assert names(envelope) == ["layout.json", "page-0001.png", "page-0002.png", "text.txt"]
    assert [page["number"] for page in ocr.layout(envelope)] == [1, 2]
    assert [text.splitlines()[0] for text in ocr.read(envelope, "text.txt").decode().split("\f")] == [
        "Mock text of page 1",
        "Mock text of page 2",
    ]


def test_only_the_wanted_pages_are_read(ocr: Ocr) -> None:
    """They keep the numbers that they have in the document."""
    envelope = ocr.run(PAGES, {"pages": [2], "dpi": 72})

    assert names(envelope) == ["layout.json", "page-0002.png", "text.txt"]
    assert [(page["number"], page["width"]) for page in ocr.layout(envelope)] == [(2, 596)]


def test_lines_below_the_wanted_confidence_are_left_out(ocr: Ocr) -> None:
    """A page without lines is still a page."""
    envelope = ocr.run(PAGE, {"min_confidence": 1})

    assert ocr.read(envelope, "text.txt") == b""
    assert ocr.layout(envelope) == [{"number": 1, "width": 1240, "height": 1260, "lines": []}]
    assert envelope["meta"]["extra"] == {"pages": 1, "lines": 0}


def test_each_page_is_a_line_of_the_log(ocr: Ocr, capfd: pytest.CaptureFixture[str]) -> None:
    """Who watches the log sees the run go on."""
    envelope = ocr.run(PAGES)
    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    pages = [line for line in lines if line["event"] == "handler.page.ok"]

    assert [(line["page"], line["lines"]) for line in pages] == [(1, 3), (2, 3)]
    assert {line["execution_id"] for line in pages} == {envelope["execution_id"]}
    assert all(line["duration_ms"] >= 0 for line in pages)


REFUSED = [
    pytest.param(b"no picture", {}, "/inputs/params/document", id="a file of an unknown kind"),
    pytest.param(PAGE[:5000], {}, "/inputs/params/document", id="a picture that was cut short"),
    pytest.param(PAGES, {"pages": [3]}, "/inputs/params/pages", id="a page that is not there"),
    pytest.param(tiff(*[(9, 9)] * 101), {}, "/inputs/params/document", id="more pages than one run reads"),
]


@pytest.mark.parametrize(("document", "params", "path"), REFUSED)
def test_an_unusable_document_is_a_refusal_that_says_why(
    ocr: Ocr, document: bytes, params: dict[str, object], path: str
) -> None:
    """Mock opens the document too, so that a caller's mistake shows in CI."""
    envelope = ocr.run(document, params)

    assert (envelope["status"], envelope["error"]["code"]) == ("error", "ERR_INPUTS")
    assert envelope["error"]["message"] == "inputs not usable"
    assert [detail["path"] for detail in envelope["error"]["details"]] == [path]


OUTSIDE = [
    pytest.param({"dpi": 71}, id="too coarse"),
    pytest.param({"dpi": 401}, id="too fine"),
    pytest.param({"dpi": 150.5}, id="half a dot"),
    pytest.param({"pages": []}, id="no page"),
    pytest.param({"pages": [0]}, id="pages count from 1"),
    pytest.param({"pages": [1, 1]}, id="a page twice"),
    pytest.param({"pages": "1-3"}, id="a range as text"),
    pytest.param({"pages": list(range(1, 102))}, id="too many pages"),
    pytest.param({"min_confidence": 1.1}, id="surer than sure"),
    pytest.param({"language": "en"}, id="an unknown parameter"),
    pytest.param({"document": "page.png"}, id="a name in place of a file"),
]


@pytest.mark.parametrize("params", OUTSIDE)
def test_parameters_are_checked_before_the_document_is_touched(ocr: Ocr, params: dict[str, object]) -> None:
    """By the schema in the registry."""
    error = ocr.run(b"no picture", params)["error"]

    assert (error["code"], error["message"]) == ("ERR_INPUTS", "inputs do not match the schema")


def test_the_registry_says_what_absent_parameters_mean() -> None:
    """`default` is an annotation there; the handler applies it."""
    params = Declaration.load(handler.REGISTRY).inputs["properties"]["params"]["properties"]

    assert params["dpi"]["default"] == handler.DEFAULT_DPI
    assert params["min_confidence"]["default"] == handler.DEFAULT_MIN_CONFIDENCE


# --- real, with an engine that is played

Finding = tuple[tuple[int, int, int, int], str, float]  # left, top, right, bottom; text; confidence


class PlayedEngine:
    """What `rapidocr.RapidOCR` is to the handler; *see* says what is found on a picture."""

    def __init__(self, see: Callable[[Image.Image], list[Finding]]) -> None:
        self.see = see
        self.params: dict[str, object] = {}
        self.cfg = {"Det": SimpleNamespace(), "Rec": SimpleNamespace()}
        self.cv2_threads = 0
        self.seen: list[tuple[int, int]] = []

    def __call__(self, picture: Image.Image) -> SimpleNamespace:
        """Return what is found on *picture*, in the shape that the handler reads."""
        self.seen.append(picture.size)
        found = self.see(picture)
        if not found:
            return SimpleNamespace(boxes=None, txts=None, scores=None)
        boxes = np.array([[(a, b), (c, b), (c, d), (a, d)] for (a, b, c, d), _, _ in found], dtype=np.float32)
        return SimpleNamespace(
            boxes=boxes, txts=tuple(text for _, text, _ in found), scores=tuple(score for _, _, score in found)
        )


Play = Callable[[Callable[[Image.Image], list[Finding]]], PlayedEngine]


@pytest.fixture
def play(ocr: Ocr, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Play:
    """A function that puts an engine in the place of rapidocr and lets real runs in."""
    assert ocr.artifacts == tmp_path
    monkeypatch.setenv("PROCESSOR_MODE", "real")

    def played(see: Callable[[Image.Image], list[Finding]]) -> PlayedEngine:
        engine = PlayedEngine(see)

        def made(params: dict[str, object]) -> PlayedEngine:
            engine.params = params
            return engine

        def options() -> SimpleNamespace:
            entries: dict[str, str] = {}
            return SimpleNamespace(entries=entries, add_session_config_entry=entries.__setitem__)

        modules: dict[str, dict[str, object]] = {
            "rapidocr": {"RapidOCR": made, "__file__": str(tmp_path / "rapidocr" / "__init__.py")},
            "omegaconf": {"flag_override": lambda *_: nullcontext()},
            "cv2": {"setNumThreads": partial(setattr, engine, "cv2_threads")},
            "onnxruntime": {
                "set_default_logger_severity": lambda _: None,
                "SessionOptions": options,
                "InferenceSession": lambda path, options, **more: SimpleNamespace(path=path, options=options, **more),
            },
        }
        for name, content in modules.items():
            module = ModuleType(name)
            vars(module).update(content)
            monkeypatch.setitem(sys.modules, name, module)
        return engine

    return played


def test_real_writes_what_the_engine_finds_in_reading_order(ocr: Ocr, play: Play) -> None:
    """The doubtful line is left out; the page is as large as it was."""
    play(
        lambda _: [
            ((700, 100, 1150, 130), "right", 0.99),
            ((100, 100, 600, 130), "left", 0.98),
            ((700, 140, 1150, 170), "right again", 0.97),
            ((100, 140, 600, 170), "left again", 0.96),
            ((100, 180, 600, 210), "a stain", 0.3),
        ]
    )
    envelope = ocr.run(PAGE, mode="real")

    assert ocr.read(envelope, "text.txt").decode() == "left\nleft again\n\nright\nright again\n"
    [page] = ocr.layout(envelope)
    assert page["lines"][0] == {
        "text": "left",
        "box": [[100, 100], [600, 100], [600, 130], [100, 130]],
        "confidence": 0.98,
    }
    with Image.open(BytesIO(ocr.read(envelope, "page-0001.png"))) as picture:
        assert picture.getpixel((350, 100)) == (200, 30, 30)


def test_a_page_without_text_is_a_success(ocr: Ocr, play: Play) -> None:
    """Nothing to read is an answer."""
    engine = play(lambda picture: [((9, 9, 99, 29), "card", 1.0)] if picture.size == (736, 736) else [])
    envelope = ocr.run(tiff((1000, 800)), mode="real")

    assert envelope["status"] == "success"
    assert ocr.read(envelope, "text.txt") == b""
    assert engine.seen == [(736, 736), (1000, 800)]


HEAD = Image.new("L", (400, 300), 255)
HEAD.paste(0, (0, 0, 400, 10))  # what is the top of the page is black

WAYS = [
    pytest.param(0, [[40, 50], [240, 50], [240, 80], [40, 80]], id="upright"),
    pytest.param(180, [[360, 250], [160, 250], [160, 220], [360, 220]], id="on its head"),
    pytest.param(90, [[50, 360], [50, 160], [80, 160], [80, 360]], id="on its left side"),
    pytest.param(270, [[250, 40], [250, 240], [220, 240], [220, 40]], id="on its right side"),
]


@pytest.mark.parametrize(("degrees", "box"), WAYS)
def test_a_page_is_read_whichever_way_up_it_is(ocr: Ocr, play: Play, degrees: int, box: list[list[int]]) -> None:
    """Boxes lie on the page as it came, and begin where their text does."""
    buffer = BytesIO()
    HEAD.rotate(degrees, expand=True).save(buffer, format="PNG")

    def see(picture: Image.Image) -> list[Finding]:
        if picture.getpixel((picture.width // 2, 5)) == (0, 0, 0):
            return [((40, 50, 240, 80), "read me", 0.99)]
        upright_strip = picture.height > picture.width
        return [((50, 40, 80, 240) if upright_strip else (40, 50, 240, 80), "o e e oue", 0.6)]

    play(see)
    envelope = ocr.run(buffer.getvalue(), mode="real")

    assert ocr.read(envelope, "text.txt") == b"read me\n"
    assert ocr.layout(envelope)[0]["lines"][0]["box"] == box


def test_a_page_that_makes_no_sense_either_way_is_kept_as_it_came(ocr: Ocr, play: Play) -> None:
    """The surer reading is the better one, however poor."""
    readings = iter([("card", 1.0), ("a stain", 0.7), ("a stone", 0.6)])
    play(lambda _: [((40, 50, 240, 80), *next(readings))])
    envelope = ocr.run(tiff((400, 300)), mode="real")

    assert ocr.read(envelope, "text.txt") == b"a stain\n"


def test_the_engine_computes_with_our_share_of_the_machine(ocr: Ocr, play: Play) -> None:
    """As many threads as the registry asks for cores, if there are as many; none spins while it waits."""
    engine = play(lambda _: [((9, 9, 99, 29), "text", 1.0)])
    ocr.run(PAGE, mode="real")
    expected = min(2, os.cpu_count() or 1)

    assert engine.cv2_threads == expected
    for part in engine.cfg.values():
        assert part.session.options.intra_op_num_threads == expected
        assert part.session.options.entries == {"session.intra_op.allow_spinning": "0"}


def test_the_models_are_those_in_the_wheel(ocr: Ocr, play: Play, tmp_path: Path) -> None:
    """Models that rapidocr looks for itself are fetched from the network when they are not as expected."""
    engine = play(lambda _: [((9, 9, 99, 29), "text", 1.0)])
    ocr.run(PAGE, mode="real")

    assert {name: Path(part.session.path) for name, part in engine.cfg.items()} == {
        "Det": tmp_path / "rapidocr" / "models" / "PP-OCRv6_det_small.onnx",
        "Rec": tmp_path / "rapidocr" / "models" / "PP-OCRv6_rec_small.onnx",
    }
    assert engine.params["Global.use_cls"] is False  # the third model is never asked


def test_an_engine_that_reads_nothing_at_all_fails_its_set_up(ocr: Ocr, play: Play) -> None:
    """Better no service than one that finds every page empty."""
    play(lambda _: [])

    assert ocr.run(PAGE, mode="real")["error"]["code"] == "ERR_SETUP"


def test_a_run_past_its_deadline_stops_between_pages(ocr: Ocr, play: Play) -> None:
    """The answer does not wait for the page at hand, and no further page is begun."""
    answered = Event()
    pages = tiff((500, 500), (600, 500), (700, 500))

    def see(picture: Image.Image) -> list[Finding]:
        if picture.size == (500, 500):
            assert answered.wait(60)
        return [((9, 9, 99, 29), "text", 1.0)]

    engine = play(see)
    late = ocr.run(pages, mode="real", timeout_s=0.5)
    answered.set()
    # one slot: this run begins when the handler of the late one has ended
    after = ocr.run(tiff((800, 500)), mode="real")

    assert late["error"]["code"] == "ERR_TIMEOUT"
    assert after["status"] == "success"
    assert engine.seen[-1] == (800, 500)
    assert not {(600, 500), (700, 500)} & set(engine.seen)

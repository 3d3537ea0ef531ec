"""doc/ocr@1: a picture or a PDF in; its text, its layout and its pages with boxes drawn out."""

import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from time import perf_counter
from typing import Any, Final, cast

from PIL import Image

from processor_runtime import Artifact, Run, processor
from processor_runtime.declaration import Declaration

from .utils import (
    SURE,
    Found,
    Line,
    Page,
    annotated,
    chosen_pages,
    fitted,
    lines_on_page,
    mock_lines,
    opened,
    other_turns,
    png,
    sureness,
    text_corners,
    trial_card,
    turned_back,
)

DEFAULT_DPI: Final = 150
DEFAULT_MIN_CONFIDENCE: Final = 0.5
MODELS: Final = {"Det": "PP-OCRv6_det_small.onnx", "Rec": "PP-OCRv6_rec_small.onnx"}  # in rapidocr's wheel
REGISTRY: Final = Path(__file__).parents[1] / "registry.yaml"


class Engine:
    """Finds the lines of a page.

    Args:
        rapidocr: A `rapidocr.RapidOCR`, or what is called as it is.
    """

    def __init__(self, rapidocr: Callable[[Image.Image], Any]) -> None:
        self._rapidocr = rapidocr

    def lines(self, picture: Image.Image, check: Callable[[], None]) -> list[Line]:
        """Return the lines of an RGB *picture*, read the way up in which they make sense.

        *check* is called before each further pass, so that a run can be stopped there.
        """
        work, factor = fitted(picture)
        tried = [self.read(work)]
        for turn in other_turns(tried[0]):
            check()
            tried.append(turned_back(self.read(work.transpose(turn)), turn, work.size))
            if sureness(tried[-1]) >= SURE:
                return lines_on_page(tried[-1], factor=factor, size=picture.size)
        return lines_on_page(max(tried, key=sureness), factor=factor, size=picture.size)

    def read(self, work: Image.Image) -> list[Found]:
        """Return what one pass finds on a picture of bounded size."""
        found = self._rapidocr(work)
        if found.txts is None:
            return []
        rows = zip(found.boxes.tolist(), found.txts, found.scores, strict=True)
        return [(text_corners(box), text, score) for box, text, score in rows]


def load_engine(_secrets: Mapping[str, str]) -> Engine:
    """Return the engine with its models loaded, tried once.

    Raises:
        RuntimeError: the engine runs and reads nothing where there is text.
        Exception: the installed wheel holds no models, as onnxruntime says it.
    """
    # imported here: mock needs none of it, and it takes two seconds
    rapidocr, omegaconf, cv2 = map(import_module, ("rapidocr", "omegaconf", "cv2"))
    threads = engine_threads()
    cv2.setNumThreads(threads)  # else one for each core of the host, whatever our share of it
    models = Path(str(rapidocr.__file__)).parent / "models"
    with ThreadPoolExecutor() as pool:  # models are read while rapidocr, which imports at its first use, does so
        # sessions of our own, because a model that rapidocr looks for is downloaded when it is not as expected
        sessions = {part: pool.submit(model_session, models / name, threads) for part, name in MODELS.items()}
        reader = rapidocr.RapidOCR(
            params={
                "Global.log_level": "critical",  # a page without text is no warning
                "Global.use_preprocess_img": False,  # `fitted` does it, and bounds the memory
                "Global.use_cls": False,  # it turns upright lines over; `Engine.lines` looks at whole pages
                "Global.text_score": 0.0,  # `min_confidence` decides, for each run
                "Rec.rec_batch_num": 1,  # all of a batch are padded to its longest line: with 3, a tenth more work
            }
        )
    for part, session in sessions.items():
        with omegaconf.flag_override(reader.cfg, "allow_objects", True):  # noqa: FBT003  # its own way to say it
            reader.cfg[part].session = session.result()
    engine = Engine(reader)
    if not engine.read(trial_card()):
        raise RuntimeError("the engine reads nothing on a card that holds text")
    return engine


def model_session(model: Path, threads: int) -> Any:
    """Return the onnxruntime session of the file *model*, on the CPU with that many *threads*."""
    onnxruntime = import_module("onnxruntime")
    onnxruntime.set_default_logger_severity(4)  # else it warns of GPUs that are not there
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = threads
    options.enable_cpu_mem_arena = False  # what a large page took is given back
    # else threads that wait spin: on a busy machine a page took a third longer, and a quarter more of the CPU
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])


def engine_threads() -> int:
    """Return how many threads compute: the cores that the registry asks for, as far as this machine has them."""
    wanted = round(float(Declaration.load(REGISTRY).runtime.cpu))
    return max(1, min(wanted, os.cpu_count() or 1))


@processor(setup=load_engine)
def entry(run: Run) -> None:
    """Read the pages of `params.document` one after the other; a page's picture is written as soon as it is read.

    Raises:
        InputsError: the document is of no known type, broken, encrypted, or larger than a limit.
    """
    document: Artifact = run.params["document"]
    least = run.params.get("min_confidence", DEFAULT_MIN_CONFIDENCE)
    engine = cast("Engine", run.resource)  # None in mock
    read: list[Page] = []
    with opened(document, dpi=int(run.params.get("dpi", DEFAULT_DPI))) as pages:
        numbers = chosen_pages(len(pages), run.params.get("pages"))
        for number in numbers:
            started = perf_counter()
            run.progress(len(read) / len(numbers), f"page {number}: {len(read) + 1} of {len(numbers)}")
            picture = pages.picture(number)
            run.check()
            lines = mock_lines(picture.size, document.sha256, number) if run.mock else engine.lines(picture, run.check)
            run.check()
            page = Page.of(number, picture.size, [line for line in lines if line.confidence >= least])
            run.write_bytes(f"outputs/page-{number:04d}.png", png(annotated(picture, page.lines)))
            read.append(page)
            duration_ms = round(1000 * (perf_counter() - started))
            run.log("handler.page.ok", page=number, lines=len(page.lines), duration_ms=duration_ms)
    run.write_text("outputs/text.txt", "\f".join(page.text() for page in read))
    run.write_json("outputs/layout.json", {"pages": [page.as_json() for page in read]})
    run.extra.update(pages=len(read), lines=sum(len(page.lines) for page in read))
    run.progress(1.0, "done")

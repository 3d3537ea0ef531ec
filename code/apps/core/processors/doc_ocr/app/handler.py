"""doc/ocr@1: a picture or a PDF in; its text, its layout and its pages with boxes drawn out."""

import os
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from time import perf_counter
from typing import Final

from PIL import Image

from processor_runtime import Artifact, Run, processor
from processor_runtime.declaration import Declaration

from .utils import Line, Page, annotated, chosen_pages, fitted, line_on_page, mock_lines, opened, png, trial_card

DEFAULT_DPI: Final = 150
DEFAULT_MIN_CONFIDENCE: Final = 0.5
REGISTRY: Final = Path(__file__).parents[1] / "registry.yaml"

Recognise = Callable[[Image.Image], list[Line]]


def load_engine(_secrets: Mapping[str, str]) -> Recognise:
    """Return the function that finds the lines of an RGB picture, its models loaded and tried once.

    Raises:
        RuntimeError: the engine runs and reads nothing where there is text.
        FileNotFoundError: the installed wheel holds no models.
    """
    # imported here: mock needs none of it, and it takes two seconds
    rapidocr = import_module("rapidocr")
    import_module("onnxruntime").set_default_logger_severity(4)  # else it warns of GPUs that are not there
    threads = engine_threads()
    import_module("cv2").setNumThreads(threads)  # else one for each core of the host, whatever our share of it
    # paths, because a model that is only named is downloaded when its hash is not the expected one
    models = Path(rapidocr.__file__).parent / "models"
    engine = rapidocr.RapidOCR(
        params={
            "Global.log_level": "critical",  # a page without text is no warning
            "Global.use_preprocess_img": False,  # `fitted` does it, and bounds the memory
            "Global.text_score": 0.0,  # `min_confidence` decides, for each run
            "Det.model_path": str(models / "PP-OCRv6_det_small.onnx"),
            "Cls.model_path": str(models / "ch_ppocr_mobile_v2.0_cls_mobile.onnx"),
            "Rec.model_path": str(models / "PP-OCRv6_rec_small.onnx"),
            "EngineConfig.onnxruntime.intra_op_num_threads": threads,
            "EngineConfig.onnxruntime.inter_op_num_threads": 1,
        }
    )

    def recognise(picture: Image.Image) -> list[Line]:
        work, factor = fitted(picture)
        found = engine(work)
        if found.txts is None:
            return []
        rows = zip(found.boxes.tolist(), found.txts, found.scores, strict=True)
        return [line_on_page(text, box, score, factor=factor, size=picture.size) for box, text, score in rows]

    if not recognise(trial_card()):
        raise RuntimeError("the engine reads nothing on a card that holds text")
    return recognise


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
    recognise: Recognise = run.resource
    read: list[Page] = []
    with opened(document, dpi=int(run.params.get("dpi", DEFAULT_DPI))) as pages:
        numbers = chosen_pages(len(pages), run.params.get("pages"))
        for number in numbers:
            started = perf_counter()
            run.progress(len(read) / len(numbers), f"page {number}: {len(read) + 1} of {len(numbers)}")
            picture = pages.picture(number)
            run.check()
            lines = mock_lines(picture.size, document.sha256, number) if run.mock else recognise(picture)
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

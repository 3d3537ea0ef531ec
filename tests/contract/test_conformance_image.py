"""The conformance kit's verdict on images: on ours, and on such as are no images of the contract's."""

from __future__ import annotations

from pathlib import Path

import pytest

from apps.core.registry import load_registration
from tests.contract.conftest import Tell
from tests.contract.discovery import discovered
from tests.contract.test_conformance import JUDGED
from tests.contract.verdict import verdict
from tests.support.docker import Built, Engine

REF = "llm/chat@1"
ABOUT_IMAGES = {f"C-IMAGE-0{number}" for number in range(1, 8)}  # the eighth cannot be seen from outside
CMD = 'CMD ["uvicorn", "app.http:app", "--host", "0.0.0.0", "--port", "8000"]'

FAULTS = [
    pytest.param(['CMD ["uvicorn", "app.http:app", "--host", "0.0.0.0"]'], ["C-IMAGE-01"], id="another command"),
    pytest.param(["HEALTHCHECK CMD curl -f http://127.0.0.1:8000/healthz"], ["C-IMAGE-02"], id="health by curl"),
    pytest.param(["HEALTHCHECK NONE"], ["C-IMAGE-02"], id="nobody asks for its health"),
    pytest.param(['ENTRYPOINT ["nice"]', CMD], ["C-IMAGE-03"], id="an entry point of its own"),
    pytest.param(["USER root"], ["C-IMAGE-04"], id="root"),
    pytest.param(["ENV PYTHONPATH="], ["C-IMAGE-05"], id="found in its working directory only"),
    pytest.param(
        ["USER root", "RUN mkdir /srv/processor/django && touch /srv/processor/django/__init__.py", "USER 10001"],
        ["C-IMAGE-06"],
        id="Django",
    ),
    pytest.param(
        ["USER root", f"RUN echo '# amd64: x/y@sha256:{'0' * 64}' > /srv/processor/registry.lock", "USER 10001"],
        ["C-IMAGE-07"],
        id="a pin",
    ),
]


@pytest.mark.slow
@pytest.mark.parametrize("folder", discovered(), ids=lambda folder: str(folder.name))
def test_the_kit_finds_no_broken_promise_in_an_image(folder: Path, built: Built, tmp_path: Path, tell: Tell) -> None:
    """It starts containers of it, stops and kills them, and sees their streams and artifacts as those of a process."""
    image = built(str(load_registration(folder).ref)).name
    examples = ("--inputs-file", str(JUDGED / f"{folder.name}.json"))

    found = verdict(f"{folder.name}-image", "--image", image, *examples, cwd=tmp_path)

    tell("processors", [found.in_short()])
    assert found.failed == {}
    assert found.status == 0, found.story
    assert found.passed >= ABOUT_IMAGES
    assert len(found.passed) > len(found.checks) // 2


@pytest.mark.slow
@pytest.mark.parametrize(("lines", "breaks"), FAULTS)
def test_an_image_that_breaks_the_contract_is_found(
    lines: list[str], breaks: list[str], built: Built, engine: Engine, tmp_path: Path
) -> None:
    """Exactly what is wrong with it, and with how it came about."""
    dockerfile = "\n".join([f"FROM {built(REF).name}", *lines])
    image = engine.docker("build", "--quiet", "-", input=dockerfile)
    try:
        found = verdict("broken-image", "--image", image, "--only", "C-IMAGE", cwd=tmp_path)
    finally:
        engine.docker("image", "rm", "--force", image)

    assert found.failed.keys() == set(breaks)
    assert found.passed == ABOUT_IMAGES - set(breaks)
    assert found.status == 1

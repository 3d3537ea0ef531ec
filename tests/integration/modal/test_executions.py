"""A deployed processor through the one use case: guards before anything is asked, files verified at the end."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from apps.core.adapters.modal import adapter as module
from apps.core.executions import execute
from apps.core.host import Host
from apps.core.request import ExecutionRequest
from processor_runtime.schemas import validator
from processor_runtime.values import Digest
from tests.local_modal import LocalModal
from tests.support.deployed import DIGEST, OTHER_DIGEST, Cloud
from tests.support.executions import host_in, request

pytestmark = pytest.mark.slow  # each starts a container

TROUBLE = "fix_trouble"


@pytest.fixture
def cloud(local_modal: LocalModal, tmp_path: Path) -> Cloud:
    """Return a Modal with `fix/trouble@1` deployed."""
    module._urls.clear()
    cloud = Cloud(local_modal, tmp_path)
    cloud.deploy(TROUBLE)
    cloud.modal.calls.clear()
    return cloud


def asked(**changes: Any) -> ExecutionRequest:
    """Return a request to the deployed processor."""
    return request(**{"adapter": "modal", "expected_digest": Digest.parse(DIGEST), **changes})


def executed(cloud: Cloud, wish: ExecutionRequest, **environ: str) -> dict[str, Any]:
    """Return the envelope of *wish*."""
    host: Host = replace(host_in(cloud.folder), environ={**cloud.environ, **environ})
    envelope: dict[str, Any] = asyncio.run(execute(wish, host, cloud.story.journal))
    assert validator("envelope").is_valid(envelope)
    return envelope


def test_a_run_is_verified_and_saved(cloud: Cloud) -> None:
    """Its outputs lie in the artifacts folder and where the caller wants them."""
    envelope = executed(cloud, asked(do="hello", save_dir=cloud.folder / "saved"))

    assert envelope["status"] == "success", envelope
    assert (cloud.folder / "saved" / "text.txt").read_text("utf-8") == "hello"


def test_an_attachment_goes_in_and_its_content_comes_out(cloud: Cloud) -> None:
    """By the name that the params use."""
    page = cloud.folder / "page.png"
    page.write_bytes(b"a page")
    wish = asked(do="read", files={"$attach": "page"}, attachments={"page": page}, save_dir=cloud.folder / "saved")

    assert executed(cloud, wish)["status"] == "success"
    assert (cloud.folder / "saved" / "text.txt").read_bytes() == b"a page"


@pytest.mark.parametrize(
    ("changes", "environ", "code"),
    [
        pytest.param({"write_prefix": "/tmp/{execution_id}/"}, {}, "ERR_WRITE_PREFIX", id="not carried"),
        pytest.param({"mode": "real"}, {"CI": "true"}, "ERR_CI_SAFETY", id="real in CI"),
        pytest.param({"mode": "dream"}, {}, "ERR_MODE_INVALID", id="unknown mode"),
        pytest.param({"execution_id": "../e"}, {}, "ERR_INPUTS", id="malformed id"),
        pytest.param({"expected_digest": None}, {}, "ERR_IMAGE_UNPINNED", id="no image expected"),
    ],
)
def test_what_must_not_start_asks_nothing_of_modal(
    cloud: Cloud, changes: dict[str, Any], environ: dict[str, str], code: str
) -> None:
    """Neither its server nor its web server, and no file is written."""
    envelope = executed(cloud, asked(do="hello", **changes), **environ)

    assert envelope["error"]["code"] == code
    assert (cloud.modal.calls, cloud.methods()) == ([], [])
    assert not cloud.artifacts.exists()


def test_a_real_run_needs_no_secret_here(cloud: Cloud) -> None:
    """Modal has it."""
    assert executed(cloud, asked(do="look", mode="real"))["status"] == "success"


def test_another_image_is_drift(cloud: Cloud) -> None:
    """As an envelope."""
    envelope = executed(cloud, asked(do="hello", expected_digest=Digest.parse(OTHER_DIGEST)))

    assert envelope["error"]["code"] == "ERR_DIGEST_DRIFT"


def test_a_file_that_is_not_what_the_envelope_says_is_refused(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was brought here is judged by its size and hash."""
    from apps.core.adapters.modal.volume import Volume

    download = Volume.download

    async def tampered(self: Volume, envelope: dict[str, Any], prefix: str) -> None:
        await download(self, envelope, prefix)
        (self.root / envelope["outputs"][0]["path"].removeprefix("/artifacts/")).write_bytes(b"HELLO")

    monkeypatch.setattr(Volume, "download", tampered)

    assert executed(cloud, asked(do="hello"))["error"]["code"] == "ERR_ARTIFACT_MISMATCH"


def test_files_that_are_missing_on_the_volume_are_a_mismatch(cloud: Cloud) -> None:
    """Nothing here says that they are there."""
    wish = asked(do="hello")
    envelope = executed(cloud, wish)
    (cloud.volume / "outputs" / wish.execution_id / "outputs" / "text.txt").unlink()
    (cloud.artifacts / "outputs" / wish.execution_id / "outputs" / "text.txt").unlink()

    again = executed(cloud, wish)

    assert envelope["status"] == "success"
    assert again["error"]["code"] == "ERR_ARTIFACT_MISMATCH"


def test_a_link_in_the_artifacts_folder_is_not_followed(cloud: Cloud) -> None:
    """Another run of the same id may have left it here."""
    wish = asked(do="hello")
    elsewhere = cloud.folder / "elsewhere"
    elsewhere.mkdir()
    folder = cloud.artifacts / "outputs" / wish.execution_id
    folder.mkdir(parents=True)
    (folder / "outputs").symlink_to(elsewhere)

    assert executed(cloud, wish)["error"]["code"] == "ERR_STORAGE"
    assert list(elsewhere.iterdir()) == []

"""The one file that is uploaded, in a container: the image's own app, its files published and refreshed."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from apps.core.adapters.modal import adapter as module
from tests.local_modal import LocalModal
from tests.support.deployed import Cloud
from tests.support.executions import payload
from tests.support.service import WAIT_S, wait_until

pytestmark = pytest.mark.slow  # each starts a container

STEPS = "fix_steps"

JsonObject = dict[str, Any]


@pytest.fixture
def cloud(local_modal: LocalModal, tmp_path: Path) -> Cloud:
    """Return a Modal with `fix/steps@1` deployed, whose containers work on four runs at a time."""
    module._urls.clear()
    cloud = Cloud(local_modal, tmp_path)
    cloud.deploy(STEPS)
    return cloud


def steps(*do: list[Any], **more: Any) -> JsonObject:
    """Return a request to `fix/steps@1`."""
    return payload("fix/steps@1", do=[*do], **more)


def attached(cloud: Cloud, content: bytes) -> dict[str, str]:
    """Return the reference to a file that is stored here by its content."""
    sha256 = hashlib.sha256(content).hexdigest()
    file = cloud.artifacts / "inputs" / sha256 / "page"
    file.parent.mkdir(parents=True)
    file.write_bytes(content)
    return {"$artifact": f"/artifacts/inputs/{sha256}/page", "sha256": sha256}


def while_a_file_is_open(cloud: Cloud, look: Callable[[], Awaitable[JsonObject]]) -> tuple[JsonObject, JsonObject]:
    """Return the envelope of *look*, called while another run of the container holds an input open, and that one's."""
    holding = steps(["wait", "gate"], ["write", "outputs/text.txt", "held"], files=attached(cloud, b"held"))

    async def work() -> tuple[JsonObject, JsonObject]:
        held = asyncio.ensure_future(cloud.adapter(STEPS).run(holding, timeout_s=WAIT_S))
        await asyncio.to_thread(wait_until, (cloud.marks / "gate.began").exists, lambda: "the handler to begin")
        try:
            seen = await look()
        finally:
            (cloud.marks / "gate.go").touch()
        return seen, await held

    return asyncio.run(work())


@pytest.mark.parametrize("reloads", [False, True], ids=["commit", "commit and reload"])
def test_runs_side_by_side_are_published_while_files_are_open(cloud: Cloud, *, reloads: bool) -> None:
    """A Volume cannot be reloaded then; nobody's run fails for that, and all files come here."""
    cloud.modal.volumes.commit_reloads = reloads
    body = steps(["write", "outputs/text.txt", "beside"])

    beside, held = while_a_file_is_open(cloud, lambda: cloud.adapter(STEPS).run(body, timeout_s=WAIT_S))

    assert (beside["status"], held["status"]) == ("success", "success")
    for envelope, text in ((beside, "beside"), (held, "held")):
        file = cloud.artifacts / "outputs" / envelope["execution_id"] / "outputs" / "text.txt"
        assert file.read_text("utf-8") == text
    assert "http.run.unrefreshed" in cloud.modal.logs.text()


def test_a_new_file_that_cannot_be_seen_now_may_be_sent_again(cloud: Cloud) -> None:
    """It is on the Volume, and the container cannot look: that is no verdict about the file."""

    async def look() -> JsonObject:
        body = steps(["write", "outputs/text.txt", "new"], files=attached(cloud, b"new"))
        return await cloud.adapter(STEPS).run(body, timeout_s=WAIT_S)

    refused, held = while_a_file_is_open(cloud, look)

    assert (refused["error"]["code"], refused["error"]["retryable"]) == ("ERR_STORAGE", True)
    assert held["status"] == "success"


def test_the_images_own_app_is_served(cloud: Cloud) -> None:
    """Whatever `app.http` holds: this one is not made by `create_app`."""
    cloud.deploy("fix_raw")
    inputs = {"schema": "v1", "params": {"status": 418, "body": "hand-made"}}

    async def work() -> None:
        await cloud.adapter("fix_raw").run({**payload("fix/raw@1"), "inputs": inputs}, timeout_s=WAIT_S)

    with pytest.raises(Exception, match="answer is not an envelope"):
        asyncio.run(work())


def test_a_container_that_ends_lets_its_run_settle(cloud: Cloud) -> None:
    """Modal ends idle containers, and the app is told by its lifespan."""
    body = steps(["write", "outputs/text.txt", "hello"])
    asyncio.run(cloud.adapter(STEPS).run(body, timeout_s=WAIT_S))

    cloud.modal.run(cloud.modal.fleet.scale_down())

    assert "Traceback" not in cloud.modal.logs.text()

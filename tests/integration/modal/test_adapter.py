"""The adapter against a deployed processor: one request, one envelope, and the files that it names."""

from __future__ import annotations

import asyncio
import hashlib
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from apps.core import artifacts
from apps.core.adapters.errors import DigestDriftError, EndpointMissingError
from apps.core.adapters.modal import adapter as module
from apps.core.adapters.modal.errors import ModalAuthError
from apps.core.images.errors import ImageUnpinnedError
from processor_runtime.errors import DeadlineError
from processor_runtime.prefix import INPUTS, Roots
from processor_runtime.schemas import validator
from processor_runtime.values import Digest
from tests.local_modal import LocalModal
from tests.support.deployed import DIGEST, OTHER_DIGEST, Cloud
from tests.support.executions import SECRET, payload
from tests.support.service import WAIT_S, wait_until

pytestmark = pytest.mark.slow  # each starts a container

TROUBLE = "fix_trouble"
STEPS = "fix_steps"
CALL_ID = "__modal_function_call_id"


@pytest.fixture
def cloud(local_modal: LocalModal, tmp_path: Path) -> Cloud:
    """Return a Modal with nothing deployed; no address of an earlier test is remembered."""
    module._urls.clear()
    return Cloud(local_modal, tmp_path)


def run(carrier: Any, body: dict[str, Any], timeout_s: float = WAIT_S) -> dict[str, Any]:
    """Return the envelope that *carrier* brings back."""
    envelope: dict[str, Any] = asyncio.run(carrier.run(body, timeout_s=timeout_s))
    return envelope


def steps(*do: list[Any], **more: Any) -> dict[str, Any]:
    """Return a request to `fix/steps@1`."""
    return payload("fix/steps@1", do=[*do], **more)


def verify(cloud: Cloud, envelope: dict[str, Any]) -> None:
    """Fail unless what *envelope* names lies here, with those hashes."""
    prefix = f"/artifacts/outputs/{envelope['execution_id']}/"
    artifacts.verify(envelope, prefix, Roots.of("/artifacts", INPUTS, str(cloud.artifacts)))


# --- a run


def test_a_run_brings_back_the_envelope_and_its_files(cloud: Cloud) -> None:
    """The envelope is the processor's own, of the image that was deployed, and what it names lies here."""
    cloud.deploy(TROUBLE)
    body = payload(do="hello")

    envelope = run(cloud.adapter(TROUBLE), body)

    assert validator("envelope").is_valid(envelope)
    assert (envelope["status"], envelope["execution_id"]) == ("success", body["execution_id"])
    assert (envelope["meta"]["image_digest"], envelope["meta"]["pinned"]) == (DIGEST, True)
    verify(cloud, envelope)
    folder = cloud.artifacts / "outputs" / body["execution_id"]
    assert (folder / "outputs" / "text.txt").read_text("utf-8") == "hello"
    assert sorted(path.name for path in folder.iterdir()) == ["outputs", "outputs.json", "receipt.json"]
    assert cloud.methods() == ["POST /run"]
    assert cloud.events() == ["adapter.modal.resolve", "adapter.modal.download"]
    assert list(cloud.var.rglob("*.json")) == []


def test_an_error_of_the_processor_is_brought_back_as_it_is(cloud: Cloud) -> None:
    """An adapter transports: a refusal by the processor is its answer, and there is nothing to bring here."""
    cloud.deploy(TROUBLE)

    envelope = run(cloud.adapter(TROUBLE), payload(nonsense=True))

    assert envelope["error"]["code"] == "ERR_INPUTS"
    assert not cloud.artifacts.exists()


def test_a_real_run_has_the_secret_that_modal_holds(cloud: Cloud) -> None:
    """The caller needs none of it, and no log line has it."""
    cloud.deploy(TROUBLE)

    envelope = run(cloud.adapter(TROUBLE), {**payload(do="look"), "mode": "real"})

    assert envelope["status"] == "success", envelope
    verify(cloud, envelope)
    seen = (cloud.artifacts / "outputs" / envelope["execution_id"] / "outputs" / "data.json").read_text("utf-8")
    assert SECRET in seen
    assert SECRET not in cloud.modal.logs.text()


def test_a_mock_run_has_none(cloud: Cloud) -> None:
    """Though the container was given it."""
    cloud.deploy(TROUBLE)

    envelope = run(cloud.adapter(TROUBLE), payload(do="look"))

    seen = (cloud.artifacts / "outputs" / envelope["execution_id"] / "outputs" / "data.json").read_text("utf-8")
    assert SECRET not in seen


def test_the_same_request_again_is_answered_from_its_receipt(cloud: Cloud) -> None:
    """By another container too: it finds the receipt on the Volume."""
    cloud.deploy(STEPS)
    body = steps(["count", "ran"], ["write", "outputs/text.txt", "hello"])
    first = run(cloud.adapter(STEPS), body)
    cloud.modal.run(cloud.modal.fleet.scale_down())

    again = run(cloud.adapter(STEPS), body)

    assert again == first
    assert (cloud.marks / "ran").read_bytes() == b"."


def test_a_stream_tells_each_event_and_ends_in_the_envelope(cloud: Cloud) -> None:
    """What the envelope names lies here before `done` is told."""
    cloud.deploy(STEPS)
    body = steps(["progress", 0.5, "half"], ["write", "outputs/text.txt", "hello"])

    async def work() -> list[Any]:
        async with aclosing(cloud.adapter(STEPS).stream(body, timeout_s=WAIT_S)) as told:
            return [event async for event in told]

    events = asyncio.run(work())

    names = [event.name for event in events]
    assert names[-1] == "done"
    assert {"progress", "output"} <= set(names)
    assert events[-1].data["status"] == "success"
    verify(cloud, events[-1].data)


# --- who answers


def test_another_image_than_the_expected_one_is_refused(cloud: Cloud) -> None:
    """What it wrote is not brought here."""
    cloud.deploy(TROUBLE, OTHER_DIGEST)

    with pytest.raises(DigestDriftError):
        run(cloud.adapter(TROUBLE), payload(do="hello"))

    assert not cloud.artifacts.exists()


@pytest.mark.parametrize("spelling", [DIGEST, f"ghcr.io/owner/image@{DIGEST}"])
def test_the_expected_digest_may_be_spelled_either_way(cloud: Cloud, spelling: str) -> None:
    """What is compared is the digest, not where the image is stored."""
    cloud.deploy(TROUBLE)

    assert run(cloud.adapter(TROUBLE, expected=Digest.parse(spelling)), payload(do="hello"))["status"] == "success"


def test_without_a_pin_and_an_expectation_nothing_is_asked(cloud: Cloud) -> None:
    """Any image could answer then."""
    cloud.deploy(TROUBLE)
    calls = len(cloud.modal.calls)

    with pytest.raises(ImageUnpinnedError) as refused:
        run(cloud.adapter(TROUBLE, None), payload(do="hello"))

    assert "--expected-digest" in refused.value.details[0]["message"]
    assert (len(cloud.modal.calls), cloud.methods()) == (calls, [])


def test_each_lane_has_its_own_app(cloud: Cloud) -> None:
    """What is deployed in dev does not answer for prod, and another branch's does not for this one."""
    cloud.deploy(TROUBLE)

    for changes in ({"MODAL_ENVIRONMENT": "prod"}, {"DEPLOY_BRANCH": "other"}):
        with pytest.raises(EndpointMissingError):
            run(cloud.adapter(TROUBLE, environ=cloud.environ | changes), payload(do="hello"))


def test_half_a_proxy_token_is_refused_before_anything_is_asked(cloud: Cloud) -> None:
    """The detail names the other half."""
    calls = len(cloud.modal.calls)
    environ = cloud.environ
    del environ["MODAL_PROXY_TOKEN_SECRET"]

    with pytest.raises(ModalAuthError) as refused:
        run(cloud.adapter(TROUBLE, environ=environ), payload(do="hello"))

    assert refused.value.details[0]["path"] == "MODAL_PROXY_TOKEN_SECRET"
    assert len(cloud.modal.calls) == calls


# --- files going in


def attached(cloud: Cloud, content: bytes, name: str = "page") -> dict[str, str]:
    """Return the reference to a file that is stored here by its content."""
    sha256 = hashlib.sha256(content).hexdigest()
    file = cloud.artifacts / "inputs" / sha256 / name
    file.parent.mkdir(parents=True)
    file.write_bytes(content)
    return {"$artifact": f"/artifacts/inputs/{sha256}/{name}", "sha256": sha256}


def test_an_attachment_reaches_a_container_that_runs_already(cloud: Cloud) -> None:
    """It is uploaded before the processor is asked, and a warm container looks again."""
    cloud.deploy(TROUBLE)
    run(cloud.adapter(TROUBLE), payload(do="hello"))
    reference = attached(cloud, b"attached")

    envelope = run(cloud.adapter(TROUBLE), payload(do="read", files=reference))

    assert envelope["status"] == "success", envelope
    text = cloud.artifacts / "outputs" / envelope["execution_id"] / "outputs" / "text.txt"
    assert text.read_bytes() == b"attached"
    assert (cloud.volume / reference["$artifact"].removeprefix("/artifacts/")).read_bytes() == b"attached"


def test_an_attachment_that_is_there_is_not_sent_again(cloud: Cloud) -> None:
    """It is stored by its content."""
    cloud.deploy(TROUBLE)
    reference = attached(cloud, b"attached")
    run(cloud.adapter(TROUBLE), payload(do="read", files=reference))
    sent = len(cloud.modal.sent("VolumePutFiles")) + len(cloud.modal.sent("VolumePutFiles2"))
    assert sent == 1

    envelope = run(cloud.adapter(TROUBLE), payload(do="read", files=reference))

    assert envelope["status"] == "success", envelope
    assert len(cloud.modal.sent("VolumePutFiles")) + len(cloud.modal.sent("VolumePutFiles2")) == sent
    uploads = cloud.story.events("adapter.modal.upload")
    assert [(event["files"], event["sent"]) for event in uploads] == [(1, 1), (1, 0)]


def test_a_reference_to_what_is_not_here_is_left_to_the_processor(cloud: Cloud) -> None:
    """It may be on the Volume; if not, the processor says so."""
    cloud.deploy(TROUBLE)
    reference = {"$artifact": f"/artifacts/inputs/{'0' * 64}/page", "sha256": "0" * 64}

    envelope = run(cloud.adapter(TROUBLE), payload(do="read", files=reference))

    assert envelope["error"]["message"] == "artifact not usable"


# --- runs that take longer than Modal's web server waits


def test_a_long_run_is_waited_for_where_its_result_will_be(cloud: Cloud) -> None:
    """It is asked for once; from then on only its result is, with the proxy token, and at the end nothing is kept."""
    cloud.deploy(STEPS)
    cloud.modal.web.request_limit_s = 0.2
    body = steps(["wait", "gate"], ["write", "outputs/text.txt", "late"])

    async def work() -> dict[str, Any]:
        running = asyncio.ensure_future(cloud.adapter(STEPS).run(body, timeout_s=WAIT_S))
        await asyncio.to_thread(wait_until, lambda: cloud.methods().count("GET /run?") >= 2, lambda: "two redirects")
        (kept,) = cloud.var.rglob("*.json")
        assert kept.stem == body["execution_id"]
        (cloud.marks / "gate.go").touch()
        return await running

    envelope = asyncio.run(work())

    assert envelope["status"] == "success"
    verify(cloud, envelope)
    asked = cloud.modal.web.requests
    assert [request.method for request in asked].count("POST") == 1
    assert all(request.headers["modal-key"] == cloud.modal.proxy_token[0] for request in asked)
    assert all(request.body == b"" for request in asked[1:])
    assert list(cloud.var.rglob("*.json")) == []
    assert "adapter.modal.wait" in cloud.events()


def test_a_caller_that_gave_up_collects_the_result_later(cloud: Cloud) -> None:
    """The same execution asked again goes to where its result is, and does not run again."""
    cloud.deploy(STEPS)
    cloud.modal.web.request_limit_s = 0.1
    body = steps(["count", "ran"], ["wait", "gate"], ["write", "outputs/text.txt", "late"])

    with pytest.raises(DeadlineError):
        run(cloud.adapter(STEPS, start_allowance_s=3), body, timeout_s=0.1)
    assert len(list(cloud.var.rglob("*.json"))) == 1
    (cloud.marks / "gate.go").touch()
    cloud.modal.web.requests.clear()

    envelope = run(cloud.adapter(STEPS), body)

    assert envelope["status"] == "success"
    verify(cloud, envelope)
    assert set(cloud.methods()) == {"GET /run?"}
    assert (cloud.marks / "ran").read_bytes() == b"."
    assert list(cloud.var.rglob("*.json")) == []


def test_a_result_that_is_gone_is_asked_for_from_the_processor(cloud: Cloud) -> None:
    """It has the receipt."""
    cloud.deploy(STEPS)
    body = steps(["count", "ran"], ["write", "outputs/text.txt", "hello"])
    first = run(cloud.adapter(STEPS), body)
    url = cloud.modal.web.requests[0].url
    from apps.core.adapters.modal.results import Kept

    kept = Kept.of(cloud.var / "modal" / "results", "fix-steps-v1-main-anna-dev", "/run", body)
    kept.save(f"{url}?{CALL_ID}=fc-gone")
    cloud.modal.web.requests.clear()

    assert run(cloud.adapter(STEPS), body) == first
    assert cloud.methods() == ["GET /run?", "POST /run"]
    assert (cloud.marks / "ran").read_bytes() == b"."


def test_a_stream_that_begins_late_is_followed_too(cloud: Cloud) -> None:
    """Nothing of it is lost."""
    cloud.deploy(STEPS)
    cloud.modal.web.request_limit_s = 0.2
    body = steps(["write", "outputs/text.txt", "hello"])

    async def work() -> list[str]:
        async with aclosing(cloud.adapter(STEPS).stream(body, timeout_s=WAIT_S)) as told:
            return [event.name async for event in told]

    # a cold start takes longer than the limit
    assert asyncio.run(work())[-1] == "done"
    assert cloud.methods()[0] == "POST /run-stream"
    assert list(cloud.var.rglob("*.json")) == []


# --- a caller that goes


def test_a_cancelled_caller_cancels_its_run(cloud: Cloud) -> None:
    """Where the request for it reaches the container; nothing is kept."""
    cloud.deploy(STEPS)
    body = steps(["check_until", "gate"])

    async def work() -> None:
        running = asyncio.ensure_future(cloud.adapter(STEPS).run(body, timeout_s=WAIT_S))
        await asyncio.to_thread(wait_until, (cloud.marks / "gate.began").exists, lambda: "the handler to begin")
        running.cancel()
        await asyncio.wait([running])
        assert running.cancelled()

    asyncio.run(work())

    wait_until((cloud.marks / "gate.stopped").exists, lambda: "the handler to be stopped")
    assert cloud.methods() == ["POST /run", f"DELETE /run/{body['execution_id']}"]
    assert list(cloud.var.rglob("*.json")) == []


def test_a_reader_that_leaves_its_stream_ends_its_run(cloud: Cloud) -> None:
    """Nobody else waits for it."""
    cloud.deploy(STEPS)
    body = steps(["progress", 0.5, "half"], ["check_until", "gate"])

    async def work() -> None:
        async with aclosing(cloud.adapter(STEPS).stream(body, timeout_s=WAIT_S)) as told:
            async for event in told:
                if event.name == "progress":
                    break
            await asyncio.to_thread(wait_until, (cloud.marks / "gate.began").exists, lambda: "the handler to wait")

    asyncio.run(work())

    wait_until((cloud.marks / "gate.stopped").exists, lambda: "the handler to be stopped")
    assert list(cloud.var.rglob("*.json")) == []

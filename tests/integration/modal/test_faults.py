"""Whatever goes wrong on the way to Modal and back, the caller gets the right envelope, in time."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import modal
import pytest
from grpclib import Status

from apps.core.adapters.modal import adapter as module
from apps.core.adapters.modal.limits import Limits
from apps.core.adapters.modal.web import CALL_ID
from apps.core.executions import execute
from apps.core.request import ExecutionRequest
from processor_runtime.schemas import validator
from processor_runtime.values import Digest
from tests.local_modal import LocalModal, reply
from tests.local_modal.faults import EVERY, Fail, Silent
from tests.support.deployed import DIGEST, OTHER_DIGEST, Cloud
from tests.support.executions import host_in, request
from tests.support.service import WAIT_S, wait_until

pytestmark = pytest.mark.slow  # each starts a container

TROUBLE, STEPS = "fix_trouble", "fix_steps"
APP = "fix-trouble-v1-main-anna-dev"
SHORT = Limits(lookup_s=1, transfer_s=10, connect_s=2, hop_s=1, retry_wait_s=0.05, cancel_s=1)
IN_TIME_S = 45.0  # bounds a hang, the SDK's own 56 s among them: a fault is told after the second or two of its limit


@pytest.fixture
def cloud(local_modal: LocalModal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cloud:
    """Return a Modal with `fix/trouble@1` deployed, and an adapter that loses patience soon."""
    module._urls.clear()
    monkeypatch.setattr(module, "ModalAdapter", partial(module.ModalAdapter, limits=SHORT))
    local_modal.web.request_limit_s = SHORT.hop_s / 3  # in the cloud too, a redirect comes before patience ends
    cloud = Cloud(local_modal, tmp_path)
    cloud.deploy(TROUBLE)
    return cloud


def asked(**changes: Any) -> ExecutionRequest:
    """Return a request to the deployed processor."""
    return request(**{"adapter": "modal", "expected_digest": Digest.parse(DIGEST), "timeout_s": 1, **changes})


def steps(*do: list[Any], **changes: Any) -> ExecutionRequest:
    """Return a request to `fix/steps@1`."""
    inputs = {"schema": "v1", "params": {"do": [*do]}}
    return asked(ref="fix/steps@1", inputs=inputs, **changes)


def executed(
    cloud: Cloud,
    wish: ExecutionRequest,
    environ: Mapping[str, str] = MappingProxyType({}),
    *,
    stream: bool = False,
    allowance_s: float = WAIT_S,
) -> dict[str, Any]:
    """Return the envelope of *wish*; fails if it takes longer than any fault may."""
    host = replace(host_in(cloud.folder, start_allowance_s=allowance_s), environ={**cloud.environ, **environ})
    watch = (lambda _: None) if stream else None
    began = time.monotonic()
    envelope: dict[str, Any] = asyncio.run(execute(wish, host, cloud.story.journal, watch))
    assert time.monotonic() - began < IN_TIME_S
    assert validator("envelope").is_valid(envelope)
    assert envelope["execution_id"] == wish.execution_id
    return envelope


def code_of(envelope: dict[str, Any]) -> str:
    """Return the code of an error envelope."""
    assert envelope["status"] == "error", envelope
    code: str = envelope["error"]["code"]
    return code


# --- Modal's own server


def test_a_server_that_is_down(cloud: Cloud) -> None:
    """The SDK would try for a minute."""
    cloud.modal.go_down()

    assert code_of(executed(cloud, asked())) == "ERR_NETWORK"
    cloud.modal.come_back()


@pytest.mark.parametrize("rpc", [EVERY, "FunctionGet"])
def test_a_server_that_is_silent(cloud: Cloud, rpc: str) -> None:
    """The SDK would wait without end."""
    cloud.modal.faults[rpc] = Silent()

    envelope = executed(cloud, asked())

    assert code_of(envelope) == "ERR_NETWORK"
    assert envelope["error"]["retryable"] is True
    assert APP in envelope["error"]["details"][0]["message"]


@pytest.mark.parametrize("variable", ["MODAL_TOKEN_ID", "MODAL_TOKEN_SECRET"])
def test_a_token_that_is_wrong(cloud: Cloud, variable: str) -> None:
    """Nothing is asked of the processor."""
    assert code_of(executed(cloud, asked(), {variable: "wrong"})) == "ERR_MODAL_AUTH"
    assert cloud.methods() == []


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (Status.NOT_FOUND, "ERR_ENDPOINT_MISSING"),
        (Status.PERMISSION_DENIED, "ERR_MODAL_AUTH"),
        (Status.RESOURCE_EXHAUSTED, "ERR_BUSY"),
        (Status.INVALID_ARGUMENT, "ERR_INPUTS"),
        (Status.UNIMPLEMENTED, "ERR_INTERNAL"),
    ],
    ids=lambda value: value.name if isinstance(value, Status) else value,
)
def test_a_server_that_refuses(cloud: Cloud, status: Status, code: str) -> None:
    """Each status means one thing."""
    cloud.modal.faults["FunctionGet"] = Fail(status)

    assert code_of(executed(cloud, asked())) == code


def test_an_app_that_was_stopped(cloud: Cloud) -> None:
    """It is not there any more; the details say where it was looked for."""
    modal.App.lookup(APP, environment_name="dev").stop()

    envelope = executed(cloud, asked())

    assert code_of(envelope) == "ERR_ENDPOINT_MISSING"
    assert "modalctl deploy" in _next_step(envelope)


def test_an_app_that_is_stopped_after_it_was_found(cloud: Cloud) -> None:
    """The remembered address is forgotten: the next caller looks again."""
    executed(cloud, asked())
    modal.App.lookup(APP, environment_name="dev").stop()

    assert code_of(executed(cloud, asked())) == "ERR_ENDPOINT_MISSING"
    assert cloud.methods()[-1] == "POST /run"
    asks = len(cloud.methods())

    assert code_of(executed(cloud, asked())) == "ERR_ENDPOINT_MISSING"
    assert len(cloud.methods()) == asks  # asked of Modal, and not of an address that is no more


def test_a_volume_that_cannot_be_read(cloud: Cloud) -> None:
    """The run was a success; without its files it is none."""
    cloud.modal.faults["VolumeGetFile2"] = Fail(Status.PERMISSION_DENIED)

    assert code_of(executed(cloud, asked())) == "ERR_MODAL_AUTH"


def test_a_volume_that_cannot_be_written(cloud: Cloud) -> None:
    """Nothing is asked of the processor: it would not find the file."""
    cloud.modal.faults["VolumePutFiles"] = cloud.modal.faults["VolumePutFiles2"] = Fail(Status.RESOURCE_EXHAUSTED)
    page = cloud.folder / "page"
    page.write_bytes(b"x")

    envelope = executed(cloud, asked(do="read", files={"$attach": "page"}, attachments={"page": page}))

    assert code_of(envelope) == "ERR_BUSY"
    assert cloud.methods() == []


# --- Modal's web server


@pytest.mark.parametrize("stream", [False, True], ids=["run", "stream"])
@pytest.mark.parametrize(
    ("play", "code"),
    [
        pytest.param(reply.reply_busy(), "ERR_BUSY", id="429"),
        pytest.param(reply.reply_html(), "ERR_BAD_RESPONSE", id="page"),
        pytest.param(reply.reply_html(404), "ERR_BAD_RESPONSE", id="404 page"),
        pytest.param(reply.reply_html(502), "ERR_BAD_RESPONSE", id="502 page"),
        pytest.param(reply.reply_modal(401, "missing credentials"), "ERR_MODAL_AUTH", id="401"),
        pytest.param(reply.reply_modal(404, "invalid function call"), "ERR_ENDPOINT_MISSING", id="404"),
        pytest.param(reply.reply_modal(500, "internal error: function execution timed out"), "ERR_TIMEOUT", id="500"),
        pytest.param(reply.reply_modal(500, "internal error: terminated by signal"), "ERR_CRASHED", id="killed"),
        pytest.param(reply.reply_modal(502, "bad gateway"), "ERR_NETWORK", id="502"),
        pytest.param(reply.reply_text(200, '{"ok": 1}', "application/json"), "ERR_BAD_RESPONSE", id="no envelope"),
        pytest.param(reply.reply_text(200, "{", "application/json"), "ERR_BAD_RESPONSE", id="no JSON"),
        pytest.param(reply.reply_text(200, "ok"), "ERR_BAD_RESPONSE", id="text"),
        pytest.param(reply.reply_redirect("/run?a=b", 302), "ERR_BAD_RESPONSE", id="302"),
        pytest.param(reply.reply_redirect("/run?a=b", 307), "ERR_BAD_RESPONSE", id="307"),
        pytest.param(reply.reply_redirect("/run?a=b"), "ERR_BAD_RESPONSE", id="303 to no result"),
        pytest.param(reply.reply_redirect(""), "ERR_BAD_RESPONSE", id="303 to nowhere"),
        pytest.param(reply.reply_redirect(f"/run?{CALL_ID}="), "ERR_BAD_RESPONSE", id="303 to no call"),
        # httpx2 itself finds that this is no URL, and calls it a broken protocol
        pytest.param(reply.reply_redirect(f"http://[::1/?{CALL_ID}=fc-1"), "ERR_NETWORK", id="303 to no URL"),
        pytest.param(reply.reply_drop(), "ERR_NETWORK", id="dropped"),
        pytest.param(reply.reply_silence(), "ERR_NETWORK", id="silence"),
        pytest.param(reply.reply_cut((b"half",), "application/json"), "ERR_NETWORK", id="half an answer"),
    ],
)
def test_an_answer_that_is_none(cloud: Cloud, play: reply.Play, code: str, *, stream: bool) -> None:
    """Each is told by its code, and the request was sent once."""
    cloud.modal.web.play(play)

    assert code_of(executed(cloud, asked(), stream=stream)) == code
    assert cloud.methods() == ["POST /run-stream" if stream else "POST /run"]
    assert list(cloud.var.rglob("*.json")) == []


@contextmanager
def another_origin() -> Iterator[tuple[int, list[bytes]]]:
    """Give the port of another server on this machine, and what was said to it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        heard: list[bytes] = []
        yield server.getsockname()[1], heard
        try:
            connection, _ = server.accept()
        except TimeoutError:
            return
        with connection:
            heard.append(connection.recv(65536))


@pytest.mark.parametrize(
    "address",
    [
        "http://127.0.0.1:{port}/run",
        "//127.0.0.1:{port}/run",
        "http://localhost:{own}/run",
        "https://127.0.0.1:{own}/run",
        "http://user:word@127.0.0.1:{own}/run",
    ],
)
def test_a_redirect_to_another_origin_is_not_followed(cloud: Cloud, address: str) -> None:
    """The proxy token stays where it belongs."""
    own = modal.Function.from_name(APP, "fastapi_app", environment_name="dev").get_web_url() or ""
    with another_origin() as (port, heard):
        location = address.format(port=port, own=own.rpartition(":")[2]) + f"?{CALL_ID}=fc-1"
        cloud.modal.web.play(reply.reply_redirect(location))

        assert code_of(executed(cloud, asked())) == "ERR_BAD_RESPONSE"

    assert heard == []
    assert cloud.methods() == ["POST /run"]


def test_a_chain_of_redirects_past_the_deadline(cloud: Cloud) -> None:
    """The deadline is for all of it; where the result will be stays known."""
    cloud.modal.web.always(reply.reply_redirect_to_self(CALL_ID, 0.05))
    wish = asked()

    assert code_of(executed(cloud, wish, allowance_s=0.5)) == "ERR_TIMEOUT"
    assert cloud.methods()[:3] == ["POST /run", "GET /run?", "GET /run?"]
    (kept,) = cloud.var.rglob("*.json")
    assert kept.stem == wish.execution_id


@pytest.mark.parametrize(
    "play",
    [
        pytest.param(reply.reply_drop(), id="dropped"),
        pytest.param(reply.reply_silence(), id="silence"),
        pytest.param(reply.reply_cut((b'{"status":',), "application/json"), id="half an answer"),
    ],
)
def test_a_result_that_was_lost_on_its_way_is_asked_for_again(cloud: Cloud, play: reply.Play) -> None:
    """That runs nothing a second time."""
    cloud.deploy(STEPS)
    cloud.modal.web.request_limit_s = 0.2
    wish = steps(["wait", "gate"], ["write", "outputs/text.txt", "hello"], timeout_s=20)

    async def work() -> dict[str, Any]:
        host = replace(host_in(cloud.folder), environ=cloud.environ)
        running = asyncio.ensure_future(execute(wish, host, cloud.story.journal))
        await asyncio.to_thread(wait_until, (cloud.marks / "gate.began").exists, lambda: "the handler to begin")
        cloud.modal.web.play(play, play)
        await asyncio.to_thread(wait_until, lambda: not cloud.modal.web._script, lambda: "both to be played")
        (cloud.marks / "gate.go").touch()
        return await running

    assert asyncio.run(work())["status"] == "success"
    assert cloud.methods().count("POST /run") == 1


def test_a_stream_that_breaks_off(cloud: Cloud) -> None:
    """What was told was told; there is no envelope."""
    wish = asked()
    event = {"execution_id": wish.execution_id, "fraction": 0.5, "message": "half"}
    chunk = f"id: 1\nevent: progress\ndata: {json.dumps(event)}\n\n".encode()
    cloud.modal.web.play(reply.reply_cut((chunk,)))

    assert code_of(executed(cloud, wish, stream=True)) == "ERR_NETWORK"


def test_a_stream_that_ends_without_done(cloud: Cloud) -> None:
    """A proxy on the way may end it politely."""
    cloud.modal.web.play(reply.reply_text(200, ": nothing\n\n", "text/event-stream"))

    assert code_of(executed(cloud, asked(), stream=True)) == "ERR_NETWORK"


@pytest.mark.parametrize("half", ["MODAL_PROXY_TOKEN_ID", "MODAL_PROXY_TOKEN_SECRET"])
def test_a_proxy_token_that_is_wrong(cloud: Cloud, half: str) -> None:
    """The details name both variables."""
    envelope = executed(cloud, asked(), {half: "wrong"})

    assert code_of(envelope) == "ERR_MODAL_AUTH"
    assert "MODAL_PROXY_TOKEN_ID" in envelope["error"]["details"][0]["message"]


def test_no_proxy_token(cloud: Cloud) -> None:
    """Nothing is sent in its place."""
    none = {"MODAL_PROXY_TOKEN_ID": "", "MODAL_PROXY_TOKEN_SECRET": ""}

    assert code_of(executed(cloud, asked(), none)) == "ERR_MODAL_AUTH"
    assert "modal-key" not in cloud.modal.web.requests[0].headers


# --- the container


def test_a_container_that_dies_in_a_run(cloud: Cloud) -> None:
    """Modal says so in plain text."""
    envelope = executed(cloud, asked(do="kill"))

    assert code_of(envelope) == "ERR_CRASHED"
    assert "modalctl logs" in envelope["error"]["details"][0]["message"] or "memory" in str(envelope["error"])


def test_a_redeployment_during_a_run(cloud: Cloud) -> None:
    """The run ends where it began, as the image that began it; the next one is the new image's, and so is drift."""
    cloud.deploy(STEPS)
    wish = steps(["wait", "gate"], ["write", "outputs/text.txt", "hello"], timeout_s=20)

    async def work() -> dict[str, Any]:
        host = replace(host_in(cloud.folder), environ=cloud.environ)
        running = asyncio.ensure_future(execute(wish, host, cloud.story.journal))
        await asyncio.to_thread(wait_until, (cloud.marks / "gate.began").exists, lambda: "the handler to begin")
        await asyncio.to_thread(cloud.deploy, STEPS, OTHER_DIGEST)
        (cloud.marks / "gate.go").touch()
        return await running

    envelope = asyncio.run(work())
    later = executed(cloud, steps(["write", "outputs/text.txt", "hello"], timeout_s=20))

    assert (envelope["status"], envelope["meta"]["image_digest"]) == ("success", DIGEST)
    assert code_of(later) == "ERR_DIGEST_DRIFT"


def _next_step(envelope: dict[str, Any]) -> str:
    from processor_runtime.errors import ERRORS, ErrorCode

    return ERRORS[ErrorCode(envelope["error"]["code"])].next_step

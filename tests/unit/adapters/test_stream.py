"""A stream, read by an adapter: its events in order, `done` last, and an error for whatever else comes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from typing import Any

import httpx2
import pytest

from apps.core.adapters import http
from apps.core.adapters.base import DONE, Event, Payload
from apps.core.adapters.drift import DriftChecked
from apps.core.adapters.errors import BadResponseError, DigestDriftError, NetworkError
from processor_runtime.envelopes import Envelope
from processor_runtime.errors import DeadlineError, ProcessorError
from processor_runtime.values import Digest

ONE, OTHER = "sha256:" + "1" * 64, "sha256:" + "2" * 64
PAYLOAD: Payload = {"ref": "ns/name@1", "execution_id": "e1"}
META = {"ref": "ns/name@1", "env_fingerprint": "cpu:1;memory:1Gi", "image_digest": ONE, "pinned": False}
FAILED = {"code": "ERR_RUNTIME", "message": "handler failed", "retryable": False, "details": []}
ENVELOPE = {"status": "error", "execution_id": "e1", "error": FAILED, "meta": META}
TOKEN = {"execution_id": "e1", "text": "a"}


def sse(*events: tuple[str, Any]) -> bytes:
    """Return *events* as they go over the wire, with a heartbeat before them."""
    parts = [f"event: {name}\ndata: {json.dumps(data)}\nid: {number}\n\n" for number, (name, data) in enumerate(events)]
    return (": ping\n\n" + "".join(parts)).encode()


def streamed(body: bytes, status: int = 200, content_type: str = "text/event-stream") -> list[Event]:
    """Return what an adapter yields for an answer."""

    async def read() -> list[Event]:
        response = httpx2.Response(status, content=body, headers={"content-type": content_type})
        transport = httpx2.MockTransport(lambda _: response)
        async with httpx2.AsyncClient(transport=transport, base_url="http://processor") as client:
            return [event async for event in http.stream(client, PAYLOAD, deadline_s=20)]

    return asyncio.run(read())


def test_events_come_in_order_and_done_is_the_last() -> None:
    """What a later version adds is passed on; what follows `done` is not read."""
    events = streamed(sse(("token", TOKEN), ("later", {"execution_id": "e1"}), ("done", ENVELOPE), ("token", TOKEN)))

    assert events == [("token", TOKEN), ("later", {"execution_id": "e1"}), ("done", ENVELOPE)]


def test_a_refusal_is_done_alone() -> None:
    """It is plain JSON, as `/run` answers it."""
    assert streamed(json.dumps(ENVELOPE).encode(), 500, "application/json") == [("done", ENVELOPE)]


@pytest.mark.parametrize(
    ("body", "error"),
    [
        pytest.param(sse(("token", TOKEN)), NetworkError, id="cut off"),
        pytest.param(sse(), NetworkError, id="empty"),
        pytest.param(sse(("token", {"execution_id": "e1"})), BadResponseError, id="a token without text"),
        pytest.param(sse(("token", TOKEN | {"execution_id": "e2"})), BadResponseError, id="another execution"),
        pytest.param(sse(("done", {"execution_id": "e1"})), BadResponseError, id="done without an envelope"),
        pytest.param(
            sse(("done", ENVELOPE | {"meta": META | {"ref": "ns/other@1"}})), BadResponseError, id="another processor"
        ),
        pytest.param(b"event: token\ndata: {\n\n", BadResponseError, id="no JSON"),
    ],
)
def test_whatever_else_comes_is_an_error(body: bytes, error: type[ProcessorError]) -> None:
    """A stream without its end is no success."""
    with pytest.raises(error):
        streamed(body)


def test_a_stream_that_never_ends_is_too_late() -> None:
    """The deadline holds for the whole of it, not for each event."""

    async def endless() -> AsyncGenerator[bytes, None]:
        while True:
            yield sse(("token", TOKEN))
            await asyncio.sleep(0)

    async def read() -> None:
        response = httpx2.Response(200, content=endless(), headers={"content-type": "text/event-stream"})
        transport = httpx2.MockTransport(lambda _: response)
        async with httpx2.AsyncClient(transport=transport, base_url="http://processor") as client:
            async for _ in http.stream(client, PAYLOAD, deadline_s=0.2):
                pass

    with pytest.raises(DeadlineError):
        asyncio.run(read())


class Streaming:
    """An adapter whose every run tells one token, and ends in an error of image ONE."""

    async def run(self, payload: Payload, *, timeout_s: float) -> Envelope:  # noqa: ARG002  # an adapter's signature
        """Return the end alone."""
        return ENVELOPE

    async def stream(self, payload: Payload, *, timeout_s: float) -> AsyncGenerator[Event, None]:  # noqa: ARG002  # as above
        """Yield both."""
        yield Event("token", TOKEN)
        yield Event(DONE, ENVELOPE)


@pytest.mark.parametrize(("expected", "names"), [(ONE, ["token", "done"]), (OTHER, ["token"])], ids=["same", "other"])
def test_another_image_never_says_done(expected: str, names: list[str]) -> None:
    """Its tokens were shown; its result is not."""
    seen: list[str] = []

    async def read() -> None:
        async for event in DriftChecked(Streaming(), Digest.parse(expected)).stream(PAYLOAD, timeout_s=1):
            seen.append(event.name)  # noqa: PERF401  # kept when the stream ends in an error

    if expected == ONE:
        asyncio.run(read())
    else:
        with pytest.raises(DigestDriftError):
            asyncio.run(read())
    assert seen == names

"""Only the expected image's answers pass."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from apps.core.adapters.base import DONE, Event
from apps.core.adapters.drift import DriftChecked
from apps.core.adapters.errors import BadResponseError, DigestDriftError, NetworkError
from processor_runtime.errors import Detail
from processor_runtime.values import Digest

EXPECTED = "sha256:" + "a" * 64


class Answering:
    """An adapter that brings back one envelope, or fails."""

    def __init__(self, digest: str, status: str = "success", failure: Exception | None = None) -> None:
        self.envelope = {"status": status, "meta": {"image_digest": digest}}
        self.failure = failure
        self.asked: list[tuple[dict[str, Any], float]] = []

    async def run(self, payload: dict[str, Any], *, timeout_s: float) -> dict[str, Any]:
        """Return the envelope."""
        self.asked.append((payload, timeout_s))
        if self.failure:
            raise self.failure
        return self.envelope

    async def stream(self, payload: dict[str, Any], *, timeout_s: float) -> AsyncGenerator[Event, None]:
        """Yield the envelope alone."""
        yield Event(DONE, await self.run(payload, timeout_s=timeout_s))


def run(inner: Answering, expected: str = EXPECTED) -> dict[str, Any]:
    """Return what the wrapper makes of the answer."""
    return asyncio.run(DriftChecked(inner, Digest.parse(expected)).run({"a": 1}, timeout_s=2))


@pytest.mark.parametrize("expected", [EXPECTED, f"ghcr.io/owner/image@{EXPECTED}"])
@pytest.mark.parametrize("status", ["success", "error"])
def test_the_expected_image_passes_in_either_spelling(expected: str, status: str) -> None:
    """What is compared is the digest, not where the image is stored."""
    inner = Answering(EXPECTED, status)

    assert run(inner, expected) is inner.envelope
    assert inner.asked == [({"a": 1}, 2)]


@pytest.mark.parametrize("status", ["success", "error"])
@pytest.mark.parametrize("digest", ["sha256:" + "b" * 64, "", "latest"])
def test_another_image_or_none_is_drift(digest: str, status: str) -> None:
    """No success is reported, and no error is believed, that the expected image did not give."""
    with pytest.raises(DigestDriftError) as refused:
        run(Answering(digest, status))

    assert refused.value.details[0]["path"] == "/meta/image_digest"
    assert EXPECTED in refused.value.details[0]["message"]


@pytest.mark.parametrize(
    ("path", "message", "kind"),
    [
        pytest.param("/meta/image_digest", "no digest", DigestDriftError, id="malformed"),
        pytest.param("/meta", '"image_digest" is a required property', DigestDriftError, id="missing"),
        pytest.param("/meta/ref", "must be another", BadResponseError, id="something else"),
    ],
)
def test_a_success_without_a_digest_is_no_envelope_and_drift(path: str, message: str, kind: type[Exception]) -> None:
    """What else is wrong with an answer stays what it is."""
    with pytest.raises(kind):
        run(Answering(EXPECTED, failure=BadResponseError(Detail(path=path, message=message))))


def test_a_failure_of_the_inner_adapter_is_passed_on() -> None:
    """Where nobody answered, nobody drifted."""
    with pytest.raises(NetworkError):
        run(Answering(EXPECTED, failure=NetworkError()))

"""Refuses the answer of any image but the expected one."""

from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager

from processor_runtime.envelopes import Envelope
from processor_runtime.errors import Detail
from processor_runtime.values import Digest, DigestError

from .base import DONE, Adapter, Event, Payload
from .errors import BadResponseError, DigestDriftError


class DriftChecked:
    """An adapter whose every answer, error envelopes included, comes from the expected image."""

    def __init__(self, inner: Adapter, expected: Digest) -> None:
        self._inner = inner
        self._expected = expected

    async def run(self, payload: Payload, *, timeout_s: float) -> Envelope:
        """Return what the inner adapter returns.

        Raises:
            DigestDriftError: the answer names another digest, or none.
            ProcessorError: as the inner adapter.
        """
        with self._told_apart():
            envelope = await self._inner.run(payload, timeout_s=timeout_s)
        self._check(envelope)
        return envelope

    async def stream(self, payload: Payload, *, timeout_s: float) -> AsyncGenerator[Event, None]:
        """Yield what the inner adapter yields; the last event only if its envelope is from the expected image.

        Raises:
            DigestDriftError: the envelope names another digest, or none.
            ProcessorError: as the inner adapter.
        """
        with self._told_apart():
            async for event in self._inner.stream(payload, timeout_s=timeout_s):
                if event.name == DONE:
                    self._check(event.data)
                yield event

    @contextmanager
    def _told_apart(self) -> Iterator[None]:
        """Tell a success without a digest, which is no envelope, from other answers that are none."""
        try:
            yield
        except BadResponseError as exc:
            if any(_is_about_the_digest(detail) for detail in exc.details):
                refuse_drift(None, self._expected, "/meta/image_digest")
            raise

    def _check(self, envelope: Envelope) -> None:
        refuse_drift(_digest(envelope), self._expected, "/meta/image_digest")


def refuse_drift(actual: Digest | None, expected: Digest, where: str) -> None:
    """Refuse any digest but the *expected* one; *where* says whose word *actual* is.

    Raises:
        DigestDriftError: it is another one, or ``None``.
    """
    if actual != expected:
        rule = f"must be {expected}, and is {actual or 'no digest'}"
        raise DigestDriftError(Detail(path=where, message=rule), expected=str(expected), actual=str(actual or ""))


def _is_about_the_digest(detail: Detail) -> bool:
    return detail["path"] == "/meta/image_digest" or (detail["path"] == "/meta" and "image_digest" in detail["message"])


def _digest(envelope: Envelope) -> Digest | None:
    try:
        return Digest.parse(envelope["meta"]["image_digest"])
    except DigestError:
        return None

"""Refuses the answer of any image but the expected one."""

from processor_runtime.envelopes import Envelope
from processor_runtime.errors import Detail
from processor_runtime.values import Digest, DigestError

from .base import Adapter, Payload
from .errors import DigestDriftError


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
        envelope = await self._inner.run(payload, timeout_s=timeout_s)
        actual = _digest(envelope)
        if actual != self._expected:
            rule = f"must be {self._expected}, and {actual or 'no digest'} answered"
            detail = Detail(path="/meta/image_digest", message=rule)
            raise DigestDriftError(detail, expected=str(self._expected), actual=str(actual or ""))
        return envelope


def _digest(envelope: Envelope) -> Digest | None:
    try:
        return Digest.parse(envelope["meta"]["image_digest"])
    except DigestError:
        return None

"""Lets no image run that `SIGNATURE_POLICY` does not accept."""

from collections.abc import AsyncGenerator, Mapping

from apps.core.attestations.policy import judge
from apps.core.registry import ImageReference, Ref
from processor_runtime.envelopes import Envelope

from .base import Adapter, Event, Payload
from .journal import Journal


class SignatureChecked:
    """An adapter that looks at what is attested of its image before it starts or asks it."""

    def __init__(
        self, inner: Adapter, image: ImageReference | None, ref: Ref, environ: Mapping[str, str], journal: Journal
    ) -> None:
        self._inner = inner
        self._image = image
        self._ref = ref
        self._environ = environ
        self._journal = journal

    async def run(self, payload: Payload, *, timeout_s: float) -> Envelope:
        """Return what the inner adapter returns.

        Raises:
            SignatureError: the policy does not accept the image; nothing was started.
            ProcessorError: as the inner adapter.
        """
        await check(self._image, self._ref, self._environ, self._journal)
        return await self._inner.run(payload, timeout_s=timeout_s)

    async def stream(self, payload: Payload, *, timeout_s: float) -> AsyncGenerator[Event, None]:
        """Yield what the inner adapter yields.

        Raises:
            SignatureError: the policy does not accept the image; nothing was started.
            ProcessorError: as the inner adapter.
        """
        await check(self._image, self._ref, self._environ, self._journal)
        async for event in self._inner.stream(payload, timeout_s=timeout_s):
            yield event


async def check(image: ImageReference | None, ref: Ref, environ: Mapping[str, str], journal: Journal) -> None:
    """Tell *journal* what a stricter policy would refuse *image* for; ``None`` is an image that is not pinned.

    Raises:
        SignatureError: the policy does not accept the image.
        ProcessorError: the policy is ``require``, and the image registry could not be asked.
    """
    warning = (await judge(image, ref, environ)).warning
    if warning is not None:
        journal.event("adapter.signature", level="warning", code=warning.code, details=warning.details)

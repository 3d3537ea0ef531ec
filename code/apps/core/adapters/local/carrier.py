"""One payload to one running container, and its envelope back."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from apps.core.adapters.base import Event, Payload
from apps.core.adapters.errors import CrashedError, NetworkError
from processor_runtime.envelopes import Envelope
from processor_runtime.errors import Detail, ProcessorError

from .running import Container

if TYPE_CHECKING:
    import httpx2

ANSWER_GRACE_S: Final = 5.0  # past the deadline the processor itself answers ERR_TIMEOUT: time for that to arrive
_EXIT_WAIT_S: Final = 1.0


class Carrier:
    """An adapter of one healthy container."""

    def __init__(self, container: Container, client: "httpx2.AsyncClient") -> None:
        self._container = container
        self._client = client

    async def run(self, payload: Payload, *, timeout_s: float) -> Envelope:
        """Return the envelope that the container answers.

        Raises:
            CrashedError: it died before it answered; the details say how.
            DeadlineError: no answer in time.
            BadResponseError: an answer that is not this execution's envelope.
            DockerError: the connection was lost, and so was the engine.
            NetworkError: the connection was lost, and the container lives.
        """
        from apps.core.adapters import http  # noqa: PLC0415  # imported while the container starts

        async with self._asking():
            return await http.ask(self._client, payload, deadline_s=timeout_s + ANSWER_GRACE_S)

    async def stream(self, payload: Payload, *, timeout_s: float) -> AsyncGenerator[Event, None]:
        """Yield what the run tells, ``done`` last.

        Raises:
            ProcessorError: as `run`.
        """
        from apps.core.adapters import http  # noqa: PLC0415  # as in `run`

        async with self._asking():
            async for event in http.stream(self._client, payload, deadline_s=timeout_s + ANSWER_GRACE_S):
                yield event

    @asynccontextmanager
    async def _asking(self) -> AsyncIterator[None]:
        if self._container.exited.done():  # somebody else may have its address by now
            raise await self._meaning(NetworkError(Detail(path="container", message="has ended")))
        try:
            yield
        except NetworkError as exc:
            raise await self._meaning(exc) from exc

    async def _meaning(self, lost: NetworkError) -> ProcessorError:
        """Return what the *lost* connection means: the container died, the engine did, or neither is known to have."""
        exited = self._container.exited
        # a connection breaks a moment before the engine reports the death behind it
        await asyncio.wait([exited], timeout=_EXIT_WAIT_S)
        if not exited.done():
            return lost
        try:
            return CrashedError(Detail(path="container", message=await self._container.ending()))
        except ProcessorError as exc:
            return exc

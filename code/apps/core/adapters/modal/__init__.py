"""Modal: not built yet, and it says so rather than falling back to something else."""

from collections.abc import AsyncGenerator

from apps.core.adapters.base import DONE, Event, Payload
from apps.core.adapters.errors import EndpointMissingError
from processor_runtime.envelopes import Envelope
from processor_runtime.errors import Detail


class ModalAdapter:
    """Will run a processor that is deployed on Modal."""

    async def run(self, payload: Payload, *, timeout_s: float) -> Envelope:  # noqa: ARG002  # an adapter's signature
        """Run nothing.

        Raises:
            EndpointMissingError: always; its detail names the adapter to use instead.
        """
        raise EndpointMissingError(
            Detail(path="--adapter", message="modal is not available yet: use --adapter process")
        )

    async def stream(self, payload: Payload, *, timeout_s: float) -> AsyncGenerator[Event, None]:
        """Stream nothing; raises as `run`."""
        yield Event(DONE, await self.run(payload, timeout_s=timeout_s))

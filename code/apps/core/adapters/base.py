"""What every adapter is: one payload in, its one envelope out."""

from typing import Any, Protocol

from processor_runtime.envelopes import Envelope

Payload = dict[str, Any]


class Adapter(Protocol):
    """Carries one payload to one processor, and its one envelope back."""

    async def run(self, payload: Payload, *, timeout_s: float) -> Envelope:
        """Return the envelope that the processor answered.

        Args:
            payload: The body of `POST /run`, with `ref`.
            timeout_s: Seconds that the run may take, from the handler's start.

        Raises:
            ProcessorError: there is no envelope: the processor was not
                started, not reached, not in time, or did not keep the contract.
        """
        ...

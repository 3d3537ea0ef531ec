"""What every adapter is: one payload in, its one envelope out."""

from collections.abc import AsyncGenerator
from typing import Any, Final, NamedTuple, Protocol

from processor_runtime.envelopes import Envelope

Payload = dict[str, Any]
DONE: Final = "done"


class Event(NamedTuple):
    """One event of a run: its *name*, and its *data*, an object with `execution_id` (CONTRACT §6)."""

    name: str
    data: dict[str, Any]


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

    def stream(self, payload: Payload, *, timeout_s: float) -> AsyncGenerator[Event, None]:
        """Yield what the run tells; the last event is ``done``, with the envelope as its data.

        Args:
            payload: The body of `POST /run-stream`, with `ref`.
            timeout_s: As for `run`.

        Raises:
            ProcessorError: as `run`; nothing follows.
        """
        ...

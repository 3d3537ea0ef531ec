"""What can go wrong with a call of the SDK: planted by tests, one entry a name of an RPC."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

from grpclib import GRPCError, Status

EVERY: Final = "*"  # plants a fault in every call that has none of its own


@dataclass(frozen=True, slots=True)
class Fail:
    """The call ends in *status*. UNKNOWN, INTERNAL, UNAVAILABLE, DEADLINE_EXCEEDED and CANCELLED are retried."""

    status: Status
    message: str = "planted"


@dataclass(frozen=True, slots=True)
class Slow:
    """The answer comes, *seconds* later."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Silent:
    """No answer comes, ever."""


Fault = Fail | Slow | Silent


async def play(fault: Fault | None) -> None:
    """Do what *fault* says, before the call is answered; nothing for ``None``.

    Raises:
        GRPCError: the fault is a failure.
    """
    match fault:
        case Fail(status, message):
            raise GRPCError(status, message)
        case Slow(seconds):
            await asyncio.sleep(seconds)
        case Silent():
            await asyncio.Event().wait()
        case None:
            pass

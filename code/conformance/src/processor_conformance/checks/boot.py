"""Settings are read and checked once, at start."""

from __future__ import annotations

import asyncio

from processor_conformance.catalogue import check
from processor_conformance.outcome import brief, expect
from processor_conformance.service import Service

MALFORMED = {
    "PROCESSOR_MAX_BODY_BYTES": "many",
    "PROCESSOR_QUEUE": "-1",
    "PROCESSOR_GRACE_S": "soon",
    "PROCESSOR_MODE": "dream",
    "PROCESSOR_WRITE_ROOTS": "relative/path",
}
END_S = 20.0


@check("C-BOOT-01", "7", start=True)
async def malformed(service: Service) -> None:
    """A malformed setting stops the service with one `http.boot.error` line naming it."""
    await asyncio.gather(*(_expect_stopped(service, name, value) for name, value in MALFORMED.items()))


async def _expect_stopped(service: Service, name: str, value: str) -> None:
    sent = f"a start with {name}={value}"
    async with service.fresh({name: value}, until="nothing") as other:
        status = await other.process.ended(END_S)
        expect(status != 0, sent=sent, expected="an exit status other than 0", seen=status)
        lines = other.process.events(event="http.boot.error")
        told = brief(bytes(other.process.stderr).decode(errors="replace"))
        expect(len(lines) == 1, sent=sent, expected="one http.boot.error line on stderr", seen=told)
        expect(name in str(lines[0]), sent=sent, expected=f"{name} named in the http.boot.error line", seen=lines[0])


@check("C-BOOT-02", "7", start=True)
async def malformed_digest(service: Service) -> None:
    """A malformed `IMAGE_DIGEST` does not stop the service."""
    async with service.another({"IMAGE_DIGEST": "registry.example/kit:latest"}) as other:
        (await other.send("GET", "/healthz")).expect_ok()

"""`mock` and `real`: what is served, and what CI forbids. No check here runs anything in `real`."""

from __future__ import annotations

from processor_conformance.catalogue import check
from processor_conformance.service import ABSENT, Service


@check("C-MODE-01", "2")
async def neither(service: Service) -> None:
    """`mode` other than exactly `mock` or `real` is 400 `ERR_MODE_INVALID`."""
    for mode in (ABSENT, "", None, "MOCK", "dream", "mock ", 1, True, ["mock"]):
        answer = await service.run(service.probe(mode=mode))
        answer.expect_refused(400, "ERR_MODE_INVALID", "mode must be mock or real and served here")


@check("C-MODE-02", "1", start=True)
async def mock_alone(service: Service) -> None:
    """With `PROCESSOR_MODE=mock`, `real` is 400 `ERR_MODE_INVALID`, and `/contract` lists `mock` alone."""
    async with service.another({"PROCESSOR_MODE": "mock"}) as other:
        await _expect_only(other, served="mock", refused="real")


@check("C-MODE-03", "1", start=True)
async def real_alone(service: Service) -> None:
    """With `PROCESSOR_MODE=real`, `mock` is 400 `ERR_MODE_INVALID`, and `/contract` lists `real` alone."""
    async with service.fresh({"PROCESSOR_MODE": "real"}, until="listening") as other:
        await _expect_only(other, served="real", refused="mock")


async def _expect_only(service: Service, *, served: str, refused: str) -> None:
    (await service.run(service.probe(mode=refused))).expect_refused(400, "ERR_MODE_INVALID")
    (await service.run(service.probe(mode=served))).expect_refused(400, "ERR_REF_MISMATCH")
    page = await service.send("GET", "/contract")
    if page.status == 200:
        page.expect(page.document.get("modes") == [served], f'modes ["{served}"]', page.document.get("modes"))


@check("C-MODE-04", "1", start=True)
async def both(service: Service) -> None:
    """With `PROCESSOR_MODE` unset, both modes are served."""
    async with service.fresh({"PROCESSOR_MODE": None}, until="listening") as other:
        for mode in ("mock", "real"):
            (await other.run(other.probe(mode=mode))).expect_refused(400, "ERR_REF_MISMATCH")


@check("C-MODE-05", "2", start=True)
async def in_ci(service: Service) -> None:
    """With `CI` set, `real` is 403 `ERR_CI_SAFETY`, and `mock` is served."""
    async with service.fresh({"PROCESSOR_MODE": None, "CI": "kit"}, until="listening") as other:
        answer = await other.run(other.probe(mode="real"))
        answer.expect_refused(403, "ERR_CI_SAFETY", "mode=real is blocked in CI")
        (await other.run(other.probe(mode="mock"))).expect_refused(400, "ERR_REF_MISMATCH")


@check("C-MODE-06", "2", start=True)
async def not_in_ci(service: Service) -> None:
    """`CI` counts as unset when it is `0`, `false`, `no` or `off`, in any case, trimmed."""
    for value in ("0", " Off "):
        async with service.fresh({"PROCESSOR_MODE": None, "CI": value}, until="listening") as other:
            (await other.run(other.probe(mode="real"))).expect_refused(400, "ERR_REF_MISMATCH")

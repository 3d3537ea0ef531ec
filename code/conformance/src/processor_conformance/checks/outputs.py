"""Outputs that break a rule, which only a handler can do."""

from __future__ import annotations

from processor_conformance.catalogue import check
from processor_conformance.service import Service


async def _expect(service: Service, name: str, message: str) -> None:
    answer = await service.run(service.request(name))
    answer.expect_refused(500, f"ERR_{name.upper()}", message)


@check("C-ART-13", "4", examples=["output_path"])
async def path(service: Service) -> None:
    """An output that does not lie under `outputs/` is 500 `ERR_OUTPUT_PATH`."""
    await _expect(service, "output_path", "output path not allowed")


@check("C-ART-14", "4", examples=["output_duplicate"])
async def duplicate(service: Service) -> None:
    """An output written twice is 500 `ERR_OUTPUT_DUPLICATE`."""
    await _expect(service, "output_duplicate", "output written twice")


@check("C-ART-15", "4", examples=["output_missing"])
async def missing(service: Service) -> None:
    """A declared output that was not written is 500 `ERR_OUTPUT_MISSING`."""
    await _expect(service, "output_missing", "declared output not written")


@check("C-ART-16", "4", examples=["output_undeclared"])
async def undeclared(service: Service) -> None:
    """An output that is not declared is 500 `ERR_OUTPUT_UNDECLARED`."""
    await _expect(service, "output_undeclared", "output not declared")

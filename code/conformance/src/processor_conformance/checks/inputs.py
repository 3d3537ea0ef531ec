"""`inputs`, judged by the registry's schema: made by hypothesis from what `/contract` says, and broken rule by rule."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

from processor_conformance.catalogue import check
from processor_conformance.generate import broken_inputs
from processor_conformance.outcome import NotApplicableError, NotCheckedError, expect
from processor_conformance.service import ABSENT, Service

MISMATCH = "inputs do not match the schema"
MANY = 25
FEW = 6


@check("C-REQ-37", "2")
async def plainly_wrong(service: Service) -> None:
    """`inputs` that are absent, or no object, are 400 `ERR_INPUTS` "inputs do not match the schema"."""
    for value in (ABSENT, None, "", "kit", 1, True, [], [{}]):
        answer = await service.run(service.probe(ref=ABSENT, inputs=value))
        answer.expect_refused(400, "ERR_INPUTS", MISMATCH)


@contextlib.asynccontextmanager
async def _not_running(service: Service) -> AsyncIterator[tuple[Service, int]]:
    """Give a service that runs nothing, where the kit can start one, and how many inputs it can be asked."""
    if service.can_start:
        async with service.another({"IMAGE_DIGEST": None}) as other:
            yield other, MANY
    else:
        yield service, FEW


async def _expect_all_valid(service: Service) -> None:
    async with _not_running(service) as (other, count):
        for inputs in service.made_inputs[:count]:
            answer = await other.run(other.probe(ref=ABSENT, inputs=inputs, timeout_s=5))
            answer.expect(answer.message != MISMATCH, "inputs that are valid by the announced schema to be accepted")


@check("C-REQ-38", "2", capabilities=["contract"])
async def made_valid(service: Service) -> None:
    """Inputs made from the announced schema are found valid."""
    await _expect_all_valid(service)


@check("C-REQ-39", "2", capabilities=["contract"])
async def made_broken(service: Service) -> None:
    """Inputs that break the announced schema, in every place it has a rule, are refused."""
    made = list(service.made_inputs[:FEW])
    with contextlib.suppress(NotCheckedError):
        made.append(service.request()["inputs"])
    schema = service.facts.schema or {}
    broken = dict(pair for inputs in made for pair in broken_inputs(schema, inputs))  # one for each rule and place
    if not broken:
        raise NotCheckedError("a schema that the kit can break")
    async with _not_running(service) as (other, _):
        for what, inputs in broken.items():
            answer = await other.run(other.probe(ref=ABSENT, inputs=inputs))
            expect(
                (answer.status, answer.code, answer.message) == (400, "ERR_INPUTS", MISMATCH),
                sent=f"{answer.sent} ({what})",
                expected=f'400 ERR_INPUTS "{MISMATCH}"',
                seen=answer.in_short,
            )


@check("C-REQ-40", "2", capabilities=["contract"])
async def format_and_default(service: Service) -> None:
    """`format` and `default` are annotations: they neither refuse nor fill in."""
    if not _has_key(service.facts.schema, {"format", "default"}):
        raise NotApplicableError("its schema has neither `format` nor `default`")
    # the kit's own generator knows neither word, so what it makes breaks formats and leaves defaults out
    await _expect_all_valid(service)


def _has_key(value: Any, keys: set[str]) -> bool:
    if isinstance(value, dict):
        return bool(keys & value.keys()) or any(_has_key(child, keys) for child in value.values())
    return isinstance(value, list) and any(_has_key(child, keys) for child in value)

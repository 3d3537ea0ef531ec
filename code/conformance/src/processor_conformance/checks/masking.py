"""Secrets never leave: `***` in log lines, envelopes, events, receipts and the mirror."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from processor_conformance.catalogue import check
from processor_conformance.outcome import brief, expect
from processor_conformance.service import Request, Service
from processor_conformance.wire import Answer

NEEDS = ["valid"]
MASK = "***"


async def _expect_hidden(service: Service, request: Request, answer: Answer, values: Iterable[str]) -> None:
    """Return if no line, receipt or mirror of the run holds one of *values*, and the mask stands there instead."""
    own = {"execution_id": request["execution_id"]}
    await service.process.wait_for_event(event="http.run.settle", **own)
    places = {"the envelope": answer.body, "a line on stderr": bytes(service.process.stderr)}
    for name in ("receipt.json", "logs/trace.ndjson"):
        path = service.folder(request) / name
        places |= {name: path.read_bytes()} if path.exists() else {}
    for value in values:
        found = [name for name, content in places.items() if value.encode() in content]
        answer.expect(not found, f"{MASK} instead of the secret", f"the secret in {found}")
    lines = json.dumps(service.process.events(**own))
    answer.expect(MASK in lines, f"{MASK} where the secret stood in the run's lines", brief(lines))


def _telling(value: str) -> dict[str, object]:
    return {"plain": value, "nested": [{"deep": [f"a{value}b", value + value]}]}


@check("C-MASK-01", "7", start=True, examples=NEEDS)
async def token(service: Service) -> None:
    """The value of `PROCESSOR_TOKEN` becomes `***` in log lines and receipts, nested values included."""
    value = service.invented("masked-token")
    async with service.another({"PROCESSOR_TOKEN": value}) as other:
        request, answer = await other.success(context=_telling(value))
        await other.send("GET", f"/kit-{value}")
        receipt = other.read_json(request, "receipt.json")
        told = receipt.get("context", {})
        answer.expect(told.get("plain") == MASK and "nested" in told, f"{MASK} in the receipt's context", told)
        await _expect_hidden(other, request, answer, [value])


@check("C-MASK-02", "7", start=True, examples=NEEDS)
async def secrets(service: Service) -> None:
    """The values of declared secrets become `***` in log lines and receipts."""
    values = service.secret_values()
    async with service.another(values) as other:
        request, answer = await other.success(context={name: _telling(value) for name, value in values.items()})
        await _expect_hidden(other, request, answer, values.values())


@check("C-MASK-03", "7", start=True, examples=NEEDS)
async def what_stays(service: Service) -> None:
    """Keys, `path`, `sha256` and `execution_id` are never masked."""
    value = service.invented("masked-id")
    async with service.another({"PROCESSOR_TOKEN": value}) as other:
        request, answer = await other.success(execution_id=value, context={value: 1, "path": value, "sha256": value})
        receipt = other.read_json(request, "receipt.json")
        for name, document in (("the envelope", answer.envelope), ("the receipt", receipt)):
            told = document.get("execution_id")
            answer.expect(told == value, f"execution_id as it is in {name}", told)
            paths = [row["path"] for row in document["outputs"] if f"/{value}/" not in row["path"]]
            answer.expect(not paths, f"paths as they are in {name}", paths)
        wanted = {value: 1, "path": value, "sha256": value}
        answer.expect(receipt["context"] == wanted, "keys, path and sha256 as they are", receipt["context"])


@check("C-MASK-04", "7", start=True, examples=["reveal"])
async def revealed(service: Service) -> None:
    """A secret that the handler tells is masked everywhere but in artifacts, which are not rewritten.

    That is in the envelope, events, log lines, receipt and mirror.
    """
    values = service.secret_values()
    async with service.another({"PROCESSOR_MODE": None, **values}) as other:
        request = other.request("reveal", mode="real")
        answer = await other.run(request)
        answer.expect_success()
        await _expect_hidden(other, request, answer, values.values())
        outputs = b"".join(_read(other.host(row["path"])) for row in answer.envelope["outputs"])
        kept = any(value.encode() in outputs for value in values.values())
        answer.expect(kept, "the secret as it is in an output", "none")
        if "stream" in other.facts.capabilities:
            streamed = await other.stream(other.request("reveal", mode="real"))
            found = [
                event.name for event in streamed.told.events if any(value in event.text for value in values.values())
            ]
            expect(
                not found, sent=streamed.answer.sent, expected=f"{MASK} in every event", seen=f"the secret in {found}"
            )


def _read(path: Path) -> bytes:
    return path.read_bytes() if path.is_file() else b""

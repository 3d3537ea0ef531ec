"""Which rule answers where several are broken, and what a refusal tells and leaves behind."""

from __future__ import annotations

import contextlib
import json
from typing import Any

from processor_conformance.catalogue import check
from processor_conformance.generate import validator
from processor_conformance.outcome import NotCheckedError, expect
from processor_conformance.service import ABSENT, Request, Service
from processor_conformance.wire import Answer

LARGEST_SENT = 64 * 1024 * 1024
SENTINEL = "kit-sentinel-7f3a9c"
# what is broken, in the order in which it is looked at, and what is then said
FIELDS: list[tuple[str, Any, int, str, str]] = [
    ("execution_id", "-", 400, "ERR_INPUTS", "invalid execution_id"),
    ("write_prefix", "kit", 400, "ERR_WRITE_PREFIX", ""),
    ("schema", "v0", 400, "ERR_INPUTS", "unsupported schema"),
    ("mode", "dream", 400, "ERR_MODE_INVALID", ""),
    ("ref", "kit/none@1", 400, "ERR_REF_MISMATCH", ""),
    ("timeout_s", 0, 400, "ERR_INPUTS", "invalid timeout_s"),
    ("context", 0, 400, "ERR_INPUTS", "invalid context"),
    ("kit-unknown", 0, 400, "ERR_INPUTS", "unknown field"),
    ("inputs", 0, 400, "ERR_INPUTS", "inputs do not match the schema"),
]
TEXT = [("Content-Type", "text/plain")]


@check("C-REQ-50", "2")
async def first_rule(service: Service) -> None:
    """The first rule broken answers, from the media type to `inputs`."""
    broken = {name: value for name, value, *_ in FIELDS}
    cut = json.dumps(service.probe(**broken)).encode()[:-1]
    limit = service.facts.limit("max_body_bytes", 16 * 1024 * 1024)
    if limit <= LARGEST_SENT:
        large = cut.ljust(limit + 1)
        answer = await service.run(large, headers=TEXT, note="everything wrong")
        answer.expect_refused(415, "ERR_INPUTS")
        answer = await service.run(large, note="everything wrong but the media type")
        answer.expect_refused(413, "ERR_INPUTS")
    (await service.run(cut)).expect_refused(400, "ERR_INPUTS", "Invalid JSON body")
    for name, _, status, code, message in FIELDS:
        answer = await service.run(service.probe(**{"ref": ABSENT, **broken}))
        answer.expect_refused(status, code, message)
        del broken[name]


@check("C-REQ-51", "2", start=True, examples=["valid"])
async def late_rules(service: Service) -> None:
    """`mode`, CI guard, `ref`, `inputs`, `IMAGE_DIGEST` and secrets are looked at in this order."""
    names: dict[str, str | None] = dict.fromkeys(service.facts.secrets("required"))
    bare: dict[str, str | None] = {"PROCESSOR_MODE": None, "IMAGE_DIGEST": None, **names}
    wrong: dict[str, Any] = {"ref": "kit/none@1", "inputs": 0}
    async with service.fresh({"CI": "kit", **bare}, until="listening") as other:
        (await other.run(other.request(mode="dream", **wrong))).expect_refused(400, "ERR_MODE_INVALID")
        (await other.run(other.request(mode="real", **wrong))).expect_refused(403, "ERR_CI_SAFETY")
    async with service.fresh(bare, until="listening") as other:
        (await other.run(other.request(mode="real", **wrong))).expect_refused(400, "ERR_REF_MISMATCH")
        (await other.run(other.request(mode="real", inputs=0))).expect_refused(400, "ERR_INPUTS")
        (await other.run(other.request(mode="real"))).expect_refused(500, "ERR_IMAGE_DIGEST_MISSING")


@check("C-REQ-52", "2")
async def details(service: Service) -> None:
    """`error.details` has at most 20 reasons, each a path and a message."""
    unknown = {f"kit-unknown-{number}": 0 for number in range(40)}
    answer = await service.run(service.probe(ref=ABSENT, **unknown))
    answer.expect_refused(400, "ERR_INPUTS", "unknown field")
    _expect_reasons(answer)
    answer = await service.run(service.probe(ref=ABSENT, inputs={"schema": "v1", "params": unknown, **unknown}))
    _expect_reasons(answer)


def _expect_reasons(answer: Answer) -> None:
    told = answer.envelope.get("error", {}).get("details")
    answer.expect(isinstance(told, list) and len(told) <= 20, "at most 20 details")
    good = all(
        isinstance(row, dict) and isinstance(row.get("path"), str) and isinstance(row.get("message"), str)
        for row in told
    )
    answer.expect(good, "details with a path and a message each", told)


@check("C-REQ-53", "2")
async def no_values(service: Service) -> None:
    """`error.details` and messages name paths and rules, never values."""
    changes: list[dict[str, Any]] = [
        {"execution_id": f"-{SENTINEL}"},
        {"write_prefix": f"/{SENTINEL}/"},
        {"schema": SENTINEL},
        {"mode": SENTINEL},
        {"ref": f"kit/{SENTINEL}@1"},
        {"ref": ABSENT, "timeout_s": SENTINEL},
        {"ref": ABSENT, "context": SENTINEL},
        {"ref": ABSENT, "kit-unknown": SENTINEL},
        {"ref": ABSENT, "inputs": SENTINEL},
        {"ref": ABSENT, "inputs": {"schema": SENTINEL, "params": SENTINEL}},
    ]
    with contextlib.suppress(NotCheckedError):
        changes += [{"ref": ABSENT, "inputs": inputs} for inputs in _spoilt(service.request()["inputs"])]
    for change in changes:
        inputs = change.get("inputs")
        schema = service.facts.schema
        if isinstance(inputs, dict) and (schema is None or validator(schema).is_valid(inputs)):
            continue  # it would run
        answer = await service.run(service.probe(**change))
        answer.expect(answer.status >= 400, "a refusal")
        answer.expect(SENTINEL.encode() not in answer.body, "no value of the request in the answer")
    answer = await service.run(f'{{"kit": {SENTINEL}'.encode())
    answer.expect(SENTINEL.encode() not in answer.body, "nothing of the body in the answer")


def _spoilt(value: Any) -> list[Any]:
    """Return copies of *value*, in each of which one part is the sentinel."""
    if isinstance(value, dict):
        return [
            {**value, key: other} for key, child in value.items() for other in (SENTINEL, [SENTINEL], *_spoilt(child))
        ]
    if isinstance(value, list):
        return [
            [*value[:at], other, *value[at + 1 :]]
            for at, child in enumerate(value)
            for other in (SENTINEL, *_spoilt(child))
        ]
    return []


@check("C-REQ-54", "2", artifacts=True)
async def nothing_written(service: Service) -> None:
    """What is refused writes nothing and makes no directory."""
    changes: list[dict[str, Any]] = [
        {"schema": "v0"},
        {"mode": "dream"},
        {"ref": "kit/none@1"},
        *({"ref": ABSENT, name: value} for name, value, *_ in FIELDS[5:]),
    ]
    for change in changes:
        request: Request = service.probe(**change)
        answer = await service.run(request)
        answer.expect(answer.status >= 400, "a refusal")
        folder = service.folder(request)
        expect(not folder.exists(), sent=answer.sent, expected="no directory", seen=f"{folder.name}/ exists")

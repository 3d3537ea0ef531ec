"""`GET /contract`: what the image says of itself, and whether it is so."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from processor_conformance.catalogue import check
from processor_conformance.generate import validator
from processor_conformance.outcome import NotApplicableError, brief
from processor_conformance.service import Service
from processor_conformance.wire import Answer

HERE = ["contract"]
REF = r"^[a-z][a-z0-9]{0,31}/[a-z][a-z0-9_]{0,47}@[1-9][0-9]*$"
_WORDS = {"type": "array", "items": {"type": "string"}}
_SECRETS = {
    "type": "array",
    "items": {
        "type": "object",
        "required": ["name", "set"],
        "properties": {"name": {"type": "string", "minLength": 1}, "set": {"type": "boolean"}},
    },
}
_COUNT = {"type": "integer", "minimum": 0}
SHAPE: dict[str, Any] = {
    "type": "object",
    "required": [
        "contract", "ref", "capabilities", "modes", "inputs", "outputs", "runtime", "limits", "secrets",
    ],
    "properties": {
        "contract": {"const": "v1"},
        "ref": {"type": "string"},
        "capabilities": _WORDS,
        "modes": {"type": "array", "minItems": 1, "items": {"enum": ["mock", "real"]}},
        "inputs": {"type": ["object", "boolean"]},
        "outputs": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["path", "mime", "description"],
                "properties": {key: {"type": "string"} for key in ("path", "mime", "description")},
            },
        },
        "runtime": {"type": "object", "required": ["cpu", "memory_gb", "timeout_s"]},
        "limits": {
            "type": "object",
            "required": ["max_body_bytes", "concurrency", "queue", "timeout_s"],
            "properties": {
                "max_body_bytes": _COUNT,
                "concurrency": {"type": "integer", "minimum": 1},
                "queue": _COUNT,
                "timeout_s": {"type": "number", "exclusiveMinimum": 0},
            },
        },
        "secrets": {
            "type": "object",
            "required": ["required", "optional"],
            "properties": {"required": _SECRETS, "optional": _SECRETS},
        },
    },
}  # fmt: skip


async def _page(service: Service) -> tuple[Answer, dict[str, Any]]:
    answer = await service.send("GET", "/contract")
    answer.expect(answer.status == 200 and isinstance(answer.document, dict), "200 and a JSON object")
    return answer, answer.document


@check("C-CONTRACT-01", "1", capabilities=HERE)
async def shape(service: Service) -> None:
    """`GET /contract` is 200 and has all of its parts in their shapes.

    These are `contract` ("v1"), `ref`, `capabilities`, `modes`, `inputs`, `outputs`, `runtime`, `limits` and `secrets`.
    """
    answer, page = await _page(service)
    wrong = [f"{error.instance_path}: {error.message}" for error in validator(SHAPE).iter_errors(page)]
    answer.expect(not wrong, "the parts that §1 names, in their shapes", brief("; ".join(wrong)))


@check("C-CONTRACT-02", "1", capabilities=HERE)
async def ref(service: Service) -> None:
    """Its `ref` is well-formed, and the one in the `meta` of envelopes."""
    answer, page = await _page(service)
    answer.expect(re.search(REF, str(page.get("ref"))), "a ref such as ns/name@1", page.get("ref"))
    told = (await service.run(service.probe())).envelope.get("meta", {}).get("ref")
    answer.expect(page.get("ref") == told, f"the ref of envelopes, {told}", page.get("ref"))


@check("C-CONTRACT-03", "8", capabilities=HERE)
async def inputs_schema(service: Service) -> None:
    """Its `inputs` is a Draft-07 schema whose `$ref`s stay inside it."""
    answer, page = await _page(service)
    answer.expect(isinstance(page.get("inputs"), dict | bool), "a schema under `inputs`", page.get("inputs"))
    outside = [target for target in _references(page.get("inputs")) if not target.startswith("#")]
    answer.expect(not outside, "$refs that begin with #", outside)
    try:
        validator(page.get("inputs", {}))
    except ValueError as exc:
        answer.expect(False, "a Draft-07 schema", str(exc))  # noqa: FBT003  # what is seen says it all


def _references(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        if isinstance(schema.get("$ref"), str):
            yield schema["$ref"]
        for child in schema.values():
            yield from _references(child)
    elif isinstance(schema, list):
        for child in schema:
            yield from _references(child)


@check("C-CONTRACT-04", "1", capabilities=HERE)
async def capabilities(service: Service) -> None:
    """It announces what is there: `stream` means `/run-stream` exists, `cancel` means `DELETE /run/{id}` exists."""
    _, page = await _page(service)
    if not {"stream", "cancel"} & set(page.get("capabilities", [])):
        raise NotApplicableError("it announces neither")
    if "stream" in page.get("capabilities", []):
        answer = await service.send("POST", "/run-stream", service.probe())
        answer.expect(answer.code == "ERR_REF_MISMATCH", "a route that takes requests as /run does")
    if "cancel" in page.get("capabilities", []):
        answer = await service.send("PUT", "/run/kit-none")
        answer.expect(answer.status == 405 and "DELETE" in (answer.header("allow") or ""), "a route that allows DELETE")


@check("C-CONTRACT-05", "1", capabilities=HERE)
async def nothing_reserved(service: Service) -> None:
    """It announces nothing reserved: no capability `status`, `artifacts` or `batch`, no `url` in an output's row."""
    answer, page = await _page(service)
    announced = {"status", "artifacts", "batch"} & set(page.get("capabilities", []))
    answer.expect(not announced, "no reserved capability", sorted(announced))
    rows = [row for row in page.get("outputs", []) if "url" in row]
    answer.expect(not rows, "no `url` in an output's row", rows)


@check("C-CONTRACT-06", "5", capabilities=HERE)
async def limits_of_the_runtime(service: Service) -> None:
    """Its limits are the runtime's: `concurrency` (default 1) and `timeout_s` as in `runtime`."""
    answer, page = await _page(service)
    runtime, limits = page.get("runtime", {}), page.get("limits", {})
    wanted = (runtime.get("concurrency", 1), runtime.get("timeout_s"))
    told = (limits.get("concurrency"), limits.get("timeout_s"))
    answer.expect(told == wanted, f"concurrency and timeout_s of the runtime, {wanted}", told)


@check("C-CONTRACT-07", "1", capabilities=HERE, start=True)
async def limits_of_the_settings(service: Service) -> None:
    """Its limits follow `PROCESSOR_MAX_BODY_BYTES` and `PROCESSOR_QUEUE`, whose defaults are 16 MiB and 16."""
    async with service.another({"PROCESSOR_MAX_BODY_BYTES": "4096", "PROCESSOR_QUEUE": "1"}) as small:
        await _expect_limits(small, 4096, 1)
    async with service.another({"PROCESSOR_MAX_BODY_BYTES": None, "PROCESSOR_QUEUE": None}) as usual:
        await _expect_limits(usual, 16 * 1024 * 1024, 16)


async def _expect_limits(service: Service, max_body_bytes: int, queue: int) -> None:
    answer, page = await _page(service)
    limits = page.get("limits", {})
    told = (limits.get("max_body_bytes"), limits.get("queue"))
    answer.expect(told == (max_body_bytes, queue), f"max_body_bytes {max_body_bytes} and queue {queue}", told)


@check("C-CONTRACT-08", "1", capabilities=HERE, start=True)
async def secrets(service: Service) -> None:
    """It says of each secret whether it is set, and never its value."""
    values = service.secret_values()
    async with service.another(values) as knowing:
        answer, page = await _page(knowing)
        answer.expect(_set(page) == dict.fromkeys(values, True), "every secret as set", _set(page))
        told = [name for name, value in values.items() if value.encode() in answer.body]
        answer.expect(not told, "no secret's value", f"the value of {told}")
    async with service.another(dict.fromkeys(values)) as unknowing:
        answer, page = await _page(unknowing)
        answer.expect(_set(page) == dict.fromkeys(values, False), "every secret as not set", _set(page))


def _set(page: dict[str, Any]) -> dict[str, bool]:
    secrets_ = page.get("secrets", {})
    return {row["name"]: row["set"] for kind in ("required", "optional") for row in secrets_.get(kind, [])}

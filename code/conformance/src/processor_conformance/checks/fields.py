"""The fields of a request but for `write_prefix`, `mode` and `inputs`.

A request that is meant to be accepted breaks a later rule, so that nothing runs.
"""

from __future__ import annotations

from processor_conformance.catalogue import check
from processor_conformance.service import ABSENT, Service
from processor_conformance.wire import Answer

UNKNOWN = "kit-unknown"
FOUR_KIB = 4096


def _expect_inputs_error(answer: Answer, message: str) -> None:
    answer.expect_refused(400, "ERR_INPUTS", message)


@check("C-REQ-17", "2")
async def id_missing(service: Service) -> None:
    """Without `execution_id` (absent or `""`): 400 `ERR_INPUTS` "missing execution_id"."""
    for value in (ABSENT, ""):
        _expect_inputs_error(await service.run(service.probe(execution_id=value)), "missing execution_id")


@check("C-REQ-18", "2")
async def id_invalid(service: Service) -> None:
    """An `execution_id` that does not match as a whole, or is no string, is "invalid execution_id" and not echoed."""
    values = [
        "-a",
        ".a",
        "_a",
        "..",
        "a/b",
        "a b",
        "a\n",
        "\na",
        "é",
        "a\x00",
        "a" * 129,
        "{execution_id}",
        None,
        1,
        ["a"],
    ]
    for value in values:
        answer = await service.run(service.probe(execution_id=value))
        _expect_inputs_error(answer, "invalid execution_id")
        answer.expect(answer.envelope.get("execution_id") == "", 'execution_id ""')


@check("C-REQ-19", "2")
async def id_valid(service: Service) -> None:
    """Every form of `execution_id` that matches is accepted: one character, 128, with `.`, `_` and `-`."""
    for value in ("0", "Z", "a.b_c-d", "a..", "A" * 128):
        answer = await service.run(service.probe(execution_id=value))
        answer.expect_refused(400, "ERR_REF_MISMATCH")


@check("C-REQ-20", "2")
async def id_echoed(service: Service) -> None:
    """`execution_id` is echoed once it was found valid, whatever is refused after it; before that it is `""`."""
    for change in (
        {"write_prefix": ""},
        {"write_prefix": "/etc/"},
        {"schema": "v2"},
        {"mode": "dream"},
        {"ref": "kit/none@1"},
        {"ref": ABSENT, "timeout_s": 0},
        {"ref": ABSENT, "context": 1},
        {"ref": ABSENT, UNKNOWN: 1},
        {"ref": ABSENT, "inputs": 1},
    ):
        request = service.probe(**change)
        answer = await service.run(request)
        told = answer.envelope.get("execution_id")
        answer.expect(told == request["execution_id"], f"execution_id {request['execution_id']}", told)
    for headers in (None, [("Content-Type", "text/plain")]):
        answer = await service.run(b'{"execution_id":"kit-1"', headers=headers)
        answer.expect(answer.envelope.get("execution_id") == "", 'execution_id ""')


@check("C-REQ-32", "2")
async def schema(service: Service) -> None:
    """`schema` other than "v1" is 400 `ERR_INPUTS` "unsupported schema"; so is none."""
    for value in (ABSENT, "", None, "v2", "V1", "v1 ", 1, ["v1"]):
        _expect_inputs_error(await service.run(service.probe(schema=value)), "unsupported schema")


@check("C-REQ-33", "2")
async def ref(service: Service) -> None:
    """`ref`, if given, must be the image's own: else 400 `ERR_REF_MISMATCH`, for `""`, `null` and numbers too."""
    for value in ("kit/none@1", "", None, 1, [service.facts.ref], f"{service.facts.ref} "):
        answer = await service.run(service.probe(ref=value))
        answer.expect_refused(400, "ERR_REF_MISMATCH", "this image serves another ref")
    own = service.facts.ref or (await service.run(service.probe())).envelope.get("meta", {}).get("ref")
    _expect_inputs_error(await service.run(service.probe(ref=own, **{UNKNOWN: 1})), "unknown field")


@check("C-REQ-34", "2")
async def timeout_s(service: Service) -> None:
    """`timeout_s` that is no number above 0 is 400 `ERR_INPUTS` "invalid timeout_s"."""
    wrong: tuple[object, ...] = (0, -1, 0.0, "1", "", None, True, [1], {})
    for value in wrong:
        answer = await service.run(service.probe(ref=ABSENT, timeout_s=value, **{UNKNOWN: 1}))
        _expect_inputs_error(answer, "invalid timeout_s")
    for value in (0.001, 1, 2.5, 1e9):
        answer = await service.run(service.probe(ref=ABSENT, timeout_s=value, **{UNKNOWN: 1}))
        _expect_inputs_error(answer, "unknown field")


@check("C-REQ-35", "2")
async def context(service: Service) -> None:
    """`context` must be an object of at most 4 KiB in its UTF-8 JCS form: else 400 `ERR_INPUTS` "invalid context"."""
    around = len('{"k":""}')
    fitting = [{}, {"k": "x" * (FOUR_KIB - around)}, {"k": "é" * ((FOUR_KIB - around) // 2)}, {"": {"b": [None, 1.0]}}]
    large = [{"k": "x" * (FOUR_KIB - around + 1)}, {"k": "é" * ((FOUR_KIB - around) // 2 + 1)}, {"k" * FOUR_KIB: 1}]
    for value in ("kit", "", None, 1, True, [], *large):
        answer = await service.run(service.probe(ref=ABSENT, context=value, **{UNKNOWN: 1}))
        _expect_inputs_error(answer, "invalid context")
    for value in fitting:
        answer = await service.run(service.probe(ref=ABSENT, context=value, **{UNKNOWN: 1}))
        _expect_inputs_error(answer, "unknown field")


@check("C-REQ-36", "2")
async def unknown(service: Service) -> None:
    """Any other key is 400 `ERR_INPUTS` "unknown field", and `details` says which."""
    for key in (UNKNOWN, "", "Schema", "execution_id ", "secrets"):
        answer = await service.run(service.probe(ref=ABSENT, **{key: 1}))
        _expect_inputs_error(answer, "unknown field")
        named = any(isinstance(detail, dict) and key in str(detail.get("path")) for detail in answer.details)
        answer.expect(named, f"details that name {key!r}")

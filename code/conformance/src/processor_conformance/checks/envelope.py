"""Envelopes. The checks of phase `LAST` judge every answer that the other checks have seen."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from processor_conformance.catalogue import Phase, check
from processor_conformance.jcs import number
from processor_conformance.outcome import NotCheckedError, brief
from processor_conformance.schemas import first_problem
from processor_conformance.service import PREFIX, Service
from processor_conformance.table import CODES, FROM_PROCESSORS, NO_RUN, RETRY_AFTER, STARTED
from processor_conformance.wire import Answer

IDENTITY = ("ref", "env_fingerprint", "image_digest", "pinned")
TRACEBACK = re.compile(
    r"Traceback \(most recent call last\)|\bFile \"[^\"]+\", line \d+|\n\s+at \S+ ?\(|panicked at|goroutine \d+ \["
)


def envelopes(service: Service) -> Iterator[tuple[str, Answer]]:
    """Yield every answer that must be an envelope, with the address that it came from.

    Raises:
        NotCheckedError: there was none.
    """
    found = [(url, answer) for url, answer in service.seen if _must_be_one(answer)]
    if not found:
        raise NotCheckedError("other checks beside it: it judges what they have seen")
    yield from found


def _must_be_one(answer: Answer) -> bool:
    if answer.path == "/run" and answer.method == "POST":
        return True
    return answer.status >= 400 and answer.path != "/healthz" and answer.method != "HEAD"


@check("C-ENV-01", "3", phase=Phase.LAST)
async def schema(service: Service) -> None:
    """Every envelope keeps the contract's JSON Schema."""
    for _, answer in envelopes(service):
        problem = first_problem("envelope", answer.document)
        answer.expect(not problem, "an envelope by the contract's schema", f"{problem} in {answer.in_short}")


@check("C-ENV-02", "3", phase=Phase.LAST)
async def identity(service: Service) -> None:
    """`meta` has the same identity in every envelope of a service, refusals included.

    That is `ref`, `env_fingerprint`, `image_digest` and `pinned`.
    """
    known: dict[str, dict[str, Any]] = {}
    for url, answer in envelopes(service):
        meta = answer.envelope.get("meta")
        told = {key: meta.get(key) for key in IDENTITY} if isinstance(meta, dict) else {}
        answer.expect(told and None not in told.values(), "ref, env_fingerprint, image_digest and pinned in meta", told)
        wanted = known.setdefault(url, told)
        answer.expect(told == wanted, f"the meta of the service's other envelopes, {wanted}", told)


@check("C-ENV-03", "5", phase=Phase.LAST)
async def table(service: Service) -> None:
    """Every error has the status, message and `retryable` of its code, and a code that processors may send."""
    known = [answer for _, answer in envelopes(service) if answer.code in CODES]
    if not known:
        raise NotCheckedError("error envelopes with codes of the contract")
    for answer in known:
        row = CODES[answer.code]
        answer.expect(answer.code in FROM_PROCESSORS, "a code that a processor may send")
        answer.expect(answer.message in row.texts.get(answer.status, ()), f"{answer.code} as §5 has it: {row.texts}")
        told = answer.envelope["error"].get("retryable")
        answer.expect(row.retryable is None or told is row.retryable, f"retryable {row.retryable}", f"retryable {told}")


@check("C-ENV-04", "1", phase=Phase.LAST)
async def status(service: Service) -> None:
    """Success is 200 and an error never is; every answer of `/run` is `application/json`."""
    for _, answer in envelopes(service):
        success = answer.envelope.get("status") == "success"
        answer.expect(success == (answer.status == 200), "200 for success, and for nothing else")
        if answer.path == "/run":
            answer.expect(answer.media_type == "application/json", "application/json", answer.header("content-type"))


@check("C-ENV-05", "3", phase=Phase.LAST)
async def durations(service: Service) -> None:
    """`duration_ms` and `queued_ms` are in every answer of a run that started, and in no refusal."""
    all_of_them = [(answer, _started(answer)) for _, answer in envelopes(service)]
    judged = [(answer, started) for answer, started in all_of_them if started is not None]
    if not judged:
        raise NotCheckedError("successes or error envelopes with codes of the contract")
    for answer, started in judged:
        meta = answer.envelope.get("meta")
        told = {"duration_ms", "queued_ms"} & set(meta if isinstance(meta, dict) else ())
        if started:
            answer.expect(len(told) == 2, "duration_ms and queued_ms of a run that started", meta)
        else:
            answer.expect(not told, "no durations of what never started", meta)


def _started(answer: Answer) -> bool | None:
    """Return whether the run of *answer* has started, ``None`` where that cannot be told."""
    if answer.envelope.get("status") == "success" or answer.code in STARTED or answer.message == "inputs not usable":
        return True
    return False if answer.code in NO_RUN else None


@check("C-ENV-06", "5", phase=Phase.LAST)
async def retry_after(service: Service) -> None:
    """`ERR_BUSY` and `ERR_DRAINING` come with `Retry-After`."""
    told = [answer for _, answer in envelopes(service) if answer.code in RETRY_AFTER]
    if not told:
        raise NotCheckedError('an example that makes the service busy, such as "slow"')
    for answer in told:
        answer.expect(answer.header("retry-after"), "a Retry-After header", answer.headers)


@check("C-ENV-07", "3", examples=["valid"])
async def fingerprint(service: Service) -> None:
    """`env_fingerprint` is the sorted `key:value` parts of the registry's runtime."""
    _, answer = await service.success()
    told = str(answer.envelope["meta"].get("env_fingerprint"))
    parts = told.split(";")
    keys = [part.partition(":")[0] for part in parts]
    good = keys == sorted(keys) and {"cpu", "memory"} <= set(keys) <= {"cpu", "gpu", "memory"}
    answer.expect(good, "cpu, gpu (if asked for) and memory, sorted", told)
    runtime = (service.facts.contract or {}).get("runtime")
    if isinstance(runtime, dict):
        wanted = _fingerprint(runtime)
        answer.expect(told == wanted, f"{wanted}, from the runtime at /contract", told)


def _fingerprint(runtime: dict[str, Any]) -> str:
    memory = runtime.get("memory_gb")
    gpu = f"gpu:{runtime['gpu']};" if runtime.get("gpu") else ""
    size = number(float(memory)) if isinstance(memory, int | float) else memory
    return f"cpu:{runtime.get('cpu')};{gpu}memory:{size}Gi"


@check("C-ENV-08", "3", examples=["valid"])
async def rows(service: Service) -> None:
    """Output rows are sorted by the bytes of `path`, absolute, under `{write_prefix}outputs/`, and have no `url`."""
    request, answer = await service.success()
    paths = [row.get("path", "") for row in answer.envelope.get("outputs", [])]
    below = PREFIX.replace("{execution_id}", request["execution_id"]) + "outputs/"
    answer.expect(all(path.startswith(below) for path in paths), f"paths under {below}", paths)
    answer.expect(paths == sorted(paths, key=str.encode), "paths sorted by their bytes", paths)
    reserved = [row for row in answer.envelope.get("outputs", []) if "url" in row]
    answer.expect(not reserved, "no `url`, which is reserved", reserved)


@check("C-ENV-09", "3", examples=["valid"], capabilities=["contract"])
async def declared(service: Service) -> None:
    """Every output is declared, and has the declared `mime`; every declared one that must be there is.

    That is every one that is neither `optional` nor has a `*`.
    """
    request, answer = await service.success()
    below = PREFIX.replace("{execution_id}", request["execution_id"])
    wanted = (service.facts.contract or {}).get("outputs", [])
    told = answer.envelope.get("outputs", [])
    for row in told:
        matching = [rule for rule in wanted if _pattern(rule["path"]).fullmatch(row["path"].removeprefix(below))]
        answer.expect(matching, "outputs that are declared", row["path"])
        mimes = [rule.get("mime") for rule in matching]
        answer.expect(row.get("mime") in mimes, f"the declared mime, {mimes}", row.get("mime"))
    written = {row["path"] for row in told}
    missing = [
        rule["path"]
        for rule in wanted
        if not rule.get("optional") and "*" not in rule["path"] and below + rule["path"] not in written
    ]
    answer.expect(not missing, "every declared output", f"without {missing}")


def _pattern(path: str) -> re.Pattern[str]:
    return re.compile("[^/]*".join(map(re.escape, path.split("*"))))


@check("C-ENV-10", "4", examples=["valid"])
async def index_path(service: Service) -> None:
    """`index_path` is `{write_prefix}outputs.json`, and every `{execution_id}` in the prefix is expanded."""
    prefix = "/artifacts/outputs/{execution_id}/kit-{execution_id}"
    request, answer = await service.success(write_prefix=prefix)
    wanted = f"{prefix.replace('{execution_id}', request['execution_id'])}/outputs.json"
    answer.expect(answer.envelope.get("index_path") == wanted, wanted, brief(answer.envelope.get("index_path")))


@check("C-ENV-11", "3", start=True)
async def pinned(service: Service) -> None:
    """`pinned` is true with `IMAGE_PINNED=1`, and else false."""
    for value, wanted in (("1", True), (None, False)):
        async with service.another({"IMAGE_PINNED": value}) as other:
            answer = await other.run(other.probe())
            told = answer.envelope.get("meta", {}).get("pinned")
            answer.expect(told is wanted, f"pinned {wanted} with IMAGE_PINNED={value}", told)


@check("C-ENV-12", "3", phase=Phase.LAST)
async def no_traceback(service: Service) -> None:
    """No envelope holds a traceback or the text of an exception."""
    errors = [answer for _, answer in envelopes(service) if answer.status >= 400]
    if not errors:
        raise NotCheckedError("error envelopes")
    for answer in errors:
        text = str(answer.envelope.get("error") or answer.body[:20_000].decode(errors="replace"))
        answer.expect(not TRACEBACK.search(text.replace("\\n", "\n")), "no traceback")


@check("C-ENV-13", "3", examples=["failing"])
async def no_exception_text(service: Service) -> None:
    """The failure of a handler tells nothing of the exception."""
    answer = await service.run(service.request("failing"))
    answer.expect(b"kit-exception-text" not in answer.body, "no text of the exception")
    answer.expect(not answer.details, "no details of an exception")

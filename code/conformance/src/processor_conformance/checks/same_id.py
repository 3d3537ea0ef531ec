"""Same id again: join, replay, conflict, or run again."""

from __future__ import annotations

import asyncio
from typing import Any

from processor_conformance.catalogue import Phase, check
from processor_conformance.outcome import NotCheckedError
from processor_conformance.service import PREFIX, Service
from processor_conformance.waiting import UNDER_WAY_S, at_once, run_when_free, under_way
from processor_conformance.wire import Answer

NEEDS = ["valid"]
OTHER_DIGEST = "sha256:" + "0dd" * 21 + "0"


def _expect_conflict(answer: Answer) -> None:
    answer.expect_refused(409, "ERR_EXECUTION_CONFLICT", "execution_id or write_prefix already used")


def _expect_replay(answer: Answer, first: Answer) -> None:
    answer.expect_success()
    answer.expect(answer.envelope == first.envelope, "the first run's envelope, unchanged")
    answer.expect(answer.replayed, "idempotent-replayed: true", answer.header("idempotent-replayed"))


def _expect_new(answer: Answer) -> None:
    answer.expect(not answer.replayed, "a run of its own, without idempotent-replayed: true", "a replay")


@check("C-SAME-01", "4", examples=NEEDS)
async def replay(service: Service) -> None:
    """The same request again gets the stored envelope, unchanged, with `idempotent-replayed: true`.

    A first answer has no such header.
    """
    request, first = await service.success()
    _expect_new(first)
    for _ in range(2):
        _expect_replay(await service.run(request), first)


@check("C-SAME-02", "4", examples=NEEDS)
async def what_does_not_matter(service: Service) -> None:
    """`context`, `timeout_s`, `ref` and the order of keys are no part of sameness."""
    request, first = await service.success(context={"kit": 1})
    for again in (
        {**request, "context": {"kit": 2}},
        {key: value for key, value in request.items() if key != "context"},
        {**request, "timeout_s": 29.5, "ref": service.facts.ref},
        _reversed(request),
    ):
        _expect_replay(await service.run(again), first)


def _reversed(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _reversed(value[key]) for key in reversed(value)}
    return [_reversed(child) for child in value] if isinstance(value, list) else value


@check("C-SAME-03", "4", examples=NEEDS)
async def expanded_prefix(service: Service) -> None:
    """The prefix is compared expanded: `{execution_id}` or not, trailing `/` or not."""
    request, first = await service.success()
    literal = PREFIX.replace("{execution_id}", request["execution_id"])
    for prefix in (literal, literal.rstrip("/"), PREFIX.rstrip("/")):
        _expect_replay(await service.run({**request, "write_prefix": prefix}), first)


@check("C-SAME-04", "4", examples=["valid", "other"])
async def other_inputs(service: Service) -> None:
    """Other inputs under that prefix are 409 `ERR_EXECUTION_CONFLICT`."""
    request, _ = await service.success()
    _expect_conflict(await service.run({**request, "inputs": service.request("other")["inputs"]}))


@check("C-SAME-05", "4", examples=NEEDS)
async def other_id(service: Service) -> None:
    """Another `execution_id` under that prefix is 409 `ERR_EXECUTION_CONFLICT`."""
    request, _ = await service.success(write_prefix=f"/artifacts/outputs/{service.new_id()}/")
    _expect_conflict(await service.run({**request, "execution_id": service.new_id()}))


@check("C-SAME-06", "4", start=True, examples=NEEDS)
async def other_mode(service: Service) -> None:
    """The other mode under that prefix is 409 `ERR_EXECUTION_CONFLICT`, never a replay."""
    env: dict[str, str | None] = {"PROCESSOR_MODE": None, **_secrets(service)}
    async with service.fresh(env, until="listening") as other:
        request, _ = await other.success(mode="mock")
        _expect_conflict(await other.run({**request, "mode": "real"}))


def _secrets(service: Service) -> dict[str, str]:
    return service.secret_values() if service.facts.secrets("required") else {}


@check("C-SAME-07", "4", examples=NEEDS)
async def other_prefix(service: Service) -> None:
    """A settled id under another prefix is a run of its own."""
    request, _ = await service.success()
    again = {**request, "write_prefix": "/artifacts/outputs/{execution_id}-again/"}
    answer = await service.run(again)
    answer.expect_success()
    _expect_new(answer)


@check("C-SAME-08", "4", examples=["slow"], phase=Phase.ALONE)
async def join(service: Service) -> None:
    """The same request in flight waits for and gets that one envelope, with `idempotent-replayed: true`."""
    request = service.request("slow")
    async with under_way(service, request) as (running,):
        joined = await service.run(request)
        first = await running
    first.expect_success()
    _expect_new(first)
    _expect_replay(joined, first)


@check("C-SAME-09", "4", examples=["slow", "valid"], phase=Phase.ALONE)
async def conflict_in_flight(service: Service) -> None:
    """Another prefix or other inputs in flight under that id, or another id under that prefix, are 409."""
    request = service.request("slow", write_prefix=f"/artifacts/outputs/{service.new_id()}/")
    async with under_way(service, request) as (running,):
        for change in (
            {"write_prefix": f"/artifacts/outputs/{service.new_id()}/"},
            {"inputs": service.request("valid")["inputs"]},
            {"execution_id": service.new_id()},
        ):
            _expect_conflict(await at_once(service, {**request, **change}, [running]))
        await running


@check("C-SAME-10", "4", examples=["failing"])
async def after_an_error(service: Service) -> None:
    """The same request that settled with an error runs again."""
    request = service.request("failing")
    first = await service.run(request)
    first.expect(first.code == "ERR_RUNTIME", "ERR_RUNTIME")
    again = await run_when_free(service, request)
    again.expect(again.code == "ERR_RUNTIME", "ERR_RUNTIME again")
    _expect_new(again)


@check("C-SAME-11", "4", artifacts=True, examples=NEEDS)
async def outputs_gone(service: Service) -> None:
    """The same request runs again where outputs are gone or have another size."""
    request, first = await service.success()
    rows = first.envelope["outputs"]
    if not rows:
        raise NotCheckedError('an example "valid" that writes an output')
    path = service.host(rows[0]["path"])
    for spoil in (path.unlink, lambda: path.write_bytes(b"k" * (rows[0]["size_bytes"] + 1))):
        try:
            spoil()
        except PermissionError as exc:
            raise NotCheckedError("the right to remove the service's files") from exc
        again = await service.run(request)
        again.expect_success()
        _expect_new(again)
        again.expect(path.is_file(), "the output that was spoilt", "no file")


@check("C-SAME-12", "4", examples=["blocking"], phase=Phase.ALONE)
async def not_ended(service: Service) -> None:
    """An execution whose handler has not ended cannot run again: 429 `ERR_BUSY`."""
    request = service.request("blocking", timeout_s=0.3)
    (await service.run(request)).expect_refused(504, "ERR_TIMEOUT")
    (await service.run(request)).expect_refused(429, "ERR_BUSY", "busy")


@check("C-SAME-13", "4", start=True, examples=NEEDS)
async def restart(service: Service) -> None:
    """A restart changes nothing: the stored envelope is replayed."""
    async with service.fresh() as before:
        request, first = await before.success()
        before.process.terminate()
        await before.process.ended()
    async with service.another() as after:
        _expect_replay(await after.run(request), first)


@check("C-SAME-14", "4", start=True, examples=NEEDS)
async def other_image(service: Service) -> None:
    """A receipt of another `image_digest` is 409 `ERR_EXECUTION_CONFLICT`."""
    async with service.another() as one, service.another({"IMAGE_DIGEST": OTHER_DIGEST}) as other:
        request, _ = await one.success()
        _expect_conflict(await other.run(request))


@check("C-SAME-15", "4", start=True, examples=["slow"])
async def two_processes(service: Service) -> None:
    """Two processes that share one folder give the same answers: one runs, the other waits for that envelope."""
    async with service.another() as one, service.fresh() as other:
        request = one.request("slow")
        running = asyncio.create_task(one.run(request))
        await asyncio.sleep(UNDER_WAY_S)
        joined = await other.run(request)
        first = await running
        first.expect_success()
        _expect_replay(joined, first)


@check("C-SAME-16", "2", artifacts=True, examples=NEEDS)
async def conflict_changes_nothing(service: Service) -> None:
    """A conflict leaves what is under the prefix as it was."""
    request, _ = await service.success(write_prefix=f"/artifacts/outputs/{service.new_id()}/")
    folder = service.folder(request)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    answer = await service.run({**request, "execution_id": service.new_id()})
    _expect_conflict(answer)
    after = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    changed = [path.name for path in before.keys() | after.keys() if before.get(path) != after.get(path)]
    answer.expect(not changed, "the files as they were", f"changed: {changed}")

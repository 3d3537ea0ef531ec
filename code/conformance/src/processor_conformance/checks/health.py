"""`/healthz`: whether a run would be accepted now, and nothing that has to be waited for."""

from __future__ import annotations

import asyncio

from processor_conformance.catalogue import Phase, check, unseen
from processor_conformance.outcome import NotCheckedError, expect
from processor_conformance.service import Service
from processor_conformance.waiting import eventually, prompt, under_way

PROMPT_S = 0.25
FAILED = {"ok": False, "state": "failed"}


@check("C-HEALTH-01", "1")
async def ready(service: Service) -> None:
    """`GET /healthz` of a ready service is 200 and exactly `{"ok": true}`."""
    answer = await service.send("GET", "/healthz")
    answer.expect(answer.status == 200 and answer.document == {"ok": True}, '200 {"ok": true}')


@check("C-HEALTH-02", "1")
async def head(service: Service) -> None:
    """`HEAD /healthz` answers as `GET` does, without a body."""
    request = b"HEAD /healthz HTTP/1.1\r\nHost: kit\r\nConnection: close\r\n\r\n"
    raw = await service.talk(request, note="HEAD /healthz")
    top, _, body = raw.partition(b"\r\n\r\n")
    seen = raw[:300].decode("latin-1")
    expect(top.split()[1:2] == [b"200"], sent="HEAD /healthz", expected="200, as GET", seen=seen)
    expect(not body, sent="HEAD /healthz", expected="no body", seen=seen)


@check("C-HEALTH-03", "1", token=True)
async def without_token(service: Service) -> None:
    """`/healthz` needs no token."""
    async with service.guarded() as (guarded, _):
        answer = await guarded.send("GET", "/healthz", token="")
        answer.expect(answer.status == 200, "200 without a token")


@check("C-HEALTH-04", "1", start=True)
async def without_anything(service: Service) -> None:
    """`/healthz` needs neither a secret nor `IMAGE_DIGEST`."""
    names = [*service.facts.secrets("required"), *service.facts.secrets("optional")]
    async with service.another({"IMAGE_DIGEST": None, **dict.fromkeys(names)}) as bare:
        answer = await bare.send("GET", "/healthz")
        answer.expect(answer.status == 200, "200 in an empty environment")


@check("C-HEALTH-05", "1", examples=["slow"], phase=Phase.QUIET)
async def while_sleeping(service: Service) -> None:
    """`/healthz` answers in under 250 ms while a handler sleeps."""
    await _prompt_during(service, "slow")


@check("C-HEALTH-06", "1", examples=["blocking"], phase=Phase.QUIET)
async def while_blocked(service: Service) -> None:
    """`/healthz` answers in under 250 ms while a handler spins or blocks its event loop."""
    await _prompt_during(service, "blocking")


async def _prompt_during(service: Service, name: str) -> None:
    idle = await prompt(service, limit_s=10, expected="an answer")
    async with under_way(service, service.request(name)) as (run,):
        busy = await prompt(service, limit_s=PROMPT_S, idle_s=idle.seconds, expected="an answer while a handler works")
        busy.expect_ok()
        await run


@check("C-HEALTH-07", "1", examples=["blocking"], phase=Phase.ALONE)
async def overdue(service: Service) -> None:
    """`/healthz` is 503 `failed` while every slot is held by a handler past its deadline, and `ok` after."""
    requests = [service.request("blocking", timeout_s=0.3) for _ in range(service.concurrency)]
    answers = await asyncio.gather(*(service.run(request) for request in requests))
    if not all(answer.code == "ERR_TIMEOUT" for answer in answers):
        raise NotCheckedError('an example "blocking" that is still at work after 0.3 s, and an answer on time')
    health = await service.send("GET", "/healthz")
    health.expect(health.status == 503 and health.document == FAILED, '503 {"ok": false, "state": "failed"}')

    async def ok_again() -> bool:
        return (await service.send("GET", "/healthz")).status == 200

    health.expect(await eventually(ok_again, 15), "200 once the handlers have ended", "503 for 15 s")


unseen(
    "C-HEALTH-08",
    "1",
    "`/healthz` never waits for the file system.",
    "a file system that hangs cannot be provoked from outside: read the code",
)

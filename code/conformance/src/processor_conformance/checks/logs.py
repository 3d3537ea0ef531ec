"""The streams of the process: nothing on stdout, NDJSON on stderr."""

from __future__ import annotations

import json
import re

from processor_conformance.catalogue import Phase, check, unseen
from processor_conformance.launch import Started
from processor_conformance.outcome import brief, expect
from processor_conformance.service import Service
from processor_conformance.waiting import eventually

NEEDS = ["valid"]
TS = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}(Z|\+00:00)")
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"
SENT = "what the kit's checks send"


@check("C-LOG-01", "7", start=True, examples=NEEDS)
async def stdout(service: Service) -> None:
    """`stdout` stays empty, from start to end."""
    async with service.fresh() as other:
        await other.success()
        await other.run(other.probe())
        await other.run(b"{")
        await other.send("GET", "/kit-no-such-route")
        other.process.terminate()
        await other.process.ended()
        seen = brief(bytes(other.process.stdout).decode(errors="replace"))
        expect(not other.process.stdout, sent="runs, refusals and SIGTERM", expected="an empty stdout", seen=seen)


@check("C-LOG-02", "7", start=True, examples=NEEDS, phase=Phase.LAST)
async def stderr(service: Service) -> None:
    """`stderr` holds NDJSON only, each line with `ts` (RFC 3339, UTC, ms), `level`, `event` and `ref`."""
    for process in service.processes:
        expect_ndjson(process)


def expect_ndjson(process: Started) -> None:
    """Return if every line on stderr is as the contract says.

    Raises:
        FailedError: one is not.
    """
    for line, value in process.lines():
        seen = brief(line.decode(errors="replace"))
        expect(isinstance(value, dict), sent=SENT, expected="one JSON object a line on stderr", seen=seen)
        good = all(isinstance(value.get(key), str) and value[key] for key in ("ts", "level", "event", "ref"))
        expect(good, sent=SENT, expected="ts, level, event and ref on each line", seen=seen)
        expect(TS.fullmatch(value["ts"]), sent=SENT, expected="ts in RFC 3339, UTC, with milliseconds", seen=seen)


@check("C-LOG-03", "7", start=True, examples=NEEDS)
async def run_lines(service: Service) -> None:
    """A run logs `http.run.start` and `http.run.settle` with its `execution_id`.

    Settle has `status` and `duration_ms`.
    """
    async with service.another() as other:
        request, answer = await other.success()
        own = {"execution_id": request["execution_id"]}
        settled = await other.process.wait_for_event(event="http.run.settle", **own)
        started = other.process.events(event="http.run.start", **own)
        answer.expect(len(started) == 1, "one http.run.start line of the run", started)
        answer.expect(len(settled) == 1, "one http.run.settle line of the run", settled)
        told = (settled[0].get("status"), type(settled[0].get("duration_ms")))
        answer.expect(told == ("success", int), "status success and duration_ms", settled[0])


@check("C-LOG-04", "7", start=True, examples=["failing"])
async def failed_run(service: Service) -> None:
    """A run that fails logs `http.run.settle` with `status` error and its `code`."""
    async with service.another() as other:
        request = other.request("failing")
        answer = await other.run(request)
        own = {"execution_id": request["execution_id"]}
        settled = await other.process.wait_for_event(event="http.run.settle", **own)
        answer.expect(len(settled) == 1, "one http.run.settle line of the run", settled)
        told = (settled[0].get("status"), settled[0].get("code"))
        answer.expect(told == ("error", answer.code), f"status error and code {answer.code}", settled[0])


@check("C-LOG-05", "7", start=True)
async def refused(service: Service) -> None:
    """A refused request logs `http.run.error` with a `reason`."""
    async with service.another() as other:
        request = other.probe()
        known = len(other.process.events(event="http.run.error"))
        answer = await other.run(request)

        async def told() -> bool:
            return len(other.process.events(event="http.run.error")) > known

        answer.expect(await eventually(told, 5), "an http.run.error line", "none")
        for line in other.process.events(event="http.run.error"):
            answer.expect(isinstance(line.get("reason"), str) and line["reason"], "a reason on each such line", line)


@check("C-LOG-06", "7", start=True, examples=["noisy"])
async def stray(service: Service) -> None:
    """Stray output on descriptors 1 and 2 becomes `process.stray` lines with `fd` and `message`."""
    async with service.fresh() as other:
        answer = await other.run(other.request("noisy"))
        for fd in (1, 2):
            found = await other.process.wait_for_event(event="process.stray", fd=fd)
            told = [line for line in found if f"kit-stray-{fd}" in str(line.get("message"))]
            answer.expect(told, f"a process.stray line with fd {fd} and the text", found)
        expect_ndjson(other.process)
        seen = brief(bytes(other.process.stdout).decode(errors="replace"))
        answer.expect(not other.process.stdout, "an empty stdout", seen)


@check("C-LOG-07", "7", start=True)
async def server_lines(service: Service) -> None:
    """The web server's own lines are NDJSON on `stderr` too, those about broken requests included."""
    async with service.fresh() as other:
        for data in (
            b"KIT\r\n\r\n",
            b"GET / HTTP/9.9\r\n\r\n",
            b"\x16\x03\x01\x00\xa5\x01\x00",
            b"GET /healthz HTTP/1.1\r\n: x\r\n\r\n",
        ):
            with_end = data + b"\r\n" * 2
            try:
                await other.talk(with_end, note="a request that is not HTTP", within_s=2)
            except Exception:  # noqa: BLE001, S112  # whatever the server does with it, its lines are judged
                continue
        other.process.terminate()
        await other.process.ended()
        expect_ndjson(other.process)
        seen = brief(bytes(other.process.stdout).decode(errors="replace"))
        expect(not other.process.stdout, sent="requests that are not HTTP", expected="an empty stdout", seen=seen)


@check("C-LOG-08", "7", start=True, examples=NEEDS)
async def trace(service: Service) -> None:
    """A valid `traceparent` puts `trace_id` on the run's lines and receipt; an invalid one does not."""
    async with service.another() as other:
        await _expect_trace(other, f"00-{TRACE}-{PARENT}-01", TRACE)
        for invalid in (
            f"00-{'0' * 32}-{PARENT}-01",
            f"00-{TRACE}-{'0' * 16}-01",
            f"00-{TRACE.upper()}-{PARENT}-01",
            f"ff-{TRACE}-{PARENT}-01",
            f"00-{TRACE}-{PARENT}",
            "kit",
        ):
            await _expect_trace(other, invalid, None)


async def _expect_trace(service: Service, header: str, wanted: str | None) -> None:
    request = service.request()
    answer = await service.run(request, extra=[("traceparent", header)], note=f"traceparent: {header}")
    answer.expect_success()
    told = service.read_json(request, "receipt.json").get("trace_id")
    answer.expect(told == wanted, f"trace_id {wanted} in the receipt", told)
    own = {"execution_id": request["execution_id"]}
    for event in ("http.run.start", "http.run.settle"):
        lines = await service.process.wait_for_event(event=event, **own)
        ids = [line.get("trace_id") for line in lines]
        answer.expect(ids == [wanted], f"trace_id {wanted} on {event}", ids)


@check("C-LOG-09", "2", start=True, examples=NEEDS)
async def context(service: Service) -> None:
    """`context` is logged."""
    async with service.another() as other:
        request, answer = await other.success(context={"kit": ["kit-context-value"]})
        own = {"execution_id": request["execution_id"]}
        await other.process.wait_for_event(event="http.run.settle", **own)
        lines = [line for line in other.process.events(**own) if "kit-context-value" in json.dumps(line)]
        answer.expect(lines, "the context on a line of the run", "no such line")


unseen(
    "C-LOG-10",
    "7",
    "A valid `traceparent` is given to the handler.",
    "what a handler is given does not show outside: read the code",
)

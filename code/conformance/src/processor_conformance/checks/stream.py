"""`POST /run-stream`: what a run tells while it goes on, and one `done`."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import json
import time

from processor_conformance.catalogue import Phase, check
from processor_conformance.outcome import NotCheckedError, brief, expect
from processor_conformance.schemas import first_problem
from processor_conformance.service import ABSENT, Service
from processor_conformance.sse import Told
from processor_conformance.waiting import UNDER_WAY_S, run_when_free, under_way

HERE = ["stream"]
NEEDS = ["valid"]
SILENCE_S = 17.0
SHORT_S = 0.5


@check("C-STREAM-01", "6", capabilities=HERE, examples=NEEDS)
async def headers(service: Service) -> None:
    """A stream is 200, `text/event-stream`, with `Cache-Control: no-cache` and `X-Accel-Buffering: no`."""
    answer = (await service.stream(service.request())).answer
    for name, wanted in (("cache-control", "no-cache"), ("x-accel-buffering", "no")):
        told = answer.header(name)
        answer.expect(told == wanted, f"{name}: {wanted}", told)


@check("C-STREAM-02", "6", capabilities=HERE, examples=NEEDS)
async def one_done(service: Service) -> None:
    """It ends in exactly one `done`, and nothing comes after."""
    streamed = await service.stream(service.request())
    names = [event.name for event in streamed.told.events]
    good = names.count("done") == 1 and names[-1] == "done" and not streamed.told.rest.strip()
    streamed.answer.expect(good, "exactly one done, at the end", f"{names[-5:]} {streamed.told.rest!r}")


@check("C-STREAM-03", "6", capabilities=HERE, examples=NEEDS)
async def ids(service: Service) -> None:
    """Events have ids 1, 2, …, a name, and one JSON object as data with the run's `execution_id`."""
    request = service.request()
    streamed = await service.stream(request)
    for number, event in enumerate(streamed.told.events, 1):
        good = event.id == str(number) and event.name and isinstance(event.data, dict)
        streamed.answer.expect(good, f"id {number}, a name, and a JSON object", event)
        told = event.data.get("execution_id")
        streamed.answer.expect(told == request["execution_id"], "the run's execution_id in each event", event)


@check("C-STREAM-04", "6", capabilities=HERE, examples=NEEDS)
async def envelope(service: Service) -> None:
    """`done` holds the envelope that `/run` gives."""
    request = service.request()
    streamed = await service.stream(request)
    problem = first_problem("envelope", streamed.told.done)
    streamed.answer.expect(not problem, "an envelope in done", problem)
    answer = await service.run(request)
    answer.expect(answer.envelope == streamed.told.done, f"the envelope of done, {brief(streamed.told.done)}")


@check("C-STREAM-05", "6", capabilities=HERE, examples=NEEDS)
async def output_events(service: Service) -> None:
    """Each output has an `output` event with its row."""
    streamed = await service.stream(service.request())
    rows = streamed.told.done.get("outputs", [])
    keys = ("path", "mime", "size_bytes", "sha256")
    told = [{key: event.data.get(key) for key in keys} for event in streamed.told.named("output")]
    wanted = [{key: row.get(key) for key in keys} for row in rows]
    same = sorted(map(json.dumps, told)) == sorted(map(json.dumps, wanted))
    streamed.answer.expect(same, f"an output event for each of {wanted}", told)


@check("C-STREAM-06", "6", capabilities=HERE, examples=["streaming"])
async def tokens(service: Service) -> None:
    """`token` events hold the text, `progress` events a fraction of 0..1 or null and a message."""
    told = (await service.stream(service.request("streaming"))).told
    sent = 'the stream of the example "streaming"'
    texts, steps = told.named("token"), told.named("progress")
    expect(texts and steps, sent=sent, expected="token and progress events", seen=[event.name for event in told.events])
    for event in texts:
        expect(isinstance(event.data.get("text"), str), sent=sent, expected="a token's text", seen=event)
    for event in steps:
        fraction = event.data.get("fraction", "absent")
        number = isinstance(fraction, int | float) and not isinstance(fraction, bool) and 0 <= fraction <= 1
        good = (fraction is None or number) and isinstance(event.data.get("message"), str)
        expect(good, sent=sent, expected="a fraction of 0..1 or null, and a message", seen=event)


@check("C-STREAM-07", "6", capabilities=HERE)
async def refused(service: Service) -> None:
    """What is refused before it starts has the status and JSON envelope of `/run`."""
    for change in (
        {"execution_id": ""},
        {"write_prefix": "/etc/"},
        {"schema": "v0"},
        {"mode": "dream"},
        {"ref": "kit/none@1"},
        {"ref": ABSENT, "context": 1},
        {"ref": ABSENT, "kit-unknown": 1},
        {"ref": ABSENT, "inputs": 0},
    ):
        request = service.probe(**change)
        plain = await service.run(request)
        plain.expect(plain.status >= 400 and plain.code, "an error envelope of /run")
        streamed = await service.send("POST", "/run-stream", request)
        streamed.expect(streamed.media_type == "application/json", "application/json", streamed.header("content-type"))
        same = (streamed.status, streamed.envelope) == (plain.status, plain.envelope)
        streamed.expect(same, f"as /run: {plain.in_short}")
    for body, kind in ((b"{", "application/json"), (b"{}", "text/plain")):
        plain = await service.run(body, headers=[("Content-Type", kind)])
        streamed = await service.send("POST", "/run-stream", body, headers=[("Content-Type", kind)])
        same = (streamed.status, streamed.envelope) == (plain.status, plain.envelope)
        streamed.expect(same, f"as /run: {plain.in_short}")


@check("C-STREAM-08", "6", capabilities=HERE, examples=["failing"])
async def crashing(service: Service) -> None:
    """A handler that crashes still ends in `done`."""
    streamed = await service.stream(service.request("failing"))
    code = streamed.told.done.get("error", {}).get("code")
    streamed.answer.expect(code == "ERR_RUNTIME", "done with ERR_RUNTIME", streamed.told.events[-1:])


@check("C-STREAM-09", "6", capabilities=HERE, examples=["slow"], phase=Phase.ALONE)
async def deadline(service: Service) -> None:
    """A run past its deadline still ends in `done`, on time."""
    service.dirty = True
    on_time_s = await service.on_time_s("slow")
    began = time.monotonic()
    streamed = await service.stream(service.request("slow", timeout_s=SHORT_S))
    took = time.monotonic() - began
    code = streamed.told.done.get("error", {}).get("code")
    streamed.answer.expect(code == "ERR_TIMEOUT", "done with ERR_TIMEOUT", streamed.told.events[-1:])
    streamed.answer.expect(took < on_time_s, f"soon after a deadline of {SHORT_S} s", f"after {took:.1f} s")


@check("C-STREAM-10", "6", capabilities=["stream", "cancel"], examples=["slow"], phase=Phase.ALONE)
async def cancelled(service: Service) -> None:
    """A run that is cancelled still ends in `done`."""
    service.dirty = True
    request = service.request("slow")
    streaming = asyncio.create_task(service.stream(request))
    await asyncio.sleep(UNDER_WAY_S)
    await service.send("DELETE", f"/run/{request['execution_id']}")
    streamed = await streaming
    done = streamed.told.done
    code = done.get("error", {}).get("code")
    good = code == "ERR_CANCELLED" or done.get("status") == "success"
    streamed.answer.expect(good, "done with ERR_CANCELLED, or the success it still reached", done)


@check("C-STREAM-11", "6", capabilities=HERE, examples=NEEDS)
async def replayed(service: Service) -> None:
    """A stream that replays gets `done` alone."""
    request, first = await service.success()
    streamed = await service.stream(request)
    names = [event.name for event in streamed.told.events]
    streamed.answer.expect(names == ["done"], "done alone", names)
    streamed.answer.expect(streamed.told.done == first.envelope, "the stored envelope in done", streamed.told.done)
    streamed.answer.expect(streamed.answer.replayed, "idempotent-replayed: true", streamed.answer.headers)


@check("C-STREAM-12", "6", capabilities=HERE, examples=["slow"], phase=Phase.ALONE)
async def joined(service: Service) -> None:
    """A stream that joins gets `done` alone."""
    request = service.request("slow")
    async with under_way(service, request) as (run,):
        streamed = await service.stream(request)
        first = await run
    names = [event.name for event in streamed.told.events]
    streamed.answer.expect(names == ["done"], "done alone", names)
    streamed.answer.expect(streamed.told.done == first.envelope, "the run's envelope in done", streamed.told.done)


@check("C-STREAM-13", "6", capabilities=HERE, examples=NEEDS)
async def no_resume(service: Service) -> None:
    """`Last-Event-ID` is ignored."""
    streamed = await service.stream(service.request(), extra=[("Last-Event-ID", "1")])
    first = streamed.told.events[0].id if streamed.told.events else ""
    streamed.answer.expect(first == "1", "events from id 1 on", f"the first id is {first!r}")


@check("C-STREAM-14", "6", capabilities=HERE, examples=["slow"], phase=Phase.ALONE)
async def last_reader_leaves(service: Service) -> None:
    """When the last caller leaves and all were streams, the run is cancelled."""
    service.dirty = True
    request = service.request("slow")
    async with service.open_stream(request) as exchange:
        expect(exchange.status == 200, sent=exchange.sent, expected="200", seen=exchange.status)
        await asyncio.sleep(UNDER_WAY_S)
    await asyncio.sleep(SHORT_S)
    answer = await run_when_free(service, request)
    answer.expect_success()
    answer.expect(not answer.replayed, "a run of its own, because the first one was cancelled", "its envelope")


@check("C-STREAM-15", "6", capabilities=HERE, examples=["slow"], phase=Phase.ALONE)
async def a_reader_leaves(service: Service) -> None:
    """A stream's disconnect cancels nothing while another caller waits."""
    request = service.request("slow")
    async with service.open_stream(request) as exchange:
        expect(exchange.status == 200, sent=exchange.sent, expected="200", seen=exchange.status)
        await asyncio.sleep(UNDER_WAY_S / 2)
        waiting = asyncio.create_task(service.run(request))
        await asyncio.sleep(UNDER_WAY_S)
    answer = await waiting
    answer.expect_success()
    answer.expect(answer.replayed, "the envelope of the run that both asked for", "a run of its own")


@check("C-STREAM-16", "6", capabilities=HERE, examples=["long"])
async def heartbeat(service: Service) -> None:
    """A comment line comes every 15 s."""
    told, began = Told(), time.monotonic()
    times = [began]
    async with service.open_stream(service.request("long"), within_s=45) as exchange:
        async for chunk in exchange.chunks():
            told.feed(chunk)
            times.append(time.monotonic())
    if times[-1] - began < 15.5:
        raise NotCheckedError('an example "long" that takes 16 s')
    longest = max(later - earlier for earlier, later in itertools.pairwise(times))
    expect(
        longest < SILENCE_S,
        sent=exchange.sent,
        expected="a sign of life every 15 s",
        seen=f"{longest:.1f} s of silence",
    )
    if longest > 14:
        expect(told.comments, sent=exchange.sent, expected="comment lines in a silent run", seen="none")


@check("C-STREAM-17", "6", capabilities=HERE, examples=["flood"], phase=Phase.ALONE)
async def slow_reader(service: Service) -> None:
    """A slow reader never blocks the handler, and misses no token text, no `output` and no `done`."""
    request, told = service.request("flood"), Told()
    async with service.open_stream(request, within_s=50, unread=True) as exchange:
        # the stream is not read until the run has settled, which only another caller can see
        answer = await service.run(request, within_s=25)
        answer.expect_success()
        exchange.hurry()
        async for chunk in exchange.chunks():
            told.feed(chunk)
    expect(told.done == answer.envelope, sent=exchange.sent, expected="the run's envelope in done", seen=told.done)
    rows, events = answer.envelope["outputs"], told.named("output")
    expect(len(events) == len(rows), sent=exchange.sent, expected=f"{len(rows)} output events", seen=len(events))
    text = "".join(event.data["text"] for event in told.named("token")).encode()
    if len(text) < 1_000_000 and all(row["size_bytes"] < 1_000_000 for row in rows):
        raise NotCheckedError('an example "flood" that tells megabytes')
    same = hashlib.sha256(text).hexdigest() in [row["sha256"] for row in rows]
    seen = f"{len(text)} bytes of tokens, and outputs of {[row['size_bytes'] for row in rows]}"
    expect(same, sent=exchange.sent, expected="the text of every token, joined or not", seen=seen)


@check("C-STREAM-18", "6", capabilities=HERE, phase=Phase.LAST)
async def schema(service: Service) -> None:
    """Every event keeps the contract's JSON Schema."""
    if not service.told:
        raise NotCheckedError("other checks of streams beside it: it judges what they have seen")
    for sent, told in service.told:
        for event in told.events:
            problem = first_problem("event", {"event": event.name, "data": event.data})
            expect(not problem, sent=sent, expected=f"a {event.name} event by the contract's schema", seen=problem)

"""`/run-stream` tells what a run does while it does it, and ends in the envelope of `/run` (§6)."""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from tests.contract.conftest import Services
from tests.contract.discovery import STEPS
from tests.contract.judge import (
    BEFORE_A_RUN,
    check_index,
    check_outputs,
    check_receipt,
    envelope_of,
    prefix_of,
    refusal,
)
from tests.contract.requests import RULES, Rule, broken, is_echoed
from tests.contract.slots import with_runtime
from tests.support.callers import Callers, Step, answer_on, come_and_go, is_replayed, sent
from tests.support.service import JsonObject, Service, wait_until
from tests.support.sse import Stream, check_events, parsed_stream, texts


@pytest.fixture
def callers(steps: Service) -> Iterator[Callers]:
    """Those who call the fixture, with a sync handler and then with an async one."""
    with Callers(steps) as callers:
        yield callers


@pytest.fixture(scope="module")
def one_slot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The fixture with one slot and two waiting places."""
    room = tmp_path_factory.mktemp("one-slot")
    folder = with_runtime(room, concurrency=1)
    with Service(folder, room / "service", {"PROCESSOR_QUEUE": "2", "PROCESSOR_MODE": "mock"}) as service:
        yield service


# --- what is told ----------------------------------------------------------------------------------------------------


def test_a_stream_tells_a_run_from_its_first_word_to_done(callers: Callers) -> None:
    """Each event with its number, its name and its data, in the order in which the handler told them."""
    service = callers.service
    payload = callers.exactly(
        ["progress", 0.25, "begun"],
        ["token", "Hel"],
        ["log", "seen", {"pages": 3}],
        ["token", "lo"],
        ["write", "outputs/text.txt", "hello"],
        ["write_json", "outputs/data.json", {"a": 1}],
        ["progress", None, ""],
    )

    with Stream.opened(service, payload) as stream:
        events = stream.checked(payload["execution_id"])

    done = events[-1].data
    assert done["status"] == "success", done
    told = [event for event in events if event.name != "log"]
    assert [event.name for event in told[1:3]] in (["token", "token"], ["token", "output"])  # may be joined
    assert texts(events) == "Hello"
    assert [(event.data["fraction"], event.data["message"]) for event in events if event.name == "progress"] == [
        (0.25, "begun"),
        (None, ""),
    ]
    rows = [{name: event.data[name] for name in done["outputs"][0]} for event in events if event.name == "output"]
    assert [row["path"].rpartition("/")[2] for row in rows] == ["text.txt", "data.json"]
    assert sorted(rows, key=lambda row: str(row["path"])) == done["outputs"]
    (line,) = service.lines(event="handler.seen", execution_id=payload["execution_id"])
    assert line["pages"] == 3
    assert line in [event.data for event in events if event.name == "log"]
    check_outputs(service, done, prefix_of(payload))
    check_index(service, done)
    check_receipt(service, done, payload)
    replayed = service.post(payload)
    assert (replayed.json(), is_replayed(replayed)) == (done, True)


def test_a_stream_says_that_nobody_may_keep_it(callers: Callers) -> None:
    """Neither a cache nor a proxy's buffer."""
    payload = callers.payload()

    with Stream.opened(callers.service, payload) as stream:
        stream.checked(payload["execution_id"])

    headers = stream.response.headers
    assert stream.response.status_code == 200
    assert headers["content-type"].partition(";")[0] == "text/event-stream"
    assert (headers["cache-control"], headers["x-accel-buffering"]) == ("no-cache", "no")
    assert not is_replayed(stream.response)


def test_events_come_while_the_handler_works(callers: Callers) -> None:
    """Not all at the end: a reader sees each of them while the handler waits for the test."""
    service, gate = callers.service, callers.gate()
    payload = callers.payload(["token", "a"], ["progress", 0.5, "half"], callers.held(gate))

    with Stream.opened(service, payload) as stream:
        stream.until("token", text="a")
        stream.until("progress", fraction=0.5)
        service.allow(gate)
        assert stream.rest()[-1].data["status"] == "success"


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="nothing"),
        pytest.param("a\nb\n\nc\r\nd\re", id="ends of lines"),
        pytest.param("data: x\n\nevent: done\ndata: {}\n\n", id="an event in the text"),
        pytest.param(": comment", id="a comment"),
        pytest.param("\u2028\u2029\x85\x00\x7f\ufeff", id="what some call an end of line"),
        pytest.param("größe 😀 \U0010ffff", id="beyond ASCII"),
        pytest.param('"\\"\\u0041', id="quotes"),
    ],
)
def test_a_token_may_be_any_text(callers: Callers, text: str) -> None:
    """What is told arrives as it is, and cannot break the stream."""
    payload = callers.payload(["token", text], ["token", "."])

    with Stream.opened(callers.service, payload) as stream:
        events = stream.checked(payload["execution_id"])

    assert texts(events) == f"{text}."
    assert events[-1].data["status"] == "success"


def test_a_large_token_arrives_whole(callers: Callers) -> None:
    """Five million letters in one event."""
    payload = callers.payload(["large_token", 5_000_000])

    with Stream.opened(callers.service, payload) as stream:
        events = stream.checked(payload["execution_id"])

    assert len(texts(events)) == 5_000_000


def test_a_token_that_no_text_can_hold_breaks_no_stream(callers: Callers) -> None:
    """Half a surrogate pair is the handler's mistake: whatever becomes of it, `done` comes."""
    payload = callers.payload(["token", "a"], ["lone_surrogate"])

    with Stream.opened(callers.service, payload) as stream:
        stream.checked(payload["execution_id"])


@pytest.mark.parametrize("fraction", [-0.5, 1.5, 1e308, True, "half", {}])
def test_a_progress_that_is_none_breaks_no_stream(callers: Callers, fraction: object) -> None:
    """Whatever the runtime makes of it, what it sends has the contract's form and ends in `done`."""
    payload = callers.payload(["progress", fraction, "x"])

    with Stream.opened(callers.service, payload) as stream:
        stream.checked(payload["execution_id"])


def test_last_event_id_is_ignored(callers: Callers) -> None:
    """There is no resume: neither for a new execution nor for one that has settled."""
    payload = callers.payload(["token", "a"])

    with Stream.opened(callers.service, payload, {"Last-Event-ID": "2"}) as stream:
        first = stream.checked(payload["execution_id"])
    with Stream.opened(callers.service, payload, {"Last-Event-ID": "1"}) as stream:
        again = stream.checked(payload["execution_id"])

    assert texts(first) == "a"
    assert again[-1].data == first[-1].data


# --- how it ends -----------------------------------------------------------------------------------------------------

ENDINGS = [
    pytest.param([["write", "outputs/text.txt", "hello"]], None, id="success"),
    pytest.param([["raise", "ValueError", "canary"]], "ERR_RUNTIME", id="crash"),
    pytest.param([["raise", "MemoryError", "canary"]], "ERR_RUNTIME", id="out of memory"),
    pytest.param([["raise", "SystemExit", "canary"]], "ERR_RUNTIME", id="exit"),
    pytest.param([["raise", "KeyboardInterrupt", "canary"]], "ERR_RUNTIME", id="interrupt"),
    pytest.param([["raise", "CancelledError", "canary"]], "ERR_RUNTIME", id="cancelled by itself"),
    pytest.param([["raise", "StopIteration", "canary"]], "ERR_RUNTIME", id="end of iteration"),
    pytest.param([["raise", "SpeechlessError", "canary"]], "ERR_RUNTIME", id="an exception without a text"),
    pytest.param(
        [["inputs_error", [{"path": "/inputs/params", "message": "no"}]]], "ERR_INPUTS", id="blames the inputs"
    ),
    pytest.param([["provider_error", True, "canary"]], "ERR_PROVIDER", id="provider, try again"),
    pytest.param([["provider_error", False, "canary"]], "ERR_PROVIDER", id="provider"),
    pytest.param([["token", "a"]], "ERR_OUTPUT_MISSING", id="output missing"),
    pytest.param([["write", "outputs/other.txt", "x"]], "ERR_OUTPUT_UNDECLARED", id="output undeclared"),
    pytest.param([["write", "../text.txt", "x"]], "ERR_OUTPUT_PATH", id="output elsewhere"),
    pytest.param([["write", "outputs/text.txt", "x"]] * 2, "ERR_OUTPUT_DUPLICATE", id="output twice"),
    pytest.param([["nonsense"]], "ERR_RUNTIME", id="unknown step"),
]


@pytest.mark.parametrize(("do", "code"), ENDINGS)
def test_done_is_what_run_answers(callers: Callers, do: list[Step], code: str | None) -> None:
    """However the handler ends: the same envelope but for the id and the times, and the receipt holds it."""
    service = callers.service
    streamed, posted = callers.exactly(["token", "a"], *do), callers.exactly(["token", "a"], *do)

    with Stream.opened(service, streamed) as stream:
        done = stream.checked(streamed["execution_id"])[-1].data
    answer, status = envelope_of(service, service.post(posted))

    assert done.get("error", {}).get("code") == code
    assert (status == 200) == (code is None)
    assert "canary" not in json.dumps(done)
    assert comparable(done, streamed) == comparable(answer, posted)
    assert check_receipt(service, done, streamed)["envelope"] == done


def test_a_run_past_its_deadline_ends_in_done(callers: Callers) -> None:
    """And so does one that is cancelled, below."""
    service, gate = callers.service, callers.gate()
    payload = callers.payload(["token", "a"], callers.held(gate), timeout_s=0.3)

    with Stream.opened(service, payload) as stream:
        events = stream.checked(payload["execution_id"])

    assert events[-1].data["error"]["code"] == "ERR_TIMEOUT"
    assert texts(events) == "a"
    check_receipt(service, events[-1].data, payload)


def test_a_cancelled_run_ends_in_done(callers: Callers) -> None:
    """The reader is told by the stream itself."""
    service, gate = callers.service, callers.gate()
    payload = callers.payload(["token", "a"], callers.held(gate))

    with Stream.opened(service, payload) as stream:
        stream.until("token", text="a")
        service.wait_for_mark(f"{gate}.began")
        assert callers.cancel(payload["execution_id"]).status_code == 202
        done = stream.rest()[-1]

    assert (done.name, done.data["error"]["code"]) == ("done", "ERR_CANCELLED")
    check_receipt(service, done.data, payload)


def test_nothing_comes_after_done(callers: Callers) -> None:
    """What a handler tells once its run has settled is told to nobody."""
    service, gate = callers.service, callers.gate()
    stubborn = "keep_checking" if service.environ["FIXTURE_KIND"] == "sync" else "stay"
    payload = callers.payload(["token", "a"], [stubborn, gate], ["try_telling", f"{gate}.told"], timeout_s=0.3)

    with Stream.opened(service, payload) as stream:
        events = stream.checked(payload["execution_id"])
        service.allow(gate)
        service.wait_for_mark(f"{gate}.told")

    assert events[-1].data["error"]["code"] == "ERR_TIMEOUT"
    assert texts(events) == "a"


# --- refused before it starts ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: str(rule.name))
def test_what_run_refuses_the_stream_refuses_the_same_way(steps: Service, rule: Rule) -> None:
    """Status, type and body, byte for byte; nothing was written."""
    before = steps.tree()
    request = broken(steps, rule)
    content, headers = request.content(), request.headers

    streamed = steps.http.post("/run-stream", content=content, headers=headers)
    posted = steps.http.post("/run", content=content, headers=headers)

    echoed = request.payload["execution_id"] if is_echoed(rule) else ""
    refusal(steps, streamed, rule.code, rule.message, execution_id=echoed)
    assert (streamed.status_code, streamed.content) == (posted.status_code, posted.content)
    assert steps.tree() == before


def test_a_stream_for_a_used_prefix_is_refused(callers: Callers) -> None:
    """A conflict is known before anything starts."""
    service = callers.service
    payload = callers.payload()
    service.run(payload)
    other = payload | {"inputs": callers.payload(["token", "other"])["inputs"]}

    answer = service.http.post("/run-stream", json=other)

    refusal(service, answer, "ERR_EXECUTION_CONFLICT", execution_id=payload["execution_id"])


def test_a_stream_for_a_missing_secret_is_refused(services: Services) -> None:
    """In `real`, as by `/run`."""
    service = services.get(STEPS)
    payload = service.payload(mode="real", inputs={"schema": "v1", "params": {"do": []}})

    answer = service.http.post("/run-stream", json=payload)

    refusal(service, answer, "ERR_MISSING_SECRET", execution_id=payload["execution_id"])


def test_a_stream_beyond_the_places_is_refused(one_slot: Service) -> None:
    """Status 429 and JSON, as by `/run`."""
    with Callers(one_slot) as callers:
        gate = callers.gate()
        callers.running(gate, callers.payload(["wait", gate]))
        callers.fill(2)
        payload = callers.payload()

        answer = one_slot.http.post("/run-stream", json=payload)

        refusal(one_slot, answer, "ERR_BUSY", execution_id=payload["execution_id"])
        assert int(answer.headers["retry-after"]) > 0


# --- joining and replaying -------------------------------------------------------------------------------------------


def test_a_stream_that_joins_gets_done_alone(callers: Callers) -> None:
    """Whether it joins a stream or a run; the first caller of all gets everything."""
    service, gate = callers.service, callers.gate()
    payload = callers.payload(["count", gate], ["token", "a"], callers.held(gate), ["token", "b"])

    with Stream.opened(service, payload) as first:
        service.wait_for_mark(f"{gate}.began")
        with Stream.opened(service, payload) as joined:
            answer = callers.run(payload)
            service.allow(gate)
            alone = joined.checked(payload["execution_id"])
        events = first.checked(payload["execution_id"])

    assert texts(events) == "ab"
    assert [(event.id, event.name) for event in alone] == [("1", "done")]
    assert alone[0].data == events[-1].data == answer.result().json()
    assert not is_replayed(first.response)
    assert is_replayed(joined.response)
    assert is_replayed(answer.result())
    assert (service.marks / gate).read_bytes() == b"."


def test_a_stream_that_joins_a_run_gets_done_alone(callers: Callers) -> None:
    """And the run that was there first is not told about it."""
    service, gate = callers.service, callers.gate()
    payload = callers.payload(callers.held(gate), ["token", "a"])
    answer = callers.running(gate, payload)

    with Stream.opened(service, payload) as joined:
        service.allow(gate)
        alone = joined.checked(payload["execution_id"])

    assert [event.name for event in alone] == ["done"]
    assert alone[0].data == answer.result().json()
    assert (is_replayed(joined.response), is_replayed(answer.result())) == (True, False)


def test_a_stream_that_replays_gets_done_alone(callers: Callers) -> None:
    """The handler is not called, and the header says so."""
    service, name = callers.service, callers.gate()
    payload = callers.payload(["count", name], ["token", "a"])
    envelope = service.run(payload)

    with Stream.opened(service, payload) as stream:
        alone = stream.checked(payload["execution_id"])

    assert [(event.name, event.data) for event in alone] == [("done", envelope)]
    assert is_replayed(stream.response)
    assert (service.marks / name).read_bytes() == b"."


def test_a_joined_stream_gets_an_error_too(callers: Callers) -> None:
    """Whatever the envelope is, all who wait for it get it."""
    service, gate = callers.service, callers.gate()
    payload = callers.payload(callers.held(gate), ["raise", "ValueError", "canary"])
    answer = callers.running(gate, payload)

    with Stream.opened(service, payload) as joined:
        service.allow(gate)
        alone = joined.checked(payload["execution_id"])

    assert [event.data for event in alone] == [answer.result().json()]
    assert alone[0].data["error"]["code"] == "ERR_RUNTIME"


# --- a slow reader ---------------------------------------------------------------------------------------------------


def test_a_slow_reader_blocks_nobody_and_loses_no_text(callers: Callers) -> None:
    """100,000 tokens for a reader that reads nothing until the run has settled: then all texts, outputs and `done`."""
    service, mark = callers.service, callers.gate()
    count, outputs = 100_000, 50
    payload = callers.payload(["flood", count, outputs], ["mark", mark])

    with sent(service, "/run-stream", payload, receive_buffer=1024) as connection:
        healths = []
        while not service.marked(mark):
            asked = time.monotonic()
            assert service.http.get("/healthz").status_code == 200
            healths.append(time.monotonic() - asked)
        receipt = wait_until(lambda: receipt_of(service, payload), lambda: "the receipt")
        response, body = answer_on(connection)

    events = parsed_stream(dict(response.getheaders()), body).rest()
    check_events(events, payload["execution_id"])
    assert texts(events) == "".join(f"{number} " for number in range(count))
    assert [event.data["path"] for event in events if event.name == "output"] == [
        *(f"{prefix_of(payload)}outputs/page-{number:03}.png" for number in range(outputs)),
        f"{prefix_of(payload)}outputs/text.txt",
    ]
    assert events[-1].data == receipt["envelope"]
    assert events[-1].data["status"] == "success"
    assert sorted(healths)[len(healths) // 2] < 0.25


def test_a_reader_that_stops_in_the_middle_blocks_nobody(callers: Callers) -> None:
    """It has read the first events, then no more: the run settles, and others are served."""
    service = callers.service
    payload = callers.payload(["tokens", 50_000, 5])

    with Stream.opened(service, payload) as stream:
        stream.until("token")
        receipt = wait_until(lambda: receipt_of(service, payload), lambda: "the receipt")
        assert service.run(callers.payload())["status"] == "success"
        done = stream.rest()[-1]

    assert (done.name, done.data) == ("done", receipt["envelope"])


def test_many_slow_readers_block_nobody(callers: Callers) -> None:
    """As many as there are slots, none of which reads."""
    service = callers.service
    payloads = [callers.payload(["tokens", 20_000, 5]) for _ in range(4)]

    with ThreadPoolExecutor(len(payloads)) as threads:

        def settle(payload: JsonObject) -> JsonObject:
            with sent(service, "/run-stream", payload, receive_buffer=1024):
                return wait_until(lambda: receipt_of(service, payload), lambda: "the receipt") or {}

        receipts = list(threads.map(settle, payloads))

    assert [receipt["envelope"]["status"] for receipt in receipts] == ["success"] * 4
    assert service.run(callers.payload())["status"] == "success"


# --- a vanished reader -----------------------------------------------------------------------------------------------


def test_a_stream_without_a_reader_is_cancelled(callers: Callers) -> None:
    """The handler is stopped where it waits, and the receipt says why."""
    service, gate = callers.service, callers.gate()
    payload = callers.payload(["token", "a"], callers.held(gate))

    with Stream.opened(service, payload) as stream:
        stream.until("token", text="a")
        service.wait_for_mark(f"{gate}.began")

    service.wait_for_mark(f"{gate}.stopped")
    receipt = wait_until(lambda: receipt_of(service, payload), lambda: "the receipt")
    assert receipt["envelope"]["error"]["code"] == "ERR_CANCELLED"
    check_receipt(service, receipt["envelope"], payload)
    settled = service.wait_for_line(event="http.run.settle", execution_id=payload["execution_id"])
    assert (settled["status"], settled["code"]) == ("error", "ERR_CANCELLED")


def test_a_reader_that_resets_the_connection_is_gone_too(callers: Callers) -> None:
    """A crash of the client's machine looks like this at best."""
    service, gate = callers.service, callers.gate()
    payload = callers.payload(callers.held(gate))

    with sent(service, "/run-stream", payload) as connection:
        service.wait_for_mark(f"{gate}.began")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    service.wait_for_mark(f"{gate}.stopped")
    receipt = wait_until(lambda: receipt_of(service, payload), lambda: "the receipt")
    assert receipt["envelope"]["error"]["code"] == "ERR_CANCELLED"


def test_a_slow_reader_that_vanishes_is_noticed(callers: Callers) -> None:
    """Although much was to be sent to it still."""
    service, gate = callers.service, callers.gate()
    payload = callers.payload(["tokens", 50_000, 5], callers.held(gate))

    with sent(service, "/run-stream", payload, receive_buffer=1024):
        service.wait_for_mark(f"{gate}.began")

    service.wait_for_mark(f"{gate}.stopped")
    receipt = wait_until(lambda: receipt_of(service, payload), lambda: "the receipt")
    assert receipt["envelope"]["error"]["code"] == "ERR_CANCELLED"


def test_a_stream_goes_on_until_its_last_reader_is_gone(callers: Callers) -> None:
    """Of two readers one may go; only when the other has gone too, the handler is stopped."""
    service, gate = callers.service, callers.gate()
    payload = callers.payload(callers.held(gate))

    with Stream.opened(service, payload):
        service.wait_for_mark(f"{gate}.began")
        come_and_go(service, payload)
        assert not service.marked(f"{gate}.stopped")
        assert receipt_of(service, payload) is None

    service.wait_for_mark(f"{gate}.stopped")
    receipt = wait_until(lambda: receipt_of(service, payload), lambda: "the receipt")
    assert receipt["envelope"]["error"]["code"] == "ERR_CANCELLED"


def test_a_joined_reader_keeps_the_run_when_the_first_one_goes(callers: Callers) -> None:
    """The one that began it is not special."""
    service, gate = callers.service, callers.gate()
    payload = callers.payload(callers.held(gate))

    with ExitStack() as first:
        first.enter_context(sent(service, "/run-stream", payload))
        service.wait_for_mark(f"{gate}.began")
        with Stream.opened(service, payload) as joined:
            first.close()
            come_and_go(service, payload)
            service.allow(gate)
            events = joined.checked(payload["execution_id"])

    assert [event.data["status"] for event in events] == ["success"]
    assert not service.marked(f"{gate}.stopped")


def test_a_stream_that_a_run_has_joined_goes_on_without_its_reader(callers: Callers) -> None:
    """`/run` runs to the end: not all of its callers were streams."""
    service, gate = callers.service, callers.gate()
    payload = callers.payload(callers.held(gate))

    with ExitStack() as first:
        first.enter_context(sent(service, "/run-stream", payload))
        service.wait_for_mark(f"{gate}.began")
        with sent(service, "/run", payload) as joined:
            come_and_go(service, payload)
            first.close()
            come_and_go(service, payload)
            service.allow(gate)
            response, body = answer_on(joined)

    assert json.loads(body)["status"] == "success"
    assert response.headers["idempotent-replayed"] == "true"


def test_a_run_that_joined_and_left_still_keeps_the_run(callers: Callers) -> None:
    """All callers are gone, and one of them was no stream."""
    service, gate = callers.service, callers.gate()
    payload = callers.payload(callers.held(gate))

    with sent(service, "/run-stream", payload):
        service.wait_for_mark(f"{gate}.began")
        with sent(service, "/run", payload):
            come_and_go(service, payload)
        come_and_go(service, payload)
    come_and_go(service, payload)
    service.allow(gate)

    receipt = wait_until(lambda: receipt_of(service, payload), lambda: "the receipt")
    assert receipt["envelope"]["status"] == "success"


def test_a_run_that_a_stream_joined_goes_on_without_it(callers: Callers) -> None:
    """A reader that comes and goes stops nobody else's run."""
    service, gate = callers.service, callers.gate()
    payload = callers.payload(callers.held(gate))
    answer = callers.running(gate, payload)

    come_and_go(service, payload)
    service.allow(gate)

    assert answer.result().json()["status"] == "success"


def test_a_run_goes_on_without_its_client_and_can_be_had_again(callers: Callers) -> None:
    """Asking the same way joins it, or gets the stored envelope; the handler is called once."""
    service, gate = callers.service, callers.gate()
    payload = callers.payload(["count", gate], callers.held(gate))

    with sent(service, "/run", payload):
        service.wait_for_mark(f"{gate}.began")
    with sent(service, "/run", payload) as joined:
        come_and_go(service, payload)
        service.allow(gate)
        response, body = answer_on(joined)
    again = service.post(payload)

    assert json.loads(body)["status"] == "success"
    assert again.content == body
    assert is_replayed(again)
    assert response.headers["idempotent-replayed"] == "true"
    assert (service.marks / gate).read_bytes() == b"."


def test_a_waiting_stream_without_a_reader_gives_its_place_back(one_slot: Service) -> None:
    """It is cancelled before it started: a receipt without a start, and the next one finds the place."""
    with Callers(one_slot) as callers:
        gate, never = callers.gate(), callers.gate()
        callers.running(gate, callers.payload(["wait", gate]))
        payload = callers.payload(["mark", never])

        with callers.waiting_on_a_connection("/run-stream", payload):
            pass

        receipt = wait_until(lambda: receipt_of(one_slot, payload), lambda: "the receipt")
        assert receipt["envelope"]["error"]["code"] == "ERR_CANCELLED"
        assert receipt["started_at"] is None
        assert set(receipt["envelope"]["meta"]) == BEFORE_A_RUN
        queued = [callers.waiting(callers.payload()) for _ in range(2)]
        one_slot.allow(gate)
        assert [answer.result().json()["status"] for answer in queued] == ["success"] * 2
        assert not one_slot.marked(never)


# --- heartbeat -------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_silent_stream_has_a_heartbeat(callers: Callers) -> None:
    """A comment every 15 seconds, for the first reader and for one that joined; it is no event."""
    service, gate = callers.service, callers.gate()
    payload = callers.payload(["token", "a"], callers.held(gate))

    with sent(service, "/run-stream", payload) as first:
        service.wait_for_mark(f"{gate}.began")
        began = time.monotonic()
        with sent(service, "/run-stream", payload) as joined:
            received = [b"", b""]
            for number, connection in enumerate((first, joined)):
                while re.search(rb"^:[^\n]*\r?\n", received[number], re.MULTILINE) is None:
                    received[number] += connection.recv(65536)
            silent_s = time.monotonic() - began
            service.allow(gate)
            for number, connection in enumerate((first, joined)):
                while not received[number].endswith(b"0\r\n\r\n"):
                    received[number] += connection.recv(65536)

    assert 10 < silent_s < 25
    assert all(body.count(b"event: done") == 1 for body in received)


# --- helpers ---------------------------------------------------------------------------------------------------------


def comparable(envelope: JsonObject, payload: JsonObject) -> JsonObject:
    """Return *envelope* with all that two runs may differ in taken out."""
    text = json.dumps(envelope).replace(f'"{payload["execution_id"]}"', '"id"')
    made: JsonObject = json.loads(text.replace(f"/{payload['execution_id']}/", "/id/"))
    for name in ("queued_ms", "duration_ms"):
        assert isinstance(made["meta"].pop(name), int)
    return made


def receipt_of(service: Service, payload: JsonObject) -> JsonObject | None:
    """Return the receipt of *payload*, or nothing while there is none."""
    path = service.file(f"{prefix_of(payload)}receipt.json")
    return json.loads(path.read_bytes()) if path.exists() else None

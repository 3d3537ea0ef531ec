"""The same request again gets the same envelope, another one under its name is refused (§4)."""

from __future__ import annotations

import hashlib
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx2
import pytest

from tests.contract.conftest import OPTION, SECRET, Services
from tests.contract.discovery import STEPS
from tests.contract.judge import check_index, check_receipt, envelope_of, failure, prefix_of, refusal, success
from tests.support.callers import Callers, is_replayed, same
from tests.support.service import DIGEST, JsonObject, Service, variant
from tests.support.sse import Stream

OTHER_DIGEST = "sha256:" + "f" * 64


@pytest.fixture
def callers(steps: Service) -> Iterator[Callers]:
    """Those who call the fixture, with a sync handler and then with an async one."""
    with Callers(steps) as callers:
        yield callers


def counted(callers: Callers, *do: list[object], **changes: object) -> tuple[JsonObject, Path]:
    """Return a request, and the file that is one byte longer each time that its handler was called."""
    name = callers.gate()
    return callers.payload(["count", name], *do, **changes), callers.service.marks / name


# --- in flight -------------------------------------------------------------------------------------------------------


def test_the_same_request_joins_one_in_flight(callers: Callers) -> None:
    """The handler is called once; all get that envelope, byte by byte, and all but the first are told so."""
    service, gate = callers.service, callers.gate()
    payload, calls = counted(callers, callers.held(gate))
    first = callers.running(gate, payload)
    joined = [callers.run(payload) for _ in range(20)]
    with Stream.opened(service, payload) as stream:
        service.allow(gate)
        done = stream.rest()[-1].data

    success(service, first.result(), payload)
    assert same(first.result(), *(answer.result() for answer in joined))
    assert done == first.result().json()
    assert not is_replayed(first.result())
    assert all(is_replayed(answer.result()) for answer in joined)
    assert calls.read_bytes() == b"."


def test_of_many_at_the_same_time_one_runs(callers: Callers) -> None:
    """Nobody was first: still one of them is, and the others join or replay it."""
    service = callers.service
    for _ in range(5):
        payload, calls = counted(callers, ["token", "x"])
        answers = callers.each(service.post, [payload] * 32)

        success(service, answers[0], payload)
        assert same(*answers)
        assert [is_replayed(answer) for answer in answers].count(False) == 1
        assert calls.read_bytes() == b"."


def test_all_who_joined_get_the_error(callers: Callers) -> None:
    """A failure is shared like a success; who asks afterwards runs it again."""
    service, gate = callers.service, callers.gate()
    payload, calls = counted(callers, callers.held(gate), ["fail_first", f"{gate}.failed"])
    first = callers.running(gate, payload)
    with Stream.opened(service, payload) as stream:
        assert stream.response.status_code == 200
        joined = callers.run(payload)
        service.allow(gate)
        done = stream.rest()[-1].data

    failure(service, first.result(), "ERR_RUNTIME", execution_id=payload["execution_id"])
    assert done == first.result().json()
    joined.result()
    again = service.post(payload)
    success(service, again, payload)
    assert len(calls.read_bytes()) == 2


# --- settled ---------------------------------------------------------------------------------------------------------


def test_a_success_is_replayed(callers: Callers) -> None:
    """As often as one asks, by `/run` and by `/run-stream`; no file is touched."""
    service = callers.service
    payload, calls = counted(callers)
    first = service.post(payload)
    files = times(service, payload)

    again = [service.post(payload) for _ in range(3)]
    with Stream.opened(service, payload) as stream:
        done = stream.rest()[-1].data

    assert same(first, *again)
    assert done == first.json()
    assert (is_replayed(first), [is_replayed(answer) for answer in again]) == (False, [True] * 3)
    assert calls.read_bytes() == b"."
    assert times(service, payload) == files


@pytest.mark.parametrize(
    "respell",
    [
        pytest.param(lambda it: {**it, "context": {"other": 1}}, id="another context"),
        pytest.param(lambda it: {**it, "timeout_s": 7}, id="another deadline"),
        pytest.param(lambda it: {**it, "ref": "fix/steps@1"}, id="the ref named"),
        pytest.param(lambda it: {**it, "write_prefix": it["write_prefix"].rstrip("/")}, id="without the last slash"),
        pytest.param(lambda it: {**it, "write_prefix": prefix_of(it)}, id="the id written out"),
        pytest.param(lambda it: dict(reversed(it.items())), id="keys in another order"),
        pytest.param(lambda it: {**it, "inputs": dict(reversed(it["inputs"].items()))}, id="inputs in another order"),
        pytest.param(lambda it: {**it, "inputs": {**it["inputs"], "note": 1.0}}, id="1.0 for 1"),
    ],
)
def test_what_is_the_same_request(callers: Callers, respell: Callable[[JsonObject], JsonObject]) -> None:
    """Id, mode, expanded prefix and the canonical form of the inputs; nothing else counts."""
    service = callers.service
    payload, calls = counted(callers)
    payload["inputs"]["note"] = 1
    first = service.post(payload)

    again = service.post(respell(payload))

    assert (again.status_code, is_replayed(again)) == (200, True), again.text
    assert same(first, again)
    assert calls.read_bytes() == b"."


def test_an_error_is_not_replayed(callers: Callers) -> None:
    """It runs again, and what it left before is gone first."""
    service, gate = callers.service, callers.gate()
    payload, calls = counted(callers, ["fail_first", f"{gate}.failed"], callers.held(gate))
    failed = service.post(payload)
    envelope = failure(service, failed, "ERR_RUNTIME", execution_id=payload["execution_id"])
    check_receipt(service, envelope, payload)

    again = callers.running(gate, payload)
    folder = service.file(prefix_of(payload))
    assert not (folder / "receipt.json").exists()
    assert not (folder / "outputs.json").exists()
    service.allow(gate)

    success(service, again.result(), payload)
    assert not is_replayed(again.result())
    assert len(calls.read_bytes()) == 2


def test_a_failed_run_leaves_the_outputs_of_nobody_in_the_next_envelope(callers: Callers) -> None:
    """The index alone says what the outputs are: the second run's."""
    service, name = callers.service, callers.gate()
    payload = callers.exactly(
        ["write", "outputs/text.txt", "x"],
        ["write_bytes", "outputs/page-1.png", "00"],
        ["fail_first", name],
    )
    failure(service, service.post(payload), "ERR_RUNTIME", execution_id=payload["execution_id"])

    envelope = service.post(payload).json()

    assert envelope["status"] == "success"
    assert [row["path"].rpartition("/")[2] for row in envelope["outputs"]] == ["page-1.png", "text.txt"]


@pytest.mark.parametrize("damage", ["deleted", "shorter", "longer", "a folder"])
def test_a_success_whose_outputs_are_gone_runs_again(callers: Callers, damage: str) -> None:
    """The stored envelope would name what cannot be read any more."""
    service = callers.service
    payload, calls = counted(callers)
    first = service.post(payload)
    output = service.file(first.json()["outputs"][0]["path"])
    content = output.read_bytes()
    if damage == "deleted":
        output.unlink()
    elif damage == "a folder":
        output.unlink()
        output.mkdir()
    else:
        output.write_bytes(content[:-1] if damage == "shorter" else content + b"x")

    again = service.post(payload)

    if damage != "a folder":  # what stands in the way of an output is somebody else's to remove
        success(service, again, payload)
    assert not is_replayed(again)
    assert len(calls.read_bytes()) == 2


def test_an_answer_names_no_index_that_is_gone(callers: Callers) -> None:
    """All that an answer names can be read: the index is there again, whether the run was replayed or not."""
    service = callers.service
    payload, _ = counted(callers)
    index = service.file(service.run(payload)["index_path"])
    index.unlink()

    success(service, service.post(payload), payload)


# --- something else --------------------------------------------------------------------------------------------------

OTHERS = [
    pytest.param({"inputs": {"schema": "v1", "params": {"do": [["write", "outputs/text.txt", "x"]]}}}, id="inputs"),
    pytest.param({"mode": "real"}, id="mode"),
    pytest.param({"execution_id": "another-one"}, id="id"),
]


@pytest.mark.parametrize("change", OTHERS)
def test_anything_else_under_a_settled_prefix_is_refused(callers: Callers, change: JsonObject) -> None:
    """Whatever differs; what lies there stays as it is."""
    service = callers.service
    payload, _ = counted(callers)
    payload["write_prefix"] = prefix_of(payload)
    service.run(payload)
    files, tree = times(service, payload), service.tree()
    other = payload | change

    for answer in (service.post(other), service.http.post("/run-stream", json=other)):
        refusal(service, answer, "ERR_EXECUTION_CONFLICT", execution_id=other["execution_id"])

    assert (times(service, payload), service.tree()) == (files, tree)
    assert is_replayed(service.post(payload))


@pytest.mark.parametrize("change", OTHERS)
def test_anything_else_under_a_failed_prefix_is_refused(callers: Callers, change: JsonObject) -> None:
    """A failure may be tried again by the one whose it is, and by nobody else."""
    service = callers.service
    payload = callers.exactly(["raise", "ValueError", "x"])
    payload["write_prefix"] = prefix_of(payload)
    service.run(payload)
    other = payload | change

    refusal(service, service.post(other), "ERR_EXECUTION_CONFLICT", execution_id=other["execution_id"])


@pytest.mark.parametrize("change", [*OTHERS, pytest.param({"write_prefix": "/artifacts/elsewhere/x/"}, id="prefix")])
def test_anything_else_in_flight_is_refused(callers: Callers, change: JsonObject) -> None:
    """Under that prefix, or under that id."""
    service, gate = callers.service, callers.gate()
    payload, calls = counted(callers, callers.held(gate))
    payload["write_prefix"] = prefix_of(payload)
    first = callers.running(gate, payload)
    other = payload | change

    for answer in (service.post(other), service.http.post("/run-stream", json=other)):
        refusal(service, answer, "ERR_EXECUTION_CONFLICT", execution_id=other["execution_id"])
    service.allow(gate)

    success(service, first.result(), payload)
    assert calls.read_bytes() == b"."


def test_a_settled_id_under_another_prefix_is_a_run_of_its_own(callers: Callers) -> None:
    """The prefix is the key: the first one's files stay."""
    service = callers.service
    payload, calls = counted(callers)
    first = service.post(payload)
    other = payload | {"write_prefix": "/artifacts/elsewhere/{execution_id}/"}

    second = service.post(other)

    success(service, second, other)
    assert not is_replayed(second)
    assert len(calls.read_bytes()) == 2
    assert same(first, service.post(payload))


def test_two_runs_side_by_side_below_one_folder_are_two_runs(callers: Callers) -> None:
    """A prefix is one folder, not all that lies below it."""
    service, gates = callers.service, [callers.gate(), callers.gate()]
    payloads = [callers.payload(callers.held(gate)) for gate in gates]
    payloads[1]["write_prefix"] = f"{prefix_of(payloads[0])}below/"
    answers = [callers.running(gate, payload) for gate, payload in zip(gates, payloads, strict=True)]

    for gate in gates:
        service.allow(gate)

    assert [answer.result().status_code for answer in answers] == [200, 200]


# --- after a restart -------------------------------------------------------------------------------------------------


def test_a_success_is_replayed_after_a_restart(tmp_path: Path) -> None:
    """After a kind one and after kill -9; an error runs again, something else is refused, as before it."""
    with Service(STEPS, tmp_path, {"PROCESSOR_MODE": "mock"}) as service:
        callers = Callers(service)
        payload, calls = counted(callers)
        failed = [counted(callers, ["fail_first", callers.gate()]) for _ in range(2)]
        first = service.post(payload)
        for mine, _ in failed:
            service.run(mine)
        files = times(service, payload)

    for number, (mine, its_calls) in zip((signal.SIGKILL, signal.SIGTERM), failed, strict=True):
        with Service(STEPS, tmp_path, {"PROCESSOR_MODE": "mock"}) as service:
            again = service.post(payload)
            assert same(first, again)
            assert is_replayed(again)
            assert calls.read_bytes() == b"."
            assert times(service, payload) == files
            success(service, service.post(mine), mine)
            assert len(its_calls.read_bytes()) == 2
            other = payload | {"inputs": mine["inputs"]}
            refusal(service, service.post(other), "ERR_EXECUTION_CONFLICT", execution_id=other["execution_id"])
            service.stop(number)


def test_another_image_does_not_answer_for_the_first_one(tmp_path: Path) -> None:
    """Neither with its envelope nor over it: a receipt of another digest or ref is a conflict, a failed one's too."""
    room, mock = tmp_path / "room", {"PROCESSOR_MODE": "mock"}
    with Service(STEPS, room, mock) as service:
        callers = Callers(service)
        payload, failed = callers.payload(), callers.exactly(["raise", "ValueError", "x"])
        first = service.post(payload)
        service.run(failed)

    other_ref = variant(STEPS, tmp_path / "other", lambda registry: registry.update(ref="fix/steps@2"))
    for folder, environ in ((STEPS, {**mock, "IMAGE_DIGEST": OTHER_DIGEST}), (other_ref, mock)):
        with Service(folder, room, environ) as service:
            for mine in (payload, failed):
                refusal(service, service.post(mine), "ERR_EXECUTION_CONFLICT", execution_id=mine["execution_id"])

    with Service(STEPS, room, {**mock, "IMAGE_DIGEST": f"repo/x@{DIGEST}"}) as service:
        again = service.post(payload)
        assert same(first, again)
        assert is_replayed(again)


GARBAGE = [
    pytest.param(lambda _: b"", id="empty"),
    pytest.param(lambda content: content[: len(content) // 2], id="half"),
    pytest.param(lambda content: content[:-1], id="all but the last byte"),
    pytest.param(lambda _: b"\x00" * 4096, id="zeros"),
    pytest.param(lambda _: b"\xff\xfe garbage", id="no text"),
    pytest.param(lambda _: b"[]", id="a list"),
    pytest.param(lambda _: b"{}", id="an empty object"),
    pytest.param(lambda content: content.replace(b'"envelope"', b'"envelopes"'), id="no envelope"),
    pytest.param(lambda content: content.replace(b'"success"', b'"succeeded"'), id="no known status"),
    pytest.param(lambda _: b"[" * 100_000, id="deep"),
]


@pytest.mark.parametrize("spoil", GARBAGE)
def test_a_receipt_that_is_none_counts_as_none(callers: Callers, spoil: Callable[[bytes], bytes]) -> None:
    """The run is run again, by whoever asks, and ends in a receipt."""
    service = callers.service
    payload, calls = counted(callers)
    service.run(payload)
    receipt = service.file(f"{prefix_of(payload)}receipt.json")
    receipt.write_bytes(spoil(receipt.read_bytes()))

    again = service.post(payload)

    success(service, again, payload)
    assert not is_replayed(again)
    assert len(calls.read_bytes()) == 2


def test_a_killed_run_leaves_no_receipt_and_nothing_half_written(tmp_path: Path) -> None:
    """Kill -9 in the middle of an output: the same request runs again, and to a success."""
    with Service(STEPS, tmp_path, {"PROCESSOR_MODE": "mock"}) as service:
        callers = Callers(service)
        gate = callers.gate()
        payload, calls = counted(callers, ["output_in_pieces", "outputs/blob.bin", 4, 70_000, gate])
        answer = callers.running(gate, payload)
        service.stop(signal.SIGKILL)
        with pytest.raises(httpx2.TransportError):
            answer.result()
        folder = service.file(prefix_of(payload))
        assert not (folder / "receipt.json").exists()
        assert not (folder / "outputs.json").exists()
        assert not (folder / "outputs" / "blob.bin").exists()
        service.allow(gate)

    with Service(STEPS, tmp_path, {"PROCESSOR_MODE": "mock"}) as service:
        again = service.post(payload)
        succeeded_after_a_kill(service, again, payload)
        assert not is_replayed(again)
        assert len(calls.read_bytes()) == 2


# --- two processes ---------------------------------------------------------------------------------------------------


@contextmanager
def two_services(room: Path, kind: str) -> Iterator[tuple[Service, Service]]:
    """Start two services of one image that share an artifacts folder (and the marks)."""
    environ = {
        "PROCESSOR_MODE": "mock",
        "FIXTURE_KIND": kind,
        "PROCESSOR_ARTIFACTS_DIR": str(room / "first" / "artifacts"),
        "FIXTURE_MARKS": str(room / "first" / "marks"),
    }
    with Service(STEPS, room / "first", environ) as first, Service(STEPS, room / "second", environ) as second:
        second.artifacts, second.marks = first.artifacts, first.marks
        yield first, second


@pytest.fixture(scope="module", params=["sync", "async"])
def both(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[tuple[Service, Service]]:
    """The two services, for all tests that kill none of them."""
    with two_services(tmp_path_factory.mktemp("both"), request.param) as services:
        yield services


@pytest.fixture
def pair(both: tuple[Service, Service]) -> Iterator[tuple[Callers, Callers]]:
    """Those who call the two services."""
    with Callers(both[0]) as mine, Callers(both[1]) as yours:
        yield mine, yours


def test_two_processes_run_one_request_once(pair: tuple[Callers, Callers]) -> None:
    """Asked at the same time, over and over: one of them runs it, and both answer with that envelope."""
    mine, yours = pair
    for _ in range(10):
        payload, calls = counted(mine, ["token", "x"])
        asked = [callers.run(payload) for callers in (mine, yours) * 8]
        answers = [answer.result() for answer in asked]

        success(mine.service, answers[0], payload)
        assert same(*answers)
        assert [is_replayed(answer) for answer in answers].count(False) == 1
        assert calls.read_bytes() == b"."


def test_the_other_process_waits_for_the_one_that_runs(pair: tuple[Callers, Callers]) -> None:
    """And answers as soon as that has settled."""
    mine, yours = pair
    gate = mine.gate()
    payload, calls = counted(mine, mine.held(gate))
    first = mine.running(gate, payload)

    second = yours.run(payload)
    yours.service.run(yours.payload())  # it is not held up by waiting
    assert not second.done()
    mine.service.allow(gate)

    assert same(first.result(), second.result())
    assert (is_replayed(first.result()), is_replayed(second.result())) == (False, True)
    assert calls.read_bytes() == b"."


def test_the_other_process_refuses_what_is_not_the_same(pair: tuple[Callers, Callers]) -> None:
    """Under a prefix in which the first one runs: at once, or when that has settled."""
    mine, yours = pair
    gate = mine.gate()
    payload, calls = counted(mine, mine.held(gate))
    first = mine.running(gate, payload)
    other = payload | {"inputs": mine.payload()["inputs"]}

    second = yours.run(other)
    yours.service.run(yours.payload())
    mine.service.allow(gate)

    refusal(yours.service, second.result(), "ERR_EXECUTION_CONFLICT", execution_id=other["execution_id"])
    success(mine.service, first.result(), payload)
    assert calls.read_bytes() == b"."


def test_an_error_of_the_first_process_is_run_again_by_the_second(pair: tuple[Callers, Callers]) -> None:
    """It waited for a success that never came: it runs, or passes the error on; asked once more there is a success."""
    mine, yours = pair
    gate = mine.gate()
    payload, _ = counted(mine, mine.held(gate), ["fail_first", f"{gate}.failed"])
    first = mine.running(gate, payload)
    second = yours.run(payload)
    mine.service.allow(gate)

    failure(mine.service, first.result(), "ERR_RUNTIME", execution_id=payload["execution_id"])
    second.result()
    success(yours.service, yours.service.post(payload), payload)


def test_when_the_process_that_runs_is_killed_the_other_takes_over(tmp_path: Path) -> None:
    """Kill -9: nobody holds its place any more, and nothing of it is in the way."""
    with two_services(tmp_path, "sync") as (first, second), Callers(first) as mine, Callers(second) as yours:
        gate = mine.gate()
        payload, calls = counted(mine, ["output_in_pieces", "outputs/blob.bin", 4, 70_000, gate])
        killed = mine.running(gate, payload)
        taken_over = yours.run(payload)
        second.run(yours.payload())
        assert not taken_over.done()

        first.stop(signal.SIGKILL)
        first.allow(gate)

        with pytest.raises(httpx2.TransportError):
            killed.result()
        succeeded_after_a_kill(second, taken_over.result(), payload)
        assert not is_replayed(taken_over.result())
        assert len(calls.read_bytes()) == 2


def test_a_waiting_place_that_the_other_process_blocks_is_given_up_in_time(pair: tuple[Callers, Callers]) -> None:
    """Who waits for another process longer than `timeout_s` is told, as in a queue."""
    mine, yours = pair
    gate = mine.gate()
    payload, calls = counted(mine, mine.held(gate))
    first = mine.running(gate, payload)

    second = yours.service.post(payload | {"timeout_s": 0.3})
    refusal(yours.service, second, "ERR_BUSY", execution_id=payload["execution_id"])
    mine.service.allow(gate)

    success(mine.service, first.result(), payload)
    assert same(first.result(), yours.service.post(payload))
    assert calls.read_bytes() == b"."


# --- modes -----------------------------------------------------------------------------------------------------------


def test_mock_and_real_never_answer_for_each_other(services: Services) -> None:
    """A mock run's envelope is no real one."""
    service = services.get(STEPS, FIXTURE_KIND="sync", FIX_SECRET=SECRET, FIX_OPTION=OPTION)
    with Callers(service) as callers:
        payload = callers.payload()
        success(service, service.post(payload), payload)
        real = payload | {"mode": "real"}

        refusal(service, service.post(real), "ERR_EXECUTION_CONFLICT", execution_id=real["execution_id"])


# --- helpers ---------------------------------------------------------------------------------------------------------


def succeeded_after_a_kill(service: Service, answer: httpx2.Response, payload: JsonObject) -> None:
    """Fail unless *answer* is the success of *payload*; what the killed run left under other names is no matter."""
    envelope, status = envelope_of(service, answer)
    assert status == 200, envelope
    check_index(service, envelope)
    check_receipt(service, envelope, payload)
    for row in envelope["outputs"]:
        content = service.file(row["path"]).read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (row["size_bytes"], row["sha256"])


def times(service: Service, payload: JsonObject) -> dict[str, tuple[int, str]]:
    """Return when each file of *payload* but the log's mirror was written, and what is in it."""
    found = {}
    folder = service.file(prefix_of(payload))
    for path in folder.rglob("*"):
        with suppress(IsADirectoryError):
            found[str(path)] = (path.stat().st_mtime_ns, hashlib.sha256(path.read_bytes()).hexdigest())
    return {path: value for path, value in found.items() if not path.endswith("trace.ndjson")}

"""Whatever is asked, in whatever order, and whenever the process dies: answers and files agree (§4)."""

from __future__ import annotations

import hashlib
import json
import signal
import tempfile
from pathlib import Path
from typing import Any

import httpx2
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule

from processor_runtime.schemas import validator
from tests.contract.discovery import STEPS
from tests.support.callers import Answer, Callers, is_replayed
from tests.support.service import JsonObject, Service, parsed

IDS = ["one", "two", "three", "four", "five"]
PIECES, PIECE = 6, 50_000
BLOB = b"".join(bytes([number]) * PIECE for number in range(PIECES))
KINDS = st.sampled_from(["quick", "fails", "fails first", "large"])


class Sequences(RuleBasedStateMachine):
    """Runs, streams, cancels, duplicates, restarts and kills over five ids, against what has been answered so far."""

    held: Bundle[tuple[str, JsonObject]] = Bundle("held")

    def __init__(self) -> None:
        super().__init__()
        self.room = Path(tempfile.mkdtemp(prefix="sequences-"))
        self.successes: dict[tuple[str, str], bytes] = {}
        self.asked: list[tuple[JsonObject, Answer]] = []
        self.gates = 0

    @initialize()
    def start(self) -> None:
        """Start the service: for the first time, or again in the same folder."""
        self.service = Service(STEPS, self.room, {"PROCESSOR_MODE": "mock", "PROCESSOR_GRACE_S": "5"}).start()
        self.callers = Callers(self.service)

    def teardown(self) -> None:
        """Let all who wait go, and look at everything once more."""
        if hasattr(self, "service"):
            for path in self.service.marks.glob("*.began"):
                self.service.allow(path.stem)
            self.collect()
            self.service.stop()
            self.callers.__exit__()
            self.service.check_streams()
            self.files_agree()

    # --- what is asked -----------------------------------------------------------------------------------------------

    def request(self, execution_id: str, kind: str) -> JsonObject:
        """Return the request of that id for that kind of run."""
        steps: dict[str, list[list[Any]]] = {
            "quick": [["token", "x"], ["write", "outputs/text.txt", "hello"]],
            "fails": [["write", "outputs/text.txt", "hello"], ["raise", "ValueError", "x"]],
            "fails first": [["write", "outputs/text.txt", "hello"], ["fail_first", f"failed-{execution_id}"]],
            "large": [["write_size", "outputs/blob.bin", 3_000_000], ["write", "outputs/text.txt", "hello"]],
        }
        return self.callers.exactly(*steps[kind], execution_id=execution_id)

    @rule(execution_id=st.sampled_from(IDS), kind=KINDS)
    def run(self, execution_id: str, kind: str) -> None:
        """Ask for a run, and wait for the answer."""
        payload = self.request(execution_id, kind)
        self.answered(payload, self.service.post(payload))

    @rule(execution_id=st.sampled_from(IDS), kind=KINDS)
    def stream(self, execution_id: str, kind: str) -> None:
        """Ask for a stream, and read it to the end."""
        payload = self.request(execution_id, kind)
        answer = self.service.http.post("/run-stream", json=payload)
        if answer.status_code == 200:
            events = [
                (lines[0].removeprefix("event: "), json.loads(lines[1].removeprefix("data: ")))
                for lines in (block.split("\n") for block in answer.text.replace("\r\n", "\n").split("\n\n"))
                if lines[0].startswith("event: ")
            ]
            assert [name for name, _ in events].count("done") == 1
            self.judge(payload, events[-1][1])
        else:
            self.answered(payload, answer)

    @rule(execution_id=st.sampled_from(IDS), kind=KINDS, times=st.integers(2, 6))
    def duplicate(self, execution_id: str, kind: str, times: int) -> None:
        """Ask for the same several times at once, and wait for all answers: they do not contradict each other."""
        payload = self.request(execution_id, kind)
        answers = self.callers.each(self.service.post, [payload] * times)
        for answer in answers:
            self.answered(payload, answer)
        assert len({answer.content for answer in answers if answer.status_code == 200}) <= 1

    @rule(execution_id=st.sampled_from(IDS), kind=KINDS)
    def ask(self, execution_id: str, kind: str) -> None:
        """Ask for a run and do not wait."""
        payload = self.request(execution_id, kind)
        self.asked.append((payload, self.callers.run(payload)))

    @rule(target=held, execution_id=st.sampled_from(IDS), in_the_middle=st.booleans())
    def hold(self, execution_id: str, in_the_middle: bool) -> tuple[str, JsonObject]:  # noqa: FBT001
        """Ask for a run that waits for the test, in the middle of an output or not, and do not wait for its end."""
        self.gates += 1
        gate = f"held-{execution_id}-{in_the_middle}"
        step = ["output_in_pieces", "outputs/blob.bin", PIECES, PIECE, gate] if in_the_middle else ["check_until", gate]
        payload = self.callers.payload(step, execution_id=execution_id)
        self.asked.append((payload, self.callers.run(payload)))
        return gate, payload

    @rule(one=consumes(held))
    def release(self, one: tuple[str, JsonObject]) -> None:
        """Let a run that waits go on."""
        self.service.allow(one[0])

    @rule(execution_id=st.sampled_from(IDS))
    def cancel(self, execution_id: str) -> None:
        """Ask for the end of an execution, whether there is one or not."""
        assert self.callers.cancel(execution_id).status_code in {202, 404}

    @rule(number=st.sampled_from([signal.SIGTERM, signal.SIGKILL, signal.SIGKILL]))
    def restart(self, number: signal.Signals) -> None:
        """End the process, kindly or not, look at what it left, and start another one."""
        if number is signal.SIGTERM:
            for path in self.service.marks.glob("*.began"):
                self.service.allow(path.stem)
        self.service.stop(number)
        for path in self.service.marks.glob("held-*"):
            path.unlink()
        self.collect()
        self.callers.__exit__()
        text = self.service.stderr()
        for line in text[: text.rfind("\n") + 1].splitlines():
            parsed(line)
        self.files_agree()
        self.start()

    # --- what is judged ----------------------------------------------------------------------------------------------

    def collect(self) -> None:
        """Judge the answers that nobody waited for."""
        for payload, answer in self.asked:
            try:
                response = answer.result()
            except httpx2.TransportError:  # the process died before it could answer
                continue
            self.answered(payload, response)
        self.asked.clear()

    def answered(self, payload: JsonObject, answer: httpx2.Response) -> None:
        """Judge an answer."""
        assert answer.status_code in {200, 409, 429, 499, 500, 503}, answer.text
        is_replayed(answer)
        self.judge(payload, answer.json())

    def judge(self, payload: JsonObject, envelope: JsonObject) -> None:
        """Fail if *envelope* is another success than the one that was answered before."""
        assert [error.message for error in validator("envelope").iter_errors(envelope)] == []
        if envelope["status"] == "success":
            content = json.dumps(envelope, sort_keys=True).encode()
            key = (payload["execution_id"], json.dumps(payload["inputs"], sort_keys=True))
            assert self.successes.setdefault(key, content) == content

    @invariant()
    def files_agree(self) -> None:
        """Receipts are whole and name what lies there; an index is a success's; no output is half of one."""
        for folder in (self.room / "artifacts" / "outputs").glob("*"):
            receipt = read(folder / "receipt.json")
            if receipt is not None:
                self.receipt_agrees(folder, receipt)
            blob = folder / "outputs" / "blob.bin"
            if (content := read_bytes(blob)) is not None:
                assert content in {BLOB, bytes(3_000_000)}, f"{len(content)} bytes under a final name"
            if (content := read_bytes(folder / "outputs" / "text.txt")) is not None:
                assert content == b"hello"

    def receipt_agrees(self, folder: Path, receipt: JsonObject) -> None:
        """Fail unless *receipt* is whole, and its success is in the files beside it."""
        assert [error.message for error in validator("receipt").iter_errors(receipt)] == []
        envelope, has_index = receipt["envelope"], (folder / "outputs.json").exists()
        if read(folder / "receipt.json") != receipt:
            return  # it is being replaced while we look
        if envelope["status"] == "error":
            assert not has_index
            return
        for row in envelope["outputs"]:
            path = self.room / "artifacts" / Path(row["path"]).relative_to("/artifacts")
            content = path.read_bytes()
            assert (len(content), hashlib.sha256(content).hexdigest()) == (row["size_bytes"], row["sha256"])
        index = read(folder / "outputs.json")
        assert index == {"execution_id": receipt["execution_id"], "outputs": envelope["outputs"]}


def read(path: Path) -> JsonObject | None:
    """Return the object in *path*, or nothing where no file is."""
    content = read_bytes(path)
    if content is None:
        return None
    found: JsonObject = json.loads(content)
    return found


def read_bytes(path: Path) -> bytes | None:
    """Return what is in *path*, or nothing where no file is."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


TestSequences = Sequences.TestCase
TestSequences.settings = settings(
    max_examples=5, stateful_step_count=30, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)

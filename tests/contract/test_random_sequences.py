"""Whatever is asked, in whatever order, and whenever the process dies: answers and files agree (§4)."""

from __future__ import annotations

import hashlib
import json
import shutil
import signal
import tempfile
import time
from pathlib import Path

import httpx2
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from processor_runtime.schemas import validator
from tests.contract.discovery import STEPS
from tests.support.callers import HELLO, Answer, Callers, Step, is_replayed
from tests.support.service import JsonObject, Service
from tests.support.sse import Stream

KINDS = ["quick", "fails", "fails-first", "large"]
IDS = [f"{kind}-{number}" for kind in KINDS for number in (1, 2)]
HELD = ["held-1", "held-2", "held-in-the-middle-1", "held-in-the-middle-2"]
EVERY = 6  # steps at least between two restarts: they take most of the time
PIECES, PIECE = 6, 50_000
ZEROS = 3_000_000
BLOB = b"".join(bytes([number]) * PIECE for number in range(PIECES))


class Sequences(RuleBasedStateMachine):
    """Runs, streams, cancels, duplicates, restarts and kills over a few ids, against what has been answered so far."""

    def __init__(self) -> None:
        super().__init__()
        self.room = Path(tempfile.mkdtemp(prefix="sequences-"))
        self.successes: dict[tuple[str, str], bytes] = {}
        self.asked: list[tuple[JsonObject, Answer]] = []

    @initialize()
    def start(self) -> None:
        """Start the service: for the first time, or again in the same folder."""
        self.service = Service(STEPS, self.room, {"PROCESSOR_MODE": "mock", "PROCESSOR_GRACE_S": "0.2"}).start()
        self.callers = Callers(self.service)
        self.steps = 0

    def teardown(self) -> None:
        """Let all who wait go, and look at everything once more."""
        if hasattr(self, "service"):
            for name in HELD:
                self.service.allow(name)
            self.collect()
            self.service.stop()
            self.callers.__exit__()
            self.service.check_streams()
            self.files_agree()
        shutil.rmtree(self.room)

    # --- what is asked -----------------------------------------------------------------------------------------------

    def request(self, execution_id: str) -> JsonObject:
        """Return the request of that id: always the same one."""
        kind = execution_id.rpartition("-")[0]
        steps: dict[str, list[Step]] = {
            "quick": [["token", "x"]],
            "fails": [HELLO, ["raise", "ValueError", "x"]],
            "fails-first": [["fail_first", f"failed-{execution_id}"]],
            "large": [["write_size", "outputs/blob.bin", ZEROS]],
            "held": [["check_until", execution_id]],
            "held-in-the-middle": [["output_in_pieces", "outputs/blob.bin", PIECES, PIECE, execution_id]],
        }
        return self.callers.payload(*steps[kind], execution_id=execution_id)

    @rule(execution_id=st.sampled_from(IDS))
    def run(self, execution_id: str) -> None:
        """Ask for a run, and wait for the answer."""
        payload = self.request(execution_id)
        self.answered(payload, self.service.post(payload))

    @rule(execution_id=st.sampled_from(IDS))
    def stream(self, execution_id: str) -> None:
        """Ask for a stream, and read it to the end."""
        payload = self.request(execution_id)
        with Stream.opened(self.service, payload) as stream:
            if stream.response.status_code == httpx2.codes.OK:
                self.judge(payload, stream.checked(execution_id)[-1].data)
            else:
                self.answered(payload, stream.response)

    @rule(execution_id=st.sampled_from(IDS), times=st.integers(2, 6))
    def duplicate(self, execution_id: str, times: int) -> None:
        """Ask for the same several times at once, and wait for all answers: they do not contradict each other."""
        payload = self.request(execution_id)
        answers = self.callers.each(self.service.post, [payload] * times)
        for answer in answers:
            self.answered(payload, answer)
        assert len({answer.content for answer in answers if answer.status_code == httpx2.codes.OK}) <= 1

    @rule(execution_id=st.sampled_from(IDS + HELD))
    def ask_for_something_else(self, execution_id: str) -> None:
        """Ask under a name that is used already, or that is not: what it is used for afterwards is the first one's."""
        payload = self.request(execution_id) | {"inputs": self.callers.payload(["token", "else"])["inputs"]}
        self.answered(payload, self.service.post(payload))

    @rule(execution_id=st.sampled_from(HELD + HELD + IDS))
    def ask(self, execution_id: str) -> None:
        """Ask for a run and do not wait: neither for its beginning nor for its end."""
        payload = self.request(execution_id)
        self.asked.append((payload, self.callers.run(payload)))

    @rule(execution_id=st.sampled_from(HELD))
    def release(self, execution_id: str) -> None:
        """Let a run that waits go on, and those that will come to wait there."""
        self.service.allow(execution_id)

    @rule(execution_id=st.sampled_from(IDS + HELD))
    def cancel_whatever(self, execution_id: str) -> None:
        """Ask for the end of one that may be running, or has settled, or never was."""
        assert self.callers.cancel(execution_id).status_code in {202, 404}

    @precondition(lambda self: self.asked)
    @rule()
    def cancel(self) -> None:
        """Ask for the end of the last one that nobody waits for, until that is heard or it has an answer."""
        payload, answer = self.asked[-1]
        while self.callers.cancel(payload["execution_id"]).status_code != httpx2.codes.ACCEPTED and not answer.done():
            time.sleep(0.01)

    @precondition(lambda self: self.steps >= EVERY)
    @rule(number=st.sampled_from([signal.SIGTERM, signal.SIGKILL, signal.SIGKILL]))
    def restart(self, number: signal.Signals) -> None:
        """End the process, kindly or not, look at what it left, and start another one."""
        self.service.stop(number)
        self.collect()
        for name in HELD:
            (self.service.marks / f"{name}.go").unlink(missing_ok=True)
        self.callers.__exit__()
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
        self.steps += 1
        for folder in (self.room / "artifacts" / "outputs").glob("*"):
            receipt = read(folder / "receipt.json")
            if receipt is not None:
                self.receipt_agrees(folder, receipt)
            blob = folder / "outputs" / "blob.bin"
            if (content := read_bytes(blob)) is not None:
                assert content in {BLOB, bytes(ZEROS)}, f"{len(content)} bytes under a final name"
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
    max_examples=10,
    stateful_step_count=25,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate],  # a step may take seconds: a shorter sequence is not worth the minutes to find it
    suppress_health_check=list(HealthCheck),
)

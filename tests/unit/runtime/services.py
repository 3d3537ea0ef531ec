"""Services without HTTP, for tests: a handler, a folder and settings in; statuses and envelopes out."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from processor_runtime.declaration import Declaration
from processor_runtime.execution import Answer, Caller
from processor_runtime.handler import Processor, SetUp, Work
from processor_runtime.run import Run
from processor_runtime.service import Service
from processor_runtime.settings import Settings
from processor_runtime.sse import EventBuffer

GENEROUS_S = 20.0
DIGEST = "sha256:" + "0123456789abcdef" * 4
DOCUMENT: dict[str, Any] = {
    "ref": "ns/name@1",
    "runtime": {"cpu": "1", "memory_gb": 2, "timeout_s": 60, "concurrency": 1},
    "secrets": {"required": ["NEEDED_KEY"], "optional": ["SPARE_KEY"]},
    "inputs": {"type": "object"},
    "outputs": [
        {"path": "outputs/a.txt", "mime": "text/plain", "description": "text", "optional": True},
        {"path": "outputs/b.txt", "mime": "text/plain", "description": "text", "optional": True},
    ],
}


def declared(**changes: Any) -> Declaration:
    """Return the declaration of `DOCUMENT`; *changes* replace its parts, those of `runtime` one by one."""
    runtime = {**DOCUMENT["runtime"], **changes.pop("runtime", {})}
    return Declaration.parse({**DOCUMENT, **changes, "runtime": runtime})


def set_for(folder: Path, **environ: str) -> Settings:
    """Return settings by which `/artifacts` is *folder*, and *environ* on top."""
    return Settings.from_env({"IMAGE_DIGEST": DIGEST, "PROCESSOR_ARTIFACTS_DIR": str(folder), **environ})


def payload(execution_id: str = "e1", **changes: Any) -> dict[str, Any]:
    """Return a good request body; *changes* replace its fields."""
    return {
        "schema": "v1",
        "execution_id": execution_id,
        "write_prefix": "/artifacts/outputs/{execution_id}/",
        "mode": "mock",
        "inputs": {"schema": "v1", "params": {}},
        **changes,
    }


class Asked:
    """One request that was sent, and its answer when it comes."""

    def __init__(self) -> None:
        self._came = threading.Event()
        self._answers: list[Answer] = []

    def __call__(self, answer: Answer) -> None:
        """Take the answer."""
        self._answers.append(answer)
        self._came.set()

    @property
    def answered(self) -> bool:
        """Whether the answer is there."""
        return self._came.is_set()

    @property
    def answer(self) -> Answer:
        """The one answer; waits for it."""
        assert self._came.wait(GENEROUS_S), "no answer came"
        assert len(self._answers) == 1, "one request got several answers"
        return self._answers[0]

    @property
    def envelope(self) -> dict[str, Any]:
        """The one envelope; waits for it."""
        found: dict[str, Any] = json.loads(self.answer.body)
        return found

    @property
    def verdict(self) -> tuple[int, str]:
        """HTTP status, and the error's code or ``success``; waits for them."""
        envelope = self.envelope
        code = envelope["error"]["code"] if envelope["status"] == "error" else "success"
        return self.answer.status, code


class StreamReader(Asked):
    """A request that streams: it is told that there will be a run, and may leave."""

    def __init__(self) -> None:
        super().__init__()
        self.events = EventBuffer(lambda: None)
        self.leave: Callable[[], None] = lambda: None
        self._accepted = threading.Event()

    def accepted(self, left: Callable[[], None]) -> None:
        """Take the function to leave by."""
        self.leave = left
        self._accepted.set()

    def wait_until_accepted(self) -> None:
        """Return when there will be a run."""
        assert self._accepted.wait(GENEROUS_S), "the stream was not accepted"


class Bench:
    """One service, asked without HTTP."""

    def __init__(
        self,
        folder: Path,
        work: Work,
        *,
        setup: SetUp | None = None,
        secrets: Mapping[str, str] | None = None,
        environ: Mapping[str, str] | None = None,
        publish: Callable[[], None] | None = None,
        refresh: Callable[[], None] | None = None,
        **changes: Any,
    ) -> None:
        self.folder = folder
        self.service = Service(
            Processor(work, setup),
            declared(**changes),
            set_for(folder, **(environ or {})),
            secrets or {},
            publish=publish,
            refresh=refresh,
        )

    def ask(self, body: dict[str, Any] | bytes, trace_id: str | None = None) -> Asked:
        """Send *body* as `/run` would."""
        asked = Asked()
        self.service.call(body if isinstance(body, bytes) else json.dumps(body).encode(), Caller(asked), trace_id)
        return asked

    def read(self, body: dict[str, Any]) -> StreamReader:
        """Send *body* as `/run-stream` would."""
        reader = StreamReader()
        self.service.call(json.dumps(body).encode(), Caller(reader, reader.accepted, reader.events))
        return reader

    def until_asked_for(self, count: int) -> None:
        """Return when *count* executions are in flight."""
        until(lambda: len(self.service._executor._by_id) == count)

    def until_waiting(self, count: int) -> None:
        """Return when *count* executions wait for a slot."""
        until(lambda: len(self.service._executor._waiting) == count)

    def until_idle(self) -> None:
        """Return when no execution is in flight and no slot is taken."""
        executor = self.service._executor
        until(lambda: not executor._by_id and not executor._by_prefix and executor._slots_taken == 0)

    def receipt(self, execution_id: str = "e1") -> dict[str, Any]:
        """Return the receipt under the usual prefix."""
        found: dict[str, Any] = json.loads((self.folder / "outputs" / execution_id / "receipt.json").read_bytes())
        return found

    def files(self) -> list[str]:
        """Return every file below the folder."""
        return sorted(str(path.relative_to(self.folder)) for path in self.folder.rglob("*") if path.is_file())


def write_hello(run: Run) -> None:
    """Write one output: the plainest handler."""
    run.write_text("outputs/a.txt", "hello")


class Held:
    """A handler that tells when it runs, and waits until it is let go."""

    def __init__(self, after: Work = lambda run: run.write_text("outputs/a.txt", run.execution_id)) -> None:
        self.release = threading.Event()
        self.calls: list[str] = []
        self.ended: list[str] = []
        self._after = after
        self._changed = threading.Condition()

    def __call__(self, run: Run) -> None:
        """Run."""
        with self._changed:
            self.calls.append(run.execution_id)
            self._changed.notify_all()
        assert self.release.wait(GENEROUS_S), "nobody let the handler go"
        try:
            self._after(run)
        finally:
            with self._changed:
                self.ended.append(run.execution_id)
                self._changed.notify_all()

    def wait_until_running(self, count: int = 1) -> None:
        """Return when it was called *count* times."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.calls) >= count, GENEROUS_S), "the handler did not start"

    def wait_until_ended(self, count: int = 1) -> None:
        """Return when *count* calls have ended."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.ended) >= count, GENEROUS_S), "the handler did not end"


def until(condition: Callable[[], bool]) -> None:
    """Return when *condition* holds; for what nobody announces."""
    waiting = threading.Event()
    for _ in range(int(GENEROUS_S / 0.001)):
        if condition():
            return
        waiting.wait(0.001)
    raise AssertionError("it never came about")

"""`llm/chat@1` in real mode: its own process, as on a laptop, against a server that speaks the provider's protocol."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.support.openai_server import OpenAIServer, events, reply_answer

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "code" / "apps" / "core" / "processors" / "llm_chat"
ASKED = "canary-question, what is two and two?"
STARTS_WITHIN_S = 60
ids = count(1)


class Processor:
    """A processor under uvicorn on a free port; *stderr* grows while it runs."""

    def __init__(self, process: subprocess.Popen[str], port: int, artifacts: Path) -> None:
        self.artifacts = artifacts
        self.stderr: list[str] = []
        self._process = process
        self.http = httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def wait_for_health(self, answer: dict[str, Any]) -> None:
        """Return once `/healthz` says *answer*."""
        ends = time.monotonic() + STARTS_WITHIN_S
        while time.monotonic() < ends:
            assert self._process.poll() is None, "".join(self.stderr)
            try:
                if self.http.get("/healthz").json() == answer:
                    return
            except httpx2.ConnectError:
                pass
            time.sleep(0.02)
        pytest.fail(f"no {answer} within {STARTS_WITHIN_S} s:\n{''.join(self.stderr)}")

    def payload(self, mode: str = "real", *, timeout_s: float | None = None, **params: object) -> dict[str, Any]:
        """Return a request with an id of its own."""
        request = {
            "schema": "v1",
            "execution_id": f"chat-{next(ids)}",
            "write_prefix": "/artifacts/outputs/{execution_id}/",
            "mode": mode,
            "inputs": {"schema": "v1", "params": {"messages": [{"role": "user", "content": ASKED}], **params}},
        }
        return request if timeout_s is None else {**request, "timeout_s": timeout_s}

    def run(self, mode: str = "real", *, timeout_s: float | None = None, **params: object) -> dict[str, Any]:
        """Return the envelope of one run."""
        envelope: dict[str, Any] = self.http.post("/run", json=self.payload(mode, timeout_s=timeout_s, **params)).json()
        return envelope

    def read(self, envelope: dict[str, Any], name: str) -> str:
        """Return the text of the output *name*."""
        path = f"/artifacts/outputs/{envelope['execution_id']}/outputs/{name}"
        assert path in [row["path"] for row in envelope["outputs"]]
        return (self.artifacts / Path(path).relative_to("/artifacts")).read_text(encoding="utf-8")

    def metadata(self, envelope: dict[str, Any]) -> dict[str, Any]:
        """Return what `metadata.json` holds."""
        metadata: dict[str, Any] = json.loads(self.read(envelope, "metadata.json"))
        return metadata

    def wait_for_line(self, execution_id: str, event: str) -> None:
        """Return once the log has that *event* of that run: an answer may be quicker than its last line."""
        ends = time.monotonic() + STARTS_WITHIN_S
        while time.monotonic() < ends:
            if any(execution_id in line and event in line for line in list(self.stderr)):
                return
            time.sleep(0.02)
        pytest.fail(f"no {event} of {execution_id}:\n{''.join(self.stderr)}")

    def stop(self) -> str:
        """End the process and return what it wrote to stdout."""
        self.http.close()
        self._process.terminate()
        assert self._process.stdout is not None
        with self._process.stdout as stdout:
            said = stdout.read()
        self._reader.join()
        self._process.wait()
        return said

    def _read(self) -> None:
        assert self._process.stderr is not None
        with self._process.stderr as lines:
            for line in lines:
                self.stderr.append(line)


@contextmanager
def started(artifacts: Path, *, ready: bool = True, **environ: str) -> Iterator[Processor]:
    """Run the processor as its image does, with `CI` scrubbed from its environment unless *environ* has it."""
    with socket.socket() as chosen:
        chosen.bind(("127.0.0.1", 0))
        port = chosen.getsockname()[1]
    inherited = {name: value for name, value in os.environ.items() if name != "CI" and not name.startswith("OPENAI_")}
    process = subprocess.Popen(
        [sys.executable, "-m", "uvicorn", "app.http:app", "--host", "127.0.0.1", "--port", str(port)],
        cwd=FOLDER,
        env={
            **inherited,
            "IMAGE_DIGEST": f"sha256:{'0' * 64}",
            "PROCESSOR_ARTIFACTS_DIR": str(artifacts),
            **environ,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    processor = Processor(process, port, artifacts)
    try:
        if ready:
            processor.wait_for_health({"ok": True})
        yield processor
    finally:
        assert processor.stop() == ""


@pytest.fixture(scope="module")
def provider() -> Iterator[OpenAIServer]:
    """The provider that all runs of this file ask."""
    with OpenAIServer() as server:
        yield server


@pytest.fixture(scope="module")
def service(provider: OpenAIServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processor]:
    """The processor that all tests of this file share; none leaves anything behind in it."""
    artifacts = tmp_path_factory.mktemp("artifacts")
    with started(artifacts, OPENAI_API_KEY=provider.key, OPENAI_BASE_URL=provider.base_url) as processor:
        yield processor
    # whatever the tests of this file provoked, up to the very last line
    log = "".join(processor.stderr)
    assert [said for said in (ASKED, provider.key, "lanted", "Sign in") if said in log] == []


@pytest.fixture
def chat(service: Processor, provider: OpenAIServer) -> Processor:
    """The processor, with a provider that has forgotten what it was asked and told to play."""
    provider.forget()
    return service


# --- answers ---------------------------------------------------------------------------------------------------------


def test_an_answer_becomes_two_files(chat: Processor, provider: OpenAIServer) -> None:
    """The text as it came, and what the provider says about it."""
    provider.play(reply_answer("Two and two is four.", model="tiny-2026-01-01"))

    envelope = chat.run(model="tiny")

    assert envelope["status"] == "success"
    assert chat.read(envelope, "response.txt") == "Two and two is four."
    assert chat.metadata(envelope) == {
        "model": "tiny-2026-01-01",
        "tokens": {"prompt": 6, "completion": 5, "total": 11},
        "finish_reason": "stop",
    }


def test_the_provider_gets_what_was_asked_and_the_key(chat: Processor, provider: OpenAIServer) -> None:
    """Nothing is added to the question, and a stream is asked for, with the tokens counted."""
    chat.run(model="tiny", temperature=0.5, max_tokens=7)

    (request,) = provider.requests
    assert request.headers["authorization"] == f"Bearer {provider.key}"
    assert request.body == {
        "model": "tiny",
        "messages": [{"role": "user", "content": ASKED}],
        "temperature": 0.5,
        "max_tokens": 7,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def test_without_a_count_of_tokens_metadata_says_null(chat: Processor, provider: OpenAIServer) -> None:
    """Not every server counts."""
    provider.play("no-usage")

    assert chat.metadata(chat.run())["tokens"] is None


def test_an_answer_cut_by_max_tokens_is_a_success_that_says_so(chat: Processor, provider: OpenAIServer) -> None:
    """It is what was asked for."""
    provider.play("length")

    envelope = chat.run(max_tokens=6)

    assert envelope["status"] == "success"
    assert chat.metadata(envelope)["finish_reason"] == "length"


def test_a_character_in_two_halves_is_written_whole(chat: Processor, provider: OpenAIServer) -> None:
    """A provider that cuts by code units sends an emoji in two deltas."""
    halves = [{"choices": [{"index": 0, "delta": {"content": half}}]} for half in ("\ud83d", "\ude00")]
    provider.play(events(*halves, {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}))

    assert chat.read(chat.run(), "response.txt") == "\U0001f600"


def test_events_that_say_nothing_are_passed_over(chat: Processor, provider: OpenAIServer) -> None:
    """Servers send keep-alives and fields of their own."""
    known = [
        {"choices": [{"index": 0, "delta": {"content": "four"}}]},
        {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
    ]
    provider.play(events(42, None, [], {"x_vendor": 1}, {"choices": None}, {"choices": [{"delta": 5}]}, *known))

    assert chat.read(chat.run(), "response.txt") == "four"


def test_eight_runs_ask_at_the_same_time(chat: Processor, provider: OpenAIServer) -> None:
    """The registry says `concurrency: 8`: the eighth does not wait for the first."""
    provider.play(*[reply_answer("four", hold_after=0)] * 8)
    with ThreadPoolExecutor(8) as pool:
        runs = [pool.submit(chat.run) for _ in range(8)]
        try:
            provider.wait_for_requests(8)
        finally:
            provider.release()

    assert [chat.read(run.result(), "response.txt") for run in runs] == ["four"] * 8


# --- failures --------------------------------------------------------------------------------------------------------

FAILURES = [
    # fault, whether asking again may help, how often the provider was asked
    pytest.param("400", False, 1, id="the request is invalid"),
    pytest.param("401", False, 1, id="the key is wrong"),
    pytest.param("403", False, 1, id="not allowed"),
    pytest.param("404", False, 1, id="no such model"),
    pytest.param("422", False, 1, id="the request cannot be processed"),
    pytest.param("429", True, 3, id="too many requests, each time"),
    pytest.param("429-long", True, 1, id="too many requests, and a long wait"),
    pytest.param("429-quota", False, 3, id="no quota left"),
    pytest.param("500", True, 3, id="the provider fails, each time"),
    pytest.param("503", True, 3, id="the provider is overloaded, each time"),
    pytest.param("drop", True, 3, id="the connection breaks before an answer, each time"),
    pytest.param("drop-mid", True, 1, id="the connection breaks in the middle"),
    pytest.param("cut-mid", True, 1, id="the answer ends in the middle"),
    pytest.param("error-mid", True, 1, id="an error event in the middle"),
    pytest.param("malformed", False, 1, id="broken JSON"),
    pytest.param("malformed-utf8", False, 1, id="broken UTF-8"),
    pytest.param("html", False, 1, id="a sign-in page"),
    pytest.param("empty-stream", True, 1, id="a stream of nothing"),
    pytest.param("empty", True, 1, id="an empty answer"),
    pytest.param("length-empty", False, 1, id="all tokens spent and nothing said"),
    pytest.param("content-filter", False, 1, id="withheld"),
    pytest.param("tool-calls", False, 1, id="a tool call that nobody can answer"),
    pytest.param("no-finish", True, 1, id="no reason to end"),
]


@pytest.mark.parametrize(("fault", "retryable", "asked"), FAILURES)
def test_a_failing_provider_is_named_as_such(
    chat: Processor,
    provider: OpenAIServer,
    fault: str,
    retryable: bool,  # noqa: FBT001
    asked: int,
) -> None:
    """One code for all, `retryable` for the client, and never more than three attempts."""
    provider.play(*[fault] * 4)

    error = chat.run()["error"]

    assert (error["code"], error["message"]) == ("ERR_PROVIDER", "provider failed")
    assert error["retryable"] is retryable
    assert [detail["path"] for detail in error["details"]] == ["provider"]
    assert len(provider.requests) == asked


@pytest.mark.parametrize("faults", [["503"], ["429", "500"], ["drop"]], ids=" then ".join)
def test_what_passes_is_tried_again(chat: Processor, provider: OpenAIServer, faults: list[str]) -> None:
    """The caller never hears of it."""
    provider.play(*faults, reply_answer("four"))

    envelope = chat.run()

    assert chat.read(envelope, "response.txt") == "four"
    assert len(provider.requests) == len(faults) + 1


@pytest.mark.parametrize("fault", ["hang", "hang-mid"])
def test_a_provider_that_hangs_is_left_before_the_deadline(chat: Processor, provider: OpenAIServer, fault: str) -> None:
    """The answer blames the provider, not the run's own deadline, and no connection stays open."""
    provider.play(fault)

    error = chat.run(timeout_s=1.5)["error"]

    assert (error["code"], error["retryable"]) == ("ERR_PROVIDER", True)
    provider.wait_for_clients_gone(1)


def test_an_answer_without_end_is_left(chat: Processor, provider: OpenAIServer) -> None:
    """Memory is finite; no model's longest answer is near the limit."""
    provider.play(reply_answer("x" * 4_000_001))

    error = chat.run()["error"]

    assert (error["code"], error["retryable"]) == ("ERR_PROVIDER", False)


def test_a_failed_run_leaves_no_answer_behind(chat: Processor, provider: OpenAIServer) -> None:
    """Half an answer is none."""
    provider.play("drop-mid")

    prefix = chat.artifacts / "outputs" / chat.run()["execution_id"]

    assert (prefix / "receipt.json").exists()
    assert not (prefix / "outputs.json").exists()
    assert not list(prefix.glob("outputs/*"))


# --- streams ---------------------------------------------------------------------------------------------------------


def test_tokens_arrive_while_the_provider_still_speaks(chat: Processor, provider: OpenAIServer) -> None:
    """The first ones are read while the provider holds back the rest, which comes once they were read."""
    provider.play(reply_answer("one two three", hold_after=2))
    heard, envelope = "", {}
    with chat.http.stream("POST", "/run-stream", json=chat.payload()) as response:
        for name, data in _events(response.iter_lines()):
            heard += data["text"] if name == "token" else ""
            if heard == "one two":
                provider.release()
            if name == "done":
                envelope = data

    assert heard == chat.read(envelope, "response.txt") == "one two three"


def test_a_cancelled_run_hangs_up_on_the_provider(chat: Processor, provider: OpenAIServer) -> None:
    """What nobody waits for should not be paid for."""
    provider.play("hang-mid")
    payload = chat.payload()
    with ThreadPoolExecutor(1) as pool:
        run = pool.submit(lambda: chat.http.post("/run", json=payload).json())
        provider.wait_for_requests(1)
        assert chat.http.delete(f"/run/{payload['execution_id']}").status_code == httpx2.codes.ACCEPTED

        assert run.result()["error"]["code"] == "ERR_CANCELLED"
    provider.wait_for_clients_gone(1)


def _events(lines: Iterator[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    name = ""
    for line in lines:
        field, _, value = line.partition(": ")
        if field == "event":
            name = value
        elif field == "data":
            yield name, json.loads(value)


# --- what is kept to itself ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["401", "500", "error-mid", "malformed", "html", "hang-mid"])
def test_neither_question_nor_key_nor_the_providers_words_leave(
    chat: Processor, provider: OpenAIServer, fault: str
) -> None:
    """Not in the envelope or the files, the log's mirror included: providers quote both in their errors."""
    provider.play(*[fault] * 3)

    envelope = chat.run(timeout_s=2)

    prefix = chat.artifacts / "outputs" / envelope["execution_id"]
    kept = {path.name: path.read_text(encoding="utf-8") for path in prefix.rglob("*") if path.is_file()}
    said = {"envelope": json.dumps(envelope), **kept}
    assert {"receipt.json", "trace.ndjson"} <= kept.keys()
    for forbidden in (ASKED, provider.key, "lanted", "Sign in"):
        assert [name for name, text in said.items() if forbidden in text] == []


def test_the_log_says_what_broke(chat: Processor, provider: OpenAIServer) -> None:
    """Enough to find the cause, in the run's own lines."""
    provider.play("401")

    envelope = chat.run()

    trace = chat.artifacts / "outputs" / envelope["execution_id"] / "logs" / "trace.ndjson"
    lines = [json.loads(line) for line in trace.read_text(encoding="utf-8").splitlines()]
    (line,) = [line for line in lines if line["event"] == "handler.error"]
    assert line["context"]["error"] == "AuthenticationError"
    assert line["context"]["provider_status"] == 401


def test_the_log_says_what_an_answer_cost(chat: Processor) -> None:
    """Numbers only."""
    envelope = chat.run()

    trace = chat.artifacts / "outputs" / envelope["execution_id"] / "logs" / "trace.ndjson"
    (line,) = [line for line in map(json.loads, trace.read_text("utf-8").splitlines()) if "llm" in line["event"]]
    assert line["event"] == "handler.llm.ok"
    assert line["tokens"] == {"prompt": 6, "completion": 8, "total": 14}


def test_each_line_on_stderr_is_an_object(chat: Processor, provider: OpenAIServer) -> None:
    """The SDK's own lines about its retries included."""
    provider.play("503")
    chat.wait_for_line(chat.run()["execution_id"], "http.run.settle")

    events_seen = {json.loads(line)["event"] for line in list(chat.stderr)}
    assert {"http.run.start", "handler.llm.ok", "http.run.settle"} <= events_seen
    assert not events_seen & {"process.stray", "process.error"}


# --- before the provider is asked ------------------------------------------------------------------------------------


def test_in_ci_the_provider_is_never_asked(provider: OpenAIServer, tmp_path: Path) -> None:
    """The same service with `CI` in its environment: no cost, and mock still answers."""
    provider.forget()
    with started(tmp_path, CI="true", OPENAI_API_KEY=provider.key, OPENAI_BASE_URL=provider.base_url) as chat:
        assert chat.run()["error"]["code"] == "ERR_CI_SAFETY"
        assert chat.run("mock")["status"] == "success"

    assert provider.requests == []


@pytest.mark.parametrize(
    ("name", "value"),
    [("OPENAI_BASE_URL", "canary-host/v1"), ("OPENAI_API_KEY", "canary key")],
    ids=["an address that is none", "a key that no header can carry"],
)
def test_a_malformed_secret_fails_set_up_by_name(tmp_path: Path, name: str, value: str) -> None:
    """`/healthz` says failed, real is refused, mock still answers, and the value is told nowhere."""
    with started(tmp_path, ready=False, **{"OPENAI_API_KEY": "sk-any-key-at-all", name: value}) as chat:
        chat.wait_for_health({"ok": False, "state": "failed"})
        refused = chat.run()

        assert refused["error"]["code"] == "ERR_SETUP"
        assert chat.run("mock")["status"] == "success"

    log = "".join(chat.stderr)
    assert name in next(line for line in chat.stderr if json.loads(line)["event"] == "setup.error")
    assert value not in log + json.dumps(refused)

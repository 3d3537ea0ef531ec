"""A run ends in an envelope, an index and a receipt of one mind, whatever happened, and no secret in them."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from processor_runtime import errors, logs
from processor_runtime.errors import InputsError, ProviderError
from processor_runtime.execution import Caller
from processor_runtime.run import Run
from processor_runtime.schemas import validator
from processor_runtime.workspace import RunStoppedError
from tests.unit.runtime.services import Asked, Bench, payload, write_hello


def test_a_run_ends_in_an_envelope_an_index_and_a_receipt(tmp_path: Path) -> None:
    """All of one mind, all valid by their schemas."""
    bench = Bench(tmp_path, write_hello)

    asked = bench.ask(payload(context={"who": "me"}), trace_id="a" * 32)

    envelope, receipt = asked.envelope, bench.receipt()
    index = json.loads((tmp_path / "outputs/e1/outputs.json").read_bytes())
    assert asked.verdict == (200, "success")
    assert validator("envelope").is_valid(envelope)
    assert validator("receipt").is_valid(receipt)
    assert validator("index").is_valid(index)
    assert receipt["envelope"] == envelope
    assert (tmp_path / "outputs/e1/receipt.json").read_bytes().endswith(b',"envelope":' + asked.answer.body + b"}")
    assert receipt["outputs"] == index["outputs"] == envelope["outputs"]
    assert (receipt["context"], receipt["trace_id"]) == ({"who": "me"}, "a" * 32)
    assert envelope["meta"]["extra"] == {}
    assert bench.files() == [
        "outputs/e1/logs/trace.ndjson", "outputs/e1/outputs.json", "outputs/e1/outputs/a.txt",
        "outputs/e1/receipt.json",
    ]  # fmt: skip


def test_rows_are_sorted_by_the_bytes_of_their_paths(tmp_path: Path) -> None:
    """In whatever order they were written."""

    def work(run: Run) -> None:
        for name in ("é", "b", "\U0001f600", "a", "B", "\uffff"):
            run.write_text(f"outputs/{name}.x", name)

    bench = Bench(tmp_path, work, outputs=[{"path": "outputs/*.x", "mime": "a/b", "description": ""}])

    paths = [row["path"].encode() for row in bench.ask(payload()).envelope["outputs"]]

    assert len(paths) == 6
    assert paths == sorted(paths)


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_sync_and_async_handlers_do_the_same(tmp_path: Path, mode: str) -> None:
    """Write, tell, answer."""

    async def work(run: Run) -> None:
        await asyncio.sleep(0)
        write_hello(run)

    bench = Bench(tmp_path, work if mode == "async" else write_hello)

    assert bench.ask(payload()).verdict == (200, "success")
    bench.until_idle()


RAISED = [
    pytest.param(lambda: ValueError("MARKER"), 500, "ERR_RUNTIME", False, id="an exception"),
    pytest.param(lambda: SystemExit(3), 500, "ERR_RUNTIME", False, id="SystemExit"),
    pytest.param(KeyboardInterrupt, 500, "ERR_RUNTIME", False, id="KeyboardInterrupt"),
    pytest.param(asyncio.CancelledError, 500, "ERR_RUNTIME", False, id="CancelledError of its own"),
    pytest.param(RunStoppedError, 500, "ERR_RUNTIME", False, id="RunStoppedError of its own"),
    pytest.param(lambda: InputsError({"path": "/x", "message": "rule"}), 400, "ERR_INPUTS", False, id="InputsError"),
    pytest.param(ProviderError, 502, "ERR_PROVIDER", False, id="ProviderError"),
    pytest.param(lambda: ProviderError(retryable=True), 502, "ERR_PROVIDER", True, id="a retryable ProviderError"),
]


@pytest.mark.parametrize("mode", ["sync", "async"])
@pytest.mark.parametrize(("error", "status", "code", "retryable"), RAISED)
def test_what_a_handler_raises_is_a_run_that_failed(
    *, tmp_path: Path, mode: str, error: Callable[[], BaseException], status: int, code: str, retryable: bool
) -> None:
    """With a receipt, without an index, and never with the exception's own text; the service goes on."""

    def work(run: Run) -> None:
        write_hello(run)
        if run.execution_id == "e1":
            raise error()

    async def async_work(run: Run) -> None:
        await asyncio.sleep(0)
        work(run)

    bench = Bench(tmp_path, async_work if mode == "async" else work)
    asked = bench.ask(payload())

    assert asked.verdict == (status, code)
    assert asked.envelope["error"]["retryable"] is retryable
    assert b"MARKER" not in asked.answer.body
    assert bench.receipt()["envelope"] == asked.envelope
    assert validator("receipt").is_valid(bench.receipt())
    assert not (tmp_path / "outputs/e1/outputs.json").exists()
    assert bench.ask(payload("e2")).verdict == (200, "success")


@pytest.mark.parametrize(
    "code", ["ERR_CI_SAFETY", "ERR_STORAGE", "ERR_BUSY", "ERR_MISSING_SECRET", "ERR_OUTPUT_PATH", "ERR_TIMEOUT"]
)
def test_a_handler_may_not_raise_the_contracts_other_errors(tmp_path: Path, code: str) -> None:
    """CONTRACT section 5: anything else is ERR_RUNTIME."""
    kinds = [kind for kind in errors.ProcessorError.__subclasses__() if kind.code == code]

    def work(_run: Run) -> None:
        raise kinds[0]

    assert Bench(tmp_path, work).ask(payload()).verdict == (500, "ERR_RUNTIME")


def test_a_required_output_that_was_not_written_fails_the_run(tmp_path: Path) -> None:
    """Optional ones and families do not."""
    outputs = [
        {"path": "outputs/a.txt", "mime": "text/plain", "description": ""},
        {"path": "outputs/b.txt", "mime": "text/plain", "description": "", "optional": True},
        {"path": "outputs/*.png", "mime": "image/png", "description": ""},
    ]
    asked = Bench(tmp_path, lambda _run: None, outputs=outputs).ask(payload())

    assert asked.verdict == (500, "ERR_OUTPUT_MISSING")
    assert [detail["path"] for detail in asked.envelope["error"]["details"]] == ["outputs/a.txt"]
    assert Bench(tmp_path, write_hello, outputs=outputs).ask(payload("e2")).verdict == (200, "success")


def test_a_broken_promise_about_outputs_fails_the_run_even_if_the_handler_catches_it(tmp_path: Path) -> None:
    """Else a bare `except` would turn it into a success."""

    def work(run: Run) -> None:
        write_hello(run)
        with contextlib.suppress(Exception):
            write_hello(run)

    assert Bench(tmp_path, work).ask(payload()).verdict == (500, "ERR_OUTPUT_DUPLICATE")


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(2**70, id="an integer beyond 64 bits"),
        pytest.param("\udcff", id="a lone surrogate"),
        pytest.param(float("inf"), id="infinity"),
        pytest.param({1: 2}, id="a key that is no string"),
        pytest.param({(1, 2): 3}, id="a key that is a tuple"),
        pytest.param(object(), id="an object"),
    ],
)
def test_an_extra_that_json_cannot_hold_is_the_handlers_failure_or_is_written_somehow(
    tmp_path: Path, value: Any
) -> None:
    """It is no fault of the disk, which may be asked again, and none of the runtime."""

    def work(run: Run) -> None:
        run.extra["value"] = value

    asked = Bench(tmp_path, work).ask(payload())

    assert asked.verdict in {(500, "ERR_RUNTIME"), (200, "success")}
    assert json.loads((tmp_path / "outputs/e1/receipt.json").read_bytes())["envelope"] == asked.envelope


def test_a_log_field_that_json_cannot_hold_does_not_fail_the_run(tmp_path: Path) -> None:
    """A file's name may be any bytes."""

    def work(run: Run) -> None:
        run.log("found", name="\udcff", number=2**70)

    assert Bench(tmp_path, work).ask(payload()).verdict == (200, "success")


def test_durations_are_there_once_a_run_started(tmp_path: Path) -> None:
    """And not in a refusal."""
    bench = Bench(tmp_path, write_hello)

    assert {"queued_ms", "duration_ms"} <= bench.ask(payload()).envelope["meta"].keys()
    assert not {"queued_ms", "duration_ms"} & bench.ask(payload(mode="dream")).envelope["meta"].keys()


def test_a_refusal_writes_nothing_and_makes_no_folder(tmp_path: Path) -> None:
    """What is refused is no run."""
    bench = Bench(tmp_path, write_hello)

    assert bench.ask(payload(schema="v2")).verdict == (400, "ERR_INPUTS")
    assert bench.ask(b"{").verdict == (400, "ERR_INPUTS")
    assert list(tmp_path.iterdir()) == []


def test_a_storage_error_is_answered_without_a_receipt(tmp_path: Path) -> None:
    """Best-effort: there may be no place for one."""
    (tmp_path / "outputs").write_bytes(b"a file")
    bench = Bench(tmp_path, write_hello)

    asked = bench.ask(payload())

    assert asked.verdict == (507, "ERR_STORAGE")
    assert asked.envelope["error"]["retryable"] is True
    bench.until_idle()


def test_what_cannot_be_published_is_a_storage_error(tmp_path: Path) -> None:
    """The caller could not read what the envelope names."""

    def publish() -> None:
        raise RuntimeError("the volume is gone")

    asked = Bench(tmp_path, write_hello, publish=publish).ask(payload())

    assert asked.verdict == (507, "ERR_STORAGE")
    assert not (tmp_path / "outputs/e1/outputs.json").exists()


def test_it_is_published_after_the_receipt_and_before_the_answer(tmp_path: Path) -> None:
    """When an answer leaves, all that it names can be read."""
    seen: list[bool] = []
    asked: list[Asked] = []

    def publish() -> None:
        seen.append((tmp_path / "outputs/e1/receipt.json").exists() and not asked[0].answered)

    bench = Bench(tmp_path, write_hello, publish=publish)
    bench_asked = Asked()
    asked.append(bench_asked)
    bench.service.call(json.dumps(payload()).encode(), Caller(bench_asked))

    assert bench_asked.verdict == (200, "success")
    assert seen == [True]


# --- secrets


def test_no_secret_leaves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not by extra, context, log line, event, receipt or mirror; outputs are not rewritten."""
    secret = "s3cret-value-123"

    def work(run: Run) -> None:
        run.extra["nested"] = [{"key": run.secrets["NEEDED_KEY"]}]
        run.log("noted", url=f"https://x/?key={secret}")
        run.write_text("outputs/a.txt", secret)

    bench = Bench(tmp_path, work, secrets={"NEEDED_KEY": secret})
    monkeypatch.setattr(logs._sink, "mask", bench.service.mask)
    asked = bench.ask(payload(mode="real", context={"token": secret}))

    assert asked.envelope["meta"]["extra"] == {"nested": [{"key": "***"}]}
    for name in ("receipt.json", "outputs.json", "logs/trace.ndjson"):
        assert secret not in (tmp_path / "outputs/e1" / name).read_text()
    assert (tmp_path / "outputs/e1/outputs/a.txt").read_text() == secret

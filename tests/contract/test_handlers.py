"""What a handler gets and what becomes of what it does, whether it is sync or async (§2 to §5)."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Final

import pytest

from tests.contract.conftest import OPTION, SECRET
from tests.contract.discovery import STEPS
from tests.contract.judge import check_receipt, envelope_of, failure, success
from tests.support.service import JsonObject, Service

CANARY: Final = "canary-text-93ab"
TRACE: Final = "0af7651916cd43dd8448eb211c80319c"
WRITE: Final = ["write", "outputs/text.txt", "hello"]


def asking(service: Service, *do: list[Any], params: JsonObject | None = None, **changes: object) -> JsonObject:
    """Return a request for the steps *do*."""
    return service.payload(inputs={"schema": "v1", "params": {"do": list(do), **(params or {})}}, **changes)


def seen(service: Service, payload: JsonObject) -> JsonObject:
    """Return what the handler saw of *payload*."""
    payload["inputs"]["params"]["do"] = [["report"], WRITE]
    envelope = success(service, service.post(payload), payload)
    report: JsonObject = json.loads(service.file(envelope["outputs"][0]["path"]).read_bytes())
    return report


# --- what it gets ----------------------------------------------------------------------------------------------------


def test_a_handler_gets_the_request(steps: Service) -> None:
    """As it was sent, with nothing added: `default` is an annotation."""
    payload = asking(steps, context={"user": "u1"}, params={"files": [1, None, {"deep": "x"}]})
    report = seen(steps, payload)

    assert (report["execution_id"], report["mode"], report["mock"]) == (payload["execution_id"], "mock", True)
    assert report["inputs"] == payload["inputs"]
    assert report["context"] == {"user": "u1"}
    assert report["day"] is None
    assert report["files"] == [1, None, {"deep": "x"}]


def test_format_is_an_annotation(steps: Service) -> None:
    """`format: date` refuses nothing."""
    assert seen(steps, asking(steps, params={"day": "tomorrow"}))["day"] == "tomorrow"


def test_in_real_a_handler_gets_its_secrets(steps: Service) -> None:
    """Required and optional ones; not by its environment, which children inherit."""
    report = seen(steps, asking(steps, mode="real"))

    assert report["secrets"] == {"FIX_SECRET": SECRET, "FIX_OPTION": OPTION}
    assert not {"FIX_SECRET", "FIX_OPTION"} & report["environ"].keys()


def test_in_mock_no_secret_reaches_a_handler(steps: Service) -> None:
    """Not as a value, not by the environment, not by a child's."""
    report = seen(steps, asking(steps))

    assert report["secrets"] == {}
    assert SECRET not in str(report)
    assert OPTION not in str(report)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        pytest.param(None, 30, id="the registry's by default"),
        pytest.param(12.5, 12.5, id="a lower one"),
        pytest.param(1e9, 30, id="never a higher one"),
    ],
)
def test_the_deadline_is_lowered_only(steps: Service, asked: float | None, expected: float) -> None:
    """`timeout_s` lowers `runtime.timeout_s`."""
    report = seen(steps, asking(steps) if asked is None else asking(steps, timeout_s=asked))

    assert report["timeout_s"] == expected
    assert 0 < report["remaining_s"] <= expected


@pytest.mark.parametrize(
    ("traceparent", "trace_id"),
    [
        pytest.param(f"00-{TRACE}-b7ad6b7169203331-01", TRACE, id="valid"),
        pytest.param(f"cc-{TRACE}-b7ad6b7169203331-01-x", TRACE, id="a later version"),
        pytest.param(None, None, id="none"),
        pytest.param("", None, id="empty"),
        pytest.param("00-00000000000000000000000000000000-b7ad6b7169203331-01", None, id="no trace"),
        pytest.param(f"00-{TRACE}-0000000000000000-01", None, id="no parent"),
        pytest.param("00-0AF7651916CD43DD8448EB211C80319C-B7AD6B7169203331-01", None, id="capitals"),
        pytest.param(f"ff-{TRACE}-b7ad6b7169203331-01", None, id="a version that is none"),
        pytest.param(f"00-{TRACE}-b7ad6b7169203331-01-x", None, id="too much for this version"),
        pytest.param("00-0af7651916cd43dd8448eb211c80319-b7ad6b7169203331-01", None, id="too short"),
        pytest.param("garbage", None, id="garbage"),
    ],
)
def test_a_trace_goes_with_the_run(steps: Service, traceparent: str | None, trace_id: str | None) -> None:
    """To the handler, the receipt and every line of the run; what W3C calls invalid is passed over."""
    payload = asking(steps, ["report"], WRITE)
    headers = {} if traceparent is None else {"traceparent": traceparent}
    envelope = success(steps, steps.post(payload, headers), payload)

    report = json.loads(steps.file(envelope["outputs"][0]["path"]).read_bytes())
    receipt = check_receipt(steps, envelope, payload)
    steps.wait_for_line(event="http.run.settle", execution_id=payload["execution_id"])
    told = {line.get("trace_id") for line in steps.lines(execution_id=payload["execution_id"])}
    assert (report["trace_id"], receipt["trace_id"], told) == (trace_id, trace_id, {trace_id})


# --- what it says ----------------------------------------------------------------------------------------------------


def test_a_handlers_own_values_are_extra(steps: Service) -> None:
    """Only there, and there as they are."""
    values = {"pages": 3, "nested": {"list": [1, "x", None, 0.5]}, "duration_ms": "mine"}
    payload = asking(steps, ["extra", values], WRITE)

    assert success(steps, steps.post(payload), payload)["meta"]["extra"] == values


@pytest.mark.parametrize("kind", ["nan", "bytes", "cycle", "surrogate", "object", "large", "keys"])
def test_extra_that_json_cannot_say_never_breaks_the_envelope(steps: Service, kind: str) -> None:
    """Told in some other way or a failure of the handler: either way an envelope, and the same one in the receipt."""
    payload = asking(steps, ["extra_odd", kind], WRITE)
    envelope, _ = envelope_of(steps, steps.post(payload))

    assert envelope["status"] == "success" or envelope["error"]["code"] == "ERR_RUNTIME"
    check_receipt(steps, envelope, payload)


def test_a_success_without_extra_says_so(steps: Service) -> None:
    """Every success has it."""
    payload = asking(steps, WRITE)

    assert success(steps, steps.post(payload), payload)["meta"]["extra"] == {}


# --- failures --------------------------------------------------------------------------------------------------------

KINDS = [
    "ValueError", "RuntimeError", "OSError", "TimeoutError", "CancelledError", "StopIteration", "StopAsyncIteration",
    "GeneratorExit", "RecursionError", "MemoryError", "KeyboardInterrupt", "SystemExit", "ExceptionGroup",
    "SpeechlessError",
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_whatever_a_handler_raises_is_a_failed_run(steps: Service, kind: str) -> None:
    """One code and one message; the exception's text is for the log, and the service goes on."""
    payload = asking(steps, ["raise", kind, CANARY])
    response = steps.post(payload)

    envelope = failure(steps, response, "ERR_RUNTIME", execution_id=payload["execution_id"])
    receipt = check_receipt(steps, envelope, payload)
    assert CANARY not in response.text
    assert CANARY not in str(receipt)
    assert "Traceback" not in response.text
    assert not re.search(kind, response.text)
    assert not steps.file(f"/artifacts/outputs/{payload['execution_id']}/outputs.json").exists()
    again = asking(steps, WRITE)
    success(steps, steps.post(again), again)


def test_a_failed_run_says_how_long_it_took(steps: Service) -> None:
    """Once a run started, `queued_ms` and `duration_ms` are there; `extra` is only a success's."""
    payload = asking(steps, ["extra", {"half": "done"}], ["raise", "ValueError", CANARY])
    meta = failure(steps, steps.post(payload), "ERR_RUNTIME", execution_id=payload["execution_id"])["meta"]

    assert {"queued_ms", "duration_ms"} <= meta.keys()
    assert meta["queued_ms"] >= 0
    assert meta["duration_ms"] >= 0


def test_a_handler_may_blame_the_inputs(steps: Service) -> None:
    """With paths and rules for the caller; a run it was, so there is a receipt."""
    details = [{"path": "/inputs/params/files", "message": "not a picture"}]
    payload = asking(steps, ["inputs_error", details])
    response = steps.post(payload)
    envelope = failure(steps, response, "ERR_INPUTS", "inputs not usable", execution_id=payload["execution_id"])

    assert envelope["error"]["details"] == details
    check_receipt(steps, envelope, payload)


def test_of_a_handlers_details_twenty_are_told(steps: Service) -> None:
    """At most."""
    details = [{"path": f"/inputs/params/do/{number}", "message": "wrong"} for number in range(50)]
    payload = asking(steps, ["inputs_error", details])
    response = steps.post(payload)
    envelope = failure(steps, response, "ERR_INPUTS", "inputs not usable", execution_id=payload["execution_id"])

    assert envelope["error"]["details"] == details[:20]


@pytest.mark.parametrize("retryable", [True, False])
def test_a_handler_may_blame_the_provider(steps: Service, *, retryable: bool) -> None:
    """It says whether asking again may help; what it knows besides is for the log."""
    payload = asking(steps, ["provider_error", retryable, CANARY])
    response = steps.post(payload)
    envelope = failure(steps, response, "ERR_PROVIDER", execution_id=payload["execution_id"])

    assert envelope["error"]["retryable"] is retryable
    assert CANARY not in response.text
    assert CANARY in str(steps.lines(execution_id=payload["execution_id"]))
    check_receipt(steps, envelope, payload)


# --- secrets ---------------------------------------------------------------------------------------------------------


def test_a_secret_that_a_handler_tells_is_masked(steps: Service) -> None:
    """In extra, nested ones too, in the log, the receipt and the mirror; what it writes as output stays its own."""
    payload = asking(steps, ["spread_secret"], mode="real")
    response = steps.post(payload)
    envelope = success(steps, response, payload)

    steps.wait_for_line(event="http.run.settle", execution_id=payload["execution_id"])
    prefix = steps.file(f"/artifacts/outputs/{payload['execution_id']}")
    told = {path.name: path.read_text("utf-8") for path in prefix.rglob("*") if path.is_file()}
    assert told.pop("text.txt") == SECRET
    told |= {"answer": response.text, "stderr": steps.stderr()}
    assert [(name, value) for name, text in told.items() for value in (SECRET, OPTION) if value in text] == []
    assert envelope["meta"]["extra"]["list"] == ["in *** text", {"deep": "***"}]
    assert {"receipt.json", "trace.ndjson"} <= told.keys()


def test_an_error_that_quotes_a_secret_is_masked(steps: Service) -> None:
    """Tracebacks are logged."""
    payload = asking(steps, ["raise_secret"], mode="real")
    failure(steps, steps.post(payload), "ERR_RUNTIME", execution_id=payload["execution_id"])

    steps.wait_for_line(event="http.run.settle", execution_id=payload["execution_id"])
    lines = str(steps.lines(execution_id=payload["execution_id"]))
    assert "could not log in with ***" in lines
    assert SECRET not in lines


def test_masking_leaves_keys_paths_and_ids_alone(tmp_path: Path) -> None:
    """An id or a file's name that happens to be a secret's value is still the id and the name."""
    service = Service(STEPS, tmp_path / "room", {"FIX_SECRET": SECRET}).start()
    try:
        do: list[list[Any]] = [["extra", {SECRET: "key"}], ["write", f"outputs/page-{SECRET}.png", "x"], WRITE]
        payload = asking(service, *do, mode="real", execution_id=SECRET, write_prefix="/artifacts/here/")
        envelope = success(service, service.post(payload), payload)
    finally:
        service.stop()

    assert envelope["meta"]["extra"] == {SECRET: "key"}
    assert envelope["execution_id"] == SECRET
    assert envelope["outputs"][0]["path"] == f"/artifacts/here/outputs/page-{SECRET}.png"
    assert service.lines(event="http.run.settle", execution_id=SECRET)

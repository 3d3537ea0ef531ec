"""What the contract says of an answer and of the files behind it, for any processor (§2 to §5)."""

from __future__ import annotations

import hashlib
import json
import re
from datetime import datetime
from decimal import Decimal
from fnmatch import translate
from http.client import HTTPResponse
from typing import Final

import httpx2
import rfc8785

from processor_runtime.schemas import validator
from tests.support.service import JsonObject, Service

# §5, written down a second time: what a code means on the wire
TABLE: Final = {
    "ERR_INPUTS": (400, None, False),
    "ERR_MODE_INVALID": (400, "mode must be mock or real and served here", False),
    "ERR_WRITE_PREFIX": (400, "write_prefix not allowed", False),
    "ERR_REF_MISMATCH": (400, "this image serves another ref", False),
    "ERR_UNAUTHORIZED": (401, "missing or wrong token", False),
    "ERR_CI_SAFETY": (403, "mode=real is blocked in CI", False),
    "ERR_NOT_FOUND": (404, "not found", False),
    "ERR_METHOD": (405, "method not allowed", False),
    "ERR_EXECUTION_CONFLICT": (409, "execution_id or write_prefix already used", False),
    "ERR_BUSY": (429, "busy", True),
    "ERR_CANCELLED": (499, "cancelled", False),
    "ERR_RUNTIME": (500, "handler failed", False),
    "ERR_INTERNAL": (500, "internal error", False),
    "ERR_SETUP": (500, "set-up failed", False),
    "ERR_IMAGE_DIGEST_MISSING": (500, None, False),
    "ERR_MISSING_SECRET": (500, "required secret not set", False),
    "ERR_OUTPUT_PATH": (500, "output path not allowed", False),
    "ERR_OUTPUT_DUPLICATE": (500, "output written twice", False),
    "ERR_OUTPUT_MISSING": (500, "declared output not written", False),
    "ERR_OUTPUT_UNDECLARED": (500, "output not declared", False),
    "ERR_PROVIDER": (502, "provider failed", None),
    "ERR_DRAINING": (503, "shutting down", True),
    "ERR_TIMEOUT": (504, "deadline passed", False),
    "ERR_STORAGE": (507, "cannot write artifacts", True),
}
STATUS_OF_INPUTS: Final = {"Content-Type must be application/json": 415, "Request body too large": 413}
BEFORE_A_RUN: Final = {"ref", "env_fingerprint", "image_digest", "pinned"}

Response = httpx2.Response | tuple[HTTPResponse, bytes]


# --- answers ---------------------------------------------------------------------------------------------------------


def refusal(
    service: Service, response: Response, code: str, message: str | None = None, *, execution_id: str = ""
) -> JsonObject:
    """Return the error of *response*; fails unless it is a refusal with *code*, and no run began."""
    envelope = failure(service, response, code, message, execution_id=execution_id)
    assert set(envelope["meta"]) == BEFORE_A_RUN
    error: JsonObject = envelope["error"]
    return error


def failure(
    service: Service, response: Response, code: str, message: str | None = None, *, execution_id: str = ""
) -> JsonObject:
    """Return the envelope of *response*; fails unless it is an error envelope with *code*, as the contract has it."""
    envelope, status = envelope_of(service, response)
    error = envelope["error"]
    usual_status, usual_message, retryable = TABLE[code]
    expected_message = message or usual_message
    assert (error["code"], error["message"]) == (code, expected_message), envelope
    assert status == STATUS_OF_INPUTS.get(error["message"], usual_status)
    assert retryable is None or error["retryable"] is retryable
    assert envelope["execution_id"] == execution_id
    assert set(envelope) == {"status", "execution_id", "error", "meta"}
    assert set(error) == {"code", "message", "retryable", "details"}
    assert all(set(detail) == {"path", "message"} for detail in error["details"])
    return envelope


def envelope_of(service: Service, response: Response) -> tuple[JsonObject, int]:
    """Return the envelope in *response* and the status; fails unless it is one, and one of this service."""
    if isinstance(response, httpx2.Response):
        status, content_type, body = response.status_code, response.headers["content-type"], response.content
    else:
        status, content_type, body = response[0].status, response[0].headers["content-type"], response[1]
    assert content_type.partition(";")[0] == "application/json"
    envelope: JsonObject = json.loads(body, parse_constant=_no_number)
    assert [error.message for error in validator("envelope").iter_errors(envelope)] == []
    assert (envelope["status"] == "success") == (status == 200)
    meta = envelope["meta"]
    assert meta["ref"] == service.ref
    assert meta["env_fingerprint"] == fingerprint(service.registry["runtime"])
    assert meta["image_digest"] == digest_of(service.environ.get("IMAGE_DIGEST", ""))
    assert meta["pinned"] is (service.environ.get("IMAGE_PINNED") == "1")
    return envelope, status


def success(service: Service, response: Response, payload: JsonObject) -> JsonObject:
    """Return the envelope of *response*; fails unless it is the success of *payload*, and its files say the same."""
    envelope, status = envelope_of(service, response)
    assert status == 200, envelope
    prefix = prefix_of(payload)
    assert set(envelope) == {"status", "execution_id", "outputs", "index_path", "meta"}
    assert set(envelope["meta"]) == BEFORE_A_RUN | {"queued_ms", "duration_ms", "extra"}
    assert envelope["execution_id"] == payload["execution_id"]
    assert envelope["index_path"] == f"{prefix}outputs.json"
    check_outputs(service, envelope, prefix)
    check_index(service, envelope)
    check_receipt(service, envelope, payload)
    return envelope


# --- files -----------------------------------------------------------------------------------------------------------


def check_outputs(service: Service, envelope: JsonObject, prefix: str) -> None:
    """Fail unless the rows are sorted, declared, complete, and say what lies there."""
    rows = envelope["outputs"]
    paths = [row["path"] for row in rows]
    assert paths == sorted(set(paths), key=str.encode)
    declared: list[JsonObject] = service.registry["outputs"]
    for row in rows:
        content = service.file(row["path"]).read_bytes()
        assert row["path"].startswith(f"{prefix}outputs/")
        assert (row["size_bytes"], row["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())
        (said,) = [said for said in declared if _matches(said["path"], row["path"].removeprefix(prefix))]
        assert row["mime"] == said["mime"]
        assert set(row) == {"path", "mime", "size_bytes", "sha256"}
    must = {f"{prefix}{row['path']}" for row in declared if not row.get("optional") and "*" not in row["path"]}
    assert must <= set(paths)
    folder = service.file(prefix)
    lying = {path for path in folder.rglob("*") if path.is_file()}
    known = {service.file(path) for path in paths}
    known |= {folder / "outputs.json", folder / "receipt.json", folder / "logs" / "trace.ndjson"}
    assert lying - known == set(), "nothing half-written, temporary or unnamed is left"


def check_index(service: Service, envelope: JsonObject) -> None:
    """Fail unless the index holds the envelope's rows and nothing else."""
    index = json.loads(service.file(envelope["index_path"]).read_bytes())
    assert validator("index").is_valid(index)
    assert index == {"execution_id": envelope["execution_id"], "outputs": envelope["outputs"]}


def check_receipt(service: Service, envelope: JsonObject, payload: JsonObject) -> JsonObject:
    """Return the receipt; fails unless it is that of *payload* and *envelope*."""
    prefix = prefix_of(payload)
    receipt: JsonObject = json.loads(service.file(f"{prefix}receipt.json").read_bytes())
    assert [error.message for error in validator("receipt").iter_errors(receipt)] == []
    expected = {
        "contract": "v1",
        "ref": service.ref,
        "execution_id": payload["execution_id"],
        "mode": payload["mode"],
        "write_prefix": prefix,
        "inputs_sha256": hashlib.sha256(rfc8785.dumps(payload["inputs"])).hexdigest(),
        "context": payload.get("context", {}),
        "image_digest": envelope["meta"]["image_digest"],
        "env_fingerprint": envelope["meta"]["env_fingerprint"],
        "duration_ms": envelope["meta"]["duration_ms"],
        "envelope": envelope,
    }
    assert {name: receipt[name] for name in expected} == expected
    written = {row["path"]: row["sha256"] for row in receipt["outputs"]}
    if envelope["status"] == "success":
        assert written == {row["path"]: row["sha256"] for row in envelope["outputs"]}
    started, finished = (datetime.fromisoformat(receipt[name]) for name in ("started_at", "finished_at"))
    assert started.utcoffset() == finished.utcoffset() is not None
    assert started <= finished
    return receipt


def prefix_of(payload: JsonObject) -> str:
    """Return the write prefix of *payload*, expanded and with its slash."""
    expanded = str(payload["write_prefix"]).replace("{execution_id}", payload["execution_id"])
    return expanded if expanded.endswith("/") else f"{expanded}/"


# --- values ----------------------------------------------------------------------------------------------------------


def fingerprint(runtime: JsonObject) -> str:
    """Return the environment's fingerprint as §3 spells it."""
    parts = [f"cpu:{runtime['cpu']}", f"memory:{shortest(runtime['memory_gb'])}Gi"]
    if runtime.get("gpu"):
        parts.append(f"gpu:{runtime['gpu']}")
    return ";".join(sorted(parts))


def shortest(number: float) -> str:
    """Return the shortest decimal of *number*."""
    text = f"{Decimal(str(number)):f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def digest_of(image_digest: str) -> str:
    """Return the bare digest in *image_digest*, or ``""``."""
    found = re.fullmatch(r"(?:.+@)?(sha256:[0-9a-f]{64})", image_digest)
    return found[1] if found else ""


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is no JSON")


def _matches(declared: str, path: str) -> bool:
    wanted, segments = declared.split("/"), path.split("/")
    return len(wanted) == len(segments) and all(
        re.fullmatch(translate(pattern), segment) for pattern, segment in zip(wanted, segments, strict=True)
    )

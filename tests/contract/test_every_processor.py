"""Every processor keeps the contract: its endpoints, its runs and the files that they leave (§1, §3, §4)."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import httpx2
import pytest

from tests.contract.discovery import OURS, PROCESSORS, discovered
from tests.contract.judge import failure, refusal, success
from tests.support.service import JsonObject, Service


def test_the_processors_are_found() -> None:
    """A listing that finds nothing would pass every test below."""
    names = {folder.name for folder in discovered()}

    assert names
    assert PROCESSORS != OURS or names >= {"doc_ocr", "llm_chat"}


# --- health and contract ---------------------------------------------------------------------------------------------


def test_health_is_exactly_ok(service: Service) -> None:
    """Nothing more than the one key."""
    response = service.http.get("/healthz")

    assert (response.status_code, response.json()) == (200, {"ok": True})
    assert response.headers["content-type"].partition(";")[0] == "application/json"


def test_head_of_health_is_get_without_a_body(service: Service) -> None:
    """Load balancers ask this way."""
    get, head = service.http.get("/healthz"), service.http.head("/healthz")

    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-type"] == get.headers["content-type"]


def test_the_contract_says_what_the_registry_says(service: Service) -> None:
    """What a client learns by asking is what the one file beside the processor holds."""
    response = service.http.get("/contract")
    said = response.json()
    registry = service.registry
    secrets = registry.get("secrets") or {}

    assert response.status_code == 200
    assert (said["contract"], said["ref"], said["modes"]) == ("v1", service.ref, ["mock"])
    assert (said["inputs"], said["runtime"]) == (registry["inputs"], {**said["runtime"], **registry["runtime"]})
    assert [{**row, **mine} for row, mine in zip(said["outputs"], registry["outputs"], strict=True)] == said["outputs"]
    assert isinstance(said["capabilities"], list)
    assert said["limits"] == {
        "max_body_bytes": 16 * 1024 * 1024,
        "concurrency": registry["runtime"].get("concurrency", 1),
        "queue": 16,
        "timeout_s": registry["runtime"]["timeout_s"],
    }
    assert said["secrets"] == {
        row: [{"name": name, "set": False} for name in secrets.get(row) or ()] for row in ("required", "optional")
    }


# --- a run -----------------------------------------------------------------------------------------------------------


def test_a_run_answers_with_an_envelope_that_its_files_prove(service: Service, payload: JsonObject) -> None:
    """Outputs, index and receipt say the same, byte for byte."""
    success(service, service.post(payload), payload)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        pytest.param("write_prefix", "/artifacts/outputs/{execution_id}", id="a prefix without its last slash"),
        pytest.param("write_prefix", "/artifacts/{execution_id}/x-{execution_id}/", id="the id twice in the prefix"),
        pytest.param("write_prefix", "/artifacts/outputs/größe/😀/{execution_id}/", id="a prefix beyond ASCII"),
        pytest.param("context", {}, id="an empty context"),
        pytest.param("context", {"\uffff": [1, {"x": None}], "": True}, id="a context with any keys"),
        pytest.param("timeout_s", 25, id="a shorter deadline"),
        pytest.param("timeout_s", 24.5, id="a deadline in fractions"),
        pytest.param("timeout_s", 1e9, id="a deadline beyond the registry's"),
    ],
)
def test_what_a_request_may_say_besides(service: Service, payload: JsonObject, name: str, value: object) -> None:
    """The optional fields, and the freedom of the others."""
    payload[name] = value

    success(service, service.post(payload), payload)


def test_a_request_may_name_the_ref(service: Service, payload: JsonObject) -> None:
    """As long as it is the image's own."""
    payload["ref"] = service.ref

    success(service, service.post(payload), payload)


@pytest.mark.parametrize("execution_id", ["7", "A.b_c-9", "a" * 128, "e1..", "e-"])
def test_an_execution_id_may_be_any_name_of_a_file(service: Service, payload: JsonObject, execution_id: str) -> None:
    """Letters, digits, dots, dashes and underscores, up to 128, the first a letter or digit."""
    payload |= {"execution_id": execution_id, "write_prefix": f"/artifacts/ids/{uuid4()}/{{execution_id}}/"}

    success(service, service.post(payload), payload)


def test_other_write_roots_stand_for_themselves(service: Service, payload: JsonObject) -> None:
    """The simplest request writes to `/tmp`."""
    folder = Path(f"/tmp/contract-{uuid4()}")
    payload["write_prefix"] = f"{folder}/{{execution_id}}/"
    try:
        envelope = success(service, service.post(payload), payload)
        assert Path(envelope["index_path"]).is_file()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def test_the_artifacts_folder_may_be_made_by_the_run(service: Service, payload: JsonObject) -> None:
    """The server makes the directories it needs (§4)."""
    payload["write_prefix"] = "/artifacts/a/b/c/d/{execution_id}/"

    success(service, service.post(payload), payload)


def test_the_same_request_twice_gives_the_same_hashes(service: Service, payload: JsonObject) -> None:
    """Mock is deterministic: another id, the same outputs."""
    first = success(service, service.post(payload), payload)
    payload["execution_id"] += "-again"
    again = success(service, service.post(payload), payload)

    assert [row["sha256"] for row in again["outputs"]] == [row["sha256"] for row in first["outputs"]]


def test_the_log_tells_a_run_from_start_to_settle(service: Service, payload: JsonObject) -> None:
    """Each line of the run carries its id."""
    envelope = success(service, service.post(payload), payload)

    settle = service.wait_for_line(event="http.run.settle", execution_id=payload["execution_id"])
    (start,) = service.lines(event="http.run.start", execution_id=payload["execution_id"])
    assert (settle["status"], settle["duration_ms"]) == ("success", envelope["meta"]["duration_ms"])
    assert "code" not in settle
    assert start["ts"] <= settle["ts"]


def test_a_refusal_is_logged_with_its_reason(service: Service, payload: JsonObject) -> None:
    """One `http.run.error`, and no start."""
    payload["mode"] = "dream"
    refusal(service, service.post(payload), "ERR_MODE_INVALID", execution_id=payload["execution_id"])

    line = service.wait_for_line(event="http.run.error", execution_id=payload["execution_id"])
    assert line["reason"]
    assert service.lines(event="http.run.start", execution_id=payload["execution_id"]) == []


def test_the_entry_gives_the_same_envelope_without_http(service: Service, payload: JsonObject, tmp_path: Path) -> None:
    """`entry(payload) -> envelope` is what a handler is without HTTP."""
    by_http = success(service, service.post(payload), payload)
    payload["execution_id"] += "-direct"
    program = (
        "import json, sys\n"
        "from app.handler import entry\n"
        "payload = json.loads(open(sys.argv[1]).read())\n"
        "open(sys.argv[2], 'w').write(json.dumps(entry(payload)))\n"
    )
    asked, answered = tmp_path / "payload.json", tmp_path / "envelope.json"
    asked.write_text(json.dumps(payload))
    subprocess.run(
        [sys.executable, "-c", program, str(asked), str(answered)], cwd=service.folder, env=service.environ, check=True
    )

    envelope = success(service, httpx2.Response(200, json=json.loads(answered.read_text())), payload)
    assert [row["sha256"] for row in envelope["outputs"]] == [row["sha256"] for row in by_http["outputs"]]


# --- routes and methods ----------------------------------------------------------------------------------------------

NOWHERE = ["/", "/nope", "/run/", "/healthz/", "/contract/", "/RUN", "//run", "/run/x/y", "/docs", "/redoc", "/%00"]


@pytest.mark.parametrize("path", NOWHERE)
def test_an_unknown_route_is_an_envelope(service: Service, path: str) -> None:
    """404, never a redirect, whatever the method."""
    raw = f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()

    refusal(service, service.send(raw), "ERR_NOT_FOUND")
    refusal(service, service.http.request("POST", f"http://127.0.0.1:{service.port}{path}", json={}), "ERR_NOT_FOUND")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        pytest.param("GET", "/run", {"POST"}, id="GET run"),
        pytest.param("PUT", "/run", {"POST"}, id="PUT run"),
        pytest.param("DELETE", "/run", {"POST"}, id="DELETE run"),
        pytest.param("PATCH", "/run", {"POST"}, id="PATCH run"),
        pytest.param("OPTIONS", "/run", {"POST"}, id="OPTIONS run"),
        pytest.param("PROPFIND", "/run", {"POST"}, id="PROPFIND run"),
        pytest.param("POST", "/healthz", {"GET", "HEAD"}, id="POST healthz"),
        pytest.param("DELETE", "/healthz", {"GET", "HEAD"}, id="DELETE healthz"),
        pytest.param("POST", "/contract", {"GET"}, id="POST contract"),
    ],
)
def test_a_wrong_method_is_an_envelope_that_says_which_are_right(
    service: Service, method: str, path: str, allowed: set[str]
) -> None:
    """405 with `Allow`."""
    response = service.http.request(method, path)

    refusal(service, response, "ERR_METHOD")
    assert {name.strip() for name in response.headers["allow"].split(",")} >= allowed


def test_head_of_run_has_no_body(service: Service) -> None:
    """An answer to HEAD never has one, a refusal included."""
    response = service.http.head("/run")

    assert (response.status_code, response.content) == (405, b"")
    assert "POST" in response.headers["allow"]


def test_a_request_to_become_a_websocket_is_a_wrong_method(service: Service) -> None:
    """The server could parse it, so it is answered by an envelope."""
    raw = (
        b"GET /run HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, close\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )

    refusal(service, service.send(raw), "ERR_METHOD")


def test_what_is_reserved_is_refused_or_absent(service: Service) -> None:
    """`GET /run/{execution_id}` comes later."""
    response = service.http.get("/run/e1")

    failure(service, response, "ERR_NOT_FOUND" if response.status_code == 404 else "ERR_METHOD")


def test_cancelling_what_nobody_runs_is_not_found(service: Service) -> None:
    """With the capability or without it."""
    refusal(service, service.http.delete("/run/nobody-runs-this"), "ERR_NOT_FOUND")


def test_the_old_http_is_served_too(service: Service, payload: JsonObject) -> None:
    """HTTP/1.0 has no chunks and no kept connections."""
    body = json.dumps(payload).encode()
    head = f"POST /run HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode()

    success(service, service.send(head + body), payload)

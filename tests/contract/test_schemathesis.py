"""Schemathesis reads `/openapi.json`, asks the live service what that allows and what it forbids, and finds nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from tests.contract.discovery import OURS
from tests.support.service import FIXTURES, ROOT, JsonObject, Service, variant

SCHEMATHESIS: Final = Path(sys.executable).with_name("st")
HOOKS: Final = "tests.contract.schemathesis_hooks"
TOKEN: Final = "canary-token-93d2"
ECHO: Final = FIXTURES / "kit_echo"
EXAMPLES: Final = 10  # for each operation and phase
LONGEST_S: Final = 300  # it bounds a hang and measures nothing

# An app that answers as its description does not say
UNDOCUMENTED: Final = """
import importlib

healthy = importlib.import_module("app.healthy").app


async def app(scope, receive, send):
    async def say(message):
        if message.get("status") == 400:
            message["status"] = 422
        await send(message)

    await healthy(scope, receive, say)
"""
PLANTED: Final = """
import importlib
import os

from tests.contract.planted.faults import BY_NAME

around = BY_NAME[os.environ["PLANTED_FAULT"]].plant()
app = around(importlib.import_module("app.healthy").app)
"""


# --- what is asked


def anything(_registry: JsonObject, _service: Service) -> None:
    """Change nothing: whatever the schema allows is answered with a success."""


def a_page(registry: JsonObject, service: Service) -> None:
    """Let the one document be a page that lies on this machine, which no schema can know of."""
    page = OURS / "doc_ocr" / "samples" / "page.png"
    reference = service.attach(page.read_bytes(), page.name)
    params = registry["inputs"]["properties"]["params"]["properties"]
    params["document"]["properties"] = {name: {"const": value} for name, value in reference.items()}
    params["pages"] = {"const": [1]}


def good_deeds(registry: JsonObject, _service: Service) -> None:
    """Let it do nothing that fails on purpose or takes long."""
    params = registry["inputs"]["properties"]["params"]["properties"]
    params["do"]["enum"] = ["streaming", "noisy"]
    del params["seconds"]


def asked(folder: Path, room: Path, narrow: Callable[[JsonObject, Service], None], **environ: str) -> Service:
    """Return the service, not started, of the processor in *folder* with the inputs schema that *narrow* leaves."""
    inputs = Service(folder, room / "service")  # never started: it attaches files
    copy = variant(folder, room, lambda registry: narrow(registry, inputs))
    environ = {"PROCESSOR_MODE": "mock", "PROCESSOR_WRITE_ROOTS": "/artifacts", "PROCESSOR_TOKEN": TOKEN, **environ}
    return Service(copy, room / "service", environ)


def found(service: Service, room: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Return what Schemathesis says of *service*, all its checks and phases on."""
    return subprocess.run(
        [
            SCHEMATHESIS, "run", f"http://127.0.0.1:{service.port}/openapi.json",
            "--header", f"Authorization: Bearer {TOKEN}",
            "--checks", "all",
            "--max-examples", str(EXAMPLES),
            "--generation-deterministic",
            "--no-color",
            *options,
        ],
        cwd=room,
        env={**os.environ, "SCHEMATHESIS_HOOKS": HOOKS, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=LONGEST_S,
    )  # fmt: skip


# --- what is found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("folder", "narrow"),
    [
        pytest.param(OURS / "llm_chat", anything, id="llm_chat"),
        pytest.param(OURS / "doc_ocr", a_page, id="doc_ocr"),
        pytest.param(ECHO, good_deeds, id="kit_echo"),
    ],
)
def test_schemathesis_finds_nothing(
    folder: Path, narrow: Callable[[JsonObject, Service], None], tmp_path: Path
) -> None:
    """Examples, boundaries, valid and invalid requests from the description, one after another and in sequences."""
    with asked(folder, tmp_path, narrow) as service:
        answer = found(service, tmp_path)
        settled = service.lines(event="http.run.settle", status="success")
        service.wait_for_health({"ok": True})  # the hooks let it be `failed` while a handler outlives its deadline

    assert answer.returncode == 0, answer.stdout[answer.stdout.find("= FAILURES") :]
    assert "Unresolvable references" not in answer.stdout, answer.stdout
    assert "5 selected / 5 total" in answer.stdout, answer.stdout
    assert len(settled) > EXAMPLES, "hardly a request was good enough to run"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("app", "fault", "finding"),
    [
        pytest.param(UNDOCUMENTED, "", "Undocumented status code", id="a status that is not described"),
        pytest.param(
            PLANTED, "refused-stream-is-another", "Undocumented Content-Type", id="a media type that is not described"
        ),
        pytest.param(PLANTED, "refusal-without-digest", "Response violates schema", id="an envelope without a digest"),
        pytest.param(
            PLANTED, "event-of-nobody", "SSE event payload violates content schema", id="an event without its execution"
        ),
    ],
)
def test_it_finds_what_is_planted(app: str, fault: str, finding: str, tmp_path: Path) -> None:
    """Else nothing found would mean nothing. Fuzzing gives each run an id of its own, so that many succeed."""
    service = asked(ECHO, tmp_path, good_deeds, PLANTED_FAULT=fault, PYTHONPATH=str(ROOT))
    (service.folder / "app" / "http.py").rename(service.folder / "app" / "healthy.py")
    (service.folder / "app" / "http.py").write_text(app, encoding="utf-8")
    with service:
        answer = found(service, tmp_path, "--phases", "coverage,fuzzing", "--max-failures", "1")

    assert answer.returncode == 1, answer.stdout
    assert finding in answer.stdout, answer.stdout

"""Our own service, as an image runs it: the plain CMD, the whole contract, logs to a file."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from bench import environments, paths
from bench.subjects import COUNT, ID, Request, Stream, Subject

from .texts import TEXT

SOURCE = paths.PROCESSORS / "bench_work"
STAGED = paths.VAR / "processor"
DIGEST = "sha256:" + "0" * 64
PREFIX = "/artifacts/outputs/{execution_id}/"


def stage() -> None:
    """Lay the processor out as its image has it: the registry as JSON, and without its pins."""
    shutil.rmtree(STAGED, ignore_errors=True)
    shutil.copytree(SOURCE / "app", STAGED / "app", ignore=shutil.ignore_patterns("__pycache__"))
    document = YAML(typ="safe", pure=True).load((SOURCE / "registry.yaml").read_bytes())
    del document["image"]
    (STAGED / "registry.yaml").write_text(json.dumps(document), encoding="utf-8")


def payload(execution_id: str = ID, **params: Any) -> str:
    """Return the body of `POST /run` that asks the processor for *params*."""
    return json.dumps(
        {
            "schema": "v1",
            "execution_id": execution_id,
            "write_prefix": PREFIX,
            "mode": "mock",
            "inputs": {"schema": "v1", "params": {"text": TEXT, **params}},
        }
    )


def run(execution_id: str = ID, **params: Any) -> Request:
    """Return the request that runs *params* and succeeds."""
    return Request("/run", payload(execution_id, **params), holds='"status":"success"')


def _argv(folder: Path, port: int) -> list[str]:
    return [f"{folder}/bin/uvicorn", "app.http:app", "--host", "127.0.0.1", "--port", str(port)]


def _subject(name: str, label: str, handler: str) -> Subject:
    stream_body = payload(tokens=1).replace('"tokens": 1', f'"tokens": {COUNT}')
    return Subject(
        name=name,
        kind="ours",
        label=label,
        environment=environments.ours(),
        argv=_argv,
        cwd=STAGED,
        health="/healthz",
        environ={"IMAGE_DIGEST": DIGEST, "PROCESSOR_ARTIFACTS_DIR": "{artifacts}", "BENCH_HANDLER": handler},
        requests={
            "echo": run(),
            "file": run(size_bytes=1024),
            "refusal": Request("/run", payload(text=5), 400, '"code":"ERR_INPUTS"'),
            "replay": run("always-the-same", size_bytes=1024),
        },
        stream=Stream("/run-stream", stream_body, b"event: token"),
    )


OURS = (
    _subject("ours-async", "ours, async handler", "async"),
    _subject("ours-sync", "ours, sync handler", "sync"),
)

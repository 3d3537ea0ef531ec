"""The same request, by its source on this machine and by its image in Docker: the same bytes, the same envelope."""

from __future__ import annotations

import asyncio
import copy
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from apps.core.executions import execute
from apps.core.host import Host
from apps.core.request import ExecutionRequest, new_execution_id
from tests.support.executions import OWN, Story
from tests.support.local import JsonObject

PAGE = OWN / "doc_ocr" / "samples" / "page.png"
REQUESTS: dict[str, JsonObject] = {
    "llm/chat@1": {"inputs": {"schema": "v1", "params": {"messages": [{"role": "user", "content": "Hello, wörld"}]}}},
    "doc/ocr@1": {
        "inputs": {"schema": "v1", "params": {"document": {"$attach": "document"}}},
        "attachments": {"document": PAGE},
    },
}
# They differ by what they are, or from run to run
VARYING = ("image_digest", "pinned", "duration_ms", "queued_ms")


def both(base: str, host: Host, **fields: Any) -> tuple[list[JsonObject], list[dict[str, bytes]]]:
    """Return the envelopes of one request by either adapter, and its files, each with a folder of artifacts."""
    execution_id = new_execution_id()
    environ = {**os.environ, "BASE_IMAGE": base}
    envelopes, files = [], []
    for adapter in ("process", "local"):
        machine = replace(host, artifacts_root=host.artifacts_root / adapter, processors=OWN, environ=environ)
        request = ExecutionRequest(adapter=adapter, execution_id=execution_id, build=adapter == "local", **fields)
        envelope = asyncio.run(execute(request, machine, Story().journal))
        assert envelope["status"] == "success", envelope
        envelopes.append(envelope)
        files.append(_files(machine.artifacts_root / "outputs" / execution_id))
    return envelopes, files


def _files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes() for path in (folder / "outputs").rglob("*") if path.is_file()
    }


def same(envelope: JsonObject) -> JsonObject:
    """Return *envelope* without what may differ."""
    kept = copy.deepcopy(envelope)
    for name in VARYING:
        del kept["meta"][name]
    return kept


@pytest.mark.parametrize("ref", list(REQUESTS))
def test_mock_answers_the_same_by_either_adapter(base_image: str, host: Host, ref: str) -> None:
    """Every byte of every output, and every field that does not say where or when."""
    (process, local), (here, there) = both(base_image, host, ref=ref, **REQUESTS[ref])

    assert same(process) == same(local)
    assert here == there
    assert here
    assert process["meta"]["image_digest"] != local["meta"]["image_digest"]


@pytest.mark.network
@pytest.mark.slow
def test_a_page_is_read_the_same_by_either_adapter(base_image: str, host: Host) -> None:
    """For real, with the models and libraries that the lock names."""
    machine = replace(host, python=None)

    (process, local), (here, there) = both(base_image, machine, ref="doc/ocr@1", mode="real", **REQUESTS["doc/ocr@1"])

    assert same(process) == same(local)
    assert here == there
    assert b"" not in here.values()

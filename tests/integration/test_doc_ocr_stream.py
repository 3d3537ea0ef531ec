"""`doc/ocr@1` streams pages: whoever listens has the first one while the next is being read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.support.service import ROOT, Service

FOLDER = ROOT / "code" / "apps" / "core" / "processors" / "doc_ocr"


def streamed(service: Service, **params: object) -> list[tuple[str, dict[str, Any]]]:
    """Return the events of a mock run on the sample PDF, each with its data."""
    document = service.attach((FOLDER / "samples" / "pages.pdf").read_bytes(), "pages.pdf")
    payload = service.payload(inputs={"schema": "v1", "params": {"document": document, **params}})
    response = service.http.post("/run-stream", json=payload)
    blocks = [dict(line.split(": ", 1) for line in block.splitlines()) for block in response.text.strip().split("\n\n")]
    return [(block["event"], json.loads(block["data"])) for block in blocks if "event" in block]


def test_each_page_is_announced_and_handed_over_in_turn(tmp_path: Path) -> None:
    """Progress says which page is being read, an output follows it, and `done` comes last."""
    with Service(FOLDER, tmp_path / "room", {"PROCESSOR_MODE": "mock"}) as service:
        events = streamed(service)
    told = [
        data["fraction"] if name == "progress" else data["path"].rpartition("/")[2]
        for name, data in events
        if name in {"progress", "output"}
    ]

    assert told == [0.0, "page-0001.png", 0.5, "page-0002.png", "text.txt", "layout.json", 1.0]
    assert [data["message"] for name, data in events if name == "progress"][:2] == ["page 1: 1 of 2", "page 2: 2 of 2"]
    assert [name for name, _ in events].count("done") == 1
    assert (events[-1][0], events[-1][1]["status"]) == ("done", "success")


def test_a_page_that_is_not_there_ends_the_stream_with_a_refusal(tmp_path: Path) -> None:
    """The handler finds out; the stream had begun, so the envelope comes as `done`."""
    with Service(FOLDER, tmp_path / "room", {"PROCESSOR_MODE": "mock"}) as service:
        name, envelope = streamed(service, pages=[9])[-1]

    assert (name, envelope["error"]["code"]) == ("done", "ERR_INPUTS")
    assert envelope["error"]["details"][0]["path"] == "/inputs/params/pages"

"""A container that is walled in keeps the contract no less: the kit's verdict on warm containers, from outside."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os

import pytest

from apps.core.adapters.local import control
from apps.core.host import Host
from tests.contract.test_conformance import JUDGED
from tests.contract.verdict import verdict
from tests.support.executions import OWN
from tests.support.local import Boxes, silent, there


@pytest.mark.slow
@pytest.mark.parametrize("ref", ["doc/ocr@1", "llm/chat@1"])
def test_a_warm_container_breaks_no_promise(base_image: str, boxes: Boxes, host: Host, ref: str) -> None:
    """Over HTTP, with its token and the artifacts folder; both processors."""
    machine = dataclasses.replace(host, processors=OWN, environ={**os.environ, "BASE_IMAGE": base_image})
    site = boxes.site(machine, ref, build=True)
    folder = site.registration.folder.name
    container = asyncio.run(control.up(site, "mock", silent()))
    try:
        config = json.loads(boxes.engine.docker("inspect", container.id))[0]["Config"]
        token = next(each.partition("=")[2] for each in config["Env"] if each.startswith("PROCESSOR_TOKEN="))

        found = verdict(
            f"{folder}-warm",
            *(container.url, "--token", token, "--artifacts", str(machine.artifacts_root)),
            *("--inputs-file", str(JUDGED / f"{folder}.json")),
            cwd=host.artifacts_root,
        )
    finally:
        asyncio.run(control.down(site.engine(), there(machine), silent()))

    assert found.failed == {}
    assert found.status == 0, found.story
    assert {"C-RUN-01", "C-ART-01", "C-TOKEN-01"} <= found.passed

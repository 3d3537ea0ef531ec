"""`SIGNATURE_POLICY=require` on an execution: refused before an engine or Modal is even asked."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

from apps.core.executions import execute
from apps.core.images.pin import write_pins
from apps.core.registry import ImageReference, load_registration
from tests.support.executions import FIXTURES, Story, host_in, request

REPOSITORY = "127.0.0.1:1/o/fix"
DIGITS = {"amd64": "ab" * 32, "arm64": "cd" * 32}
REQUIRE = {"SIGNATURE_POLICY": "require"}


@pytest.fixture
def processors(tmp_path: Path) -> Path:
    """Return a folder with one processor, pinned for both platforms to images that nobody attests."""
    folder = tmp_path / "processors"
    shutil.copytree(FIXTURES / "fix_raw", folder / "fix_raw")
    pins = {platform: ImageReference.parse(f"{REPOSITORY}@sha256:{digits}") for platform, digits in DIGITS.items()}
    assert write_pins(load_registration(folder / "fix_raw"), pins)
    return folder


@pytest.mark.parametrize(
    ("adapter", "options", "reason"),
    [
        pytest.param("local", {}, "names no public key", id="pinned, in Docker"),
        pytest.param("modal", {}, "names no public key", id="pinned, on Modal"),
        pytest.param("local", {"build": True}, "is not pinned", id="built here"),
    ],
)
def test_an_image_that_nobody_attests_does_not_run(
    processors: Path, tmp_path: Path, adapter: str, options: dict[str, bool], reason: str
) -> None:
    """Its envelope says why; no adapter has told that it began."""
    story = Story()
    wanted = request("fix/raw@1", adapter=adapter, **options)

    envelope = asyncio.run(execute(wanted, host_in(tmp_path, REQUIRE, processors=processors), story.journal))

    assert envelope["error"]["code"] == "ERR_SIGNATURE"
    assert reason in envelope["error"]["details"][0]["message"]
    assert [record["event"] for record in story.records if record["event"].startswith("adapter.")] == []


def test_a_mistyped_policy_lets_nothing_run(processors: Path, tmp_path: Path) -> None:
    """Whoever wants a policy has one, or is told."""
    host = host_in(tmp_path, {"SIGNATURE_POLICY": "yes"}, processors=processors)

    envelope = asyncio.run(execute(request("fix/raw@1", adapter="local"), host, Story().journal))

    assert envelope["error"]["code"] == "ERR_SIGNATURE"
    assert envelope["error"]["details"] == [
        {"path": "SIGNATURE_POLICY", "message": "must be one of off, warn, require"}
    ]

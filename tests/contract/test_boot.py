"""Settings are read and checked once, at start (§7): a malformed one stops the service by its name."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import pytest

from tests.contract.discovery import STEPS
from tests.contract.judge import refusal, success
from tests.contract.requests import Request
from tests.support.service import Ended, Service, variant

MALFORMED: Final = [
    ("PROCESSOR_MODE", "dream"),
    ("PROCESSOR_MAX_BODY_BYTES", "16MiB"),
    ("PROCESSOR_MAX_BODY_BYTES", "-1"),
    ("PROCESSOR_GRACE_S", "soon"),
    ("PROCESSOR_GRACE_S", "-1"),
    ("PROCESSOR_GRACE_S", "nan"),
    ("PROCESSOR_QUEUE", "many"),
    ("PROCESSOR_WRITE_ROOTS", "artifacts:/tmp"),
    ("PROCESSOR_READ_ROOTS", "inputs"),
    ("IMAGE_PINNED", "perhaps"),
]


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Ended]:
    """How each of the services ended; they are started two at a time."""
    room = tmp_path_factory.mktemp("boot")

    def start(number: int) -> Ended:
        name, value = MALFORMED[number]
        return Service(STEPS, room / str(number), {name: value}).fails_to_start()

    with ThreadPoolExecutor(2) as pool:
        return dict(zip(MALFORMED, pool.map(start, range(len(MALFORMED))), strict=True))


@pytest.mark.parametrize(("name", "value"), MALFORMED, ids=[f"{name}={value}" for name, value in MALFORMED])
def test_a_malformed_setting_stops_the_service(ended: dict[tuple[str, str], Ended], name: str, value: str) -> None:
    """A status that is not zero, one line that names it, nothing on stdout, and no traceback in plain text."""
    end = ended[name, value]
    (line,) = [line for line in end.lines() if line["event"] == "http.boot.error"]

    assert end.status != 0
    assert end.stdout == b""
    assert name in str(line)
    assert line["ref"] == "fix/steps@1"
    assert [other for other, _ in MALFORMED if other != name and other in str(line)] == []


def test_settings_are_obeyed(tmp_path: Path) -> None:
    """All of them at once."""
    root = tmp_path / "root"
    root.mkdir()
    environ = {
        "PROCESSOR_MODE": "mock",
        "PROCESSOR_MAX_BODY_BYTES": "2000",
        "PROCESSOR_QUEUE": "0",
        "PROCESSOR_GRACE_S": "0.5",
        "PROCESSOR_WRITE_ROOTS": str(root),
        "PROCESSOR_READ_ROOTS": str(root),
        "IMAGE_PINNED": "1",
    }
    with Service(STEPS, tmp_path / "room", environ) as service:
        limits = service.http.get("/contract").json()["limits"]
        assert (limits["max_body_bytes"], limits["queue"]) == (2000, 0)
        request = Request.good(service, write_prefix=f"{root}/{{execution_id}}/")
        success(service, request.send(), request.payload)
        Request.good(service).refused("ERR_WRITE_PREFIX")
        request.tail = b" " * 2001
        request.refused("ERR_INPUTS", "Request body too large", echoed=False)
        refusal(service, service.http.get("/nope"), "ERR_NOT_FOUND")


@pytest.mark.parametrize("text", ["ref: [not, a, ref]", "ref: fix/steps@1"], ids=["no ref", "nothing but a ref"])
def test_a_broken_registry_stops_the_service(tmp_path: Path, text: str) -> None:
    """As a malformed setting does: there is nothing to serve."""
    folder = variant(STEPS, tmp_path, lambda _: None)
    service = Service(folder, tmp_path / "room")
    (folder / "registry.yaml").write_text(text, encoding="utf-8")

    end = service.fails_to_start()

    assert end.status != 0
    assert end.stdout == b""
    assert [line["event"] for line in end.lines()].count("http.boot.error") == 1

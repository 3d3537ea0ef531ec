"""What cannot be written is `ERR_STORAGE`, and the service goes on (§4)."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest

from tests.contract.discovery import STEPS
from tests.contract.judge import failure, success
from tests.support.service import JsonObject, Service

WRITE: Final = ["write", "outputs/text.txt", "hello"]
UNSHARE: Final = ("unshare", "--user", "--map-root-user", "--mount") if sys.platform == "linux" else ("false",)


def asking(service: Service, *do: list[Any], **changes: object) -> JsonObject:
    """Return a request for the steps *do*."""
    return service.payload(inputs={"schema": "v1", "params": {"do": list(do)}}, **changes)


def blocked(service: Service, payload: JsonObject) -> None:
    """Fail unless *payload* gets `ERR_STORAGE`, and the next one a success."""
    failure(service, service.post(payload), "ERR_STORAGE", execution_id=payload["execution_id"])
    again = asking(service, WRITE)
    success(service, service.post(again), again)


@pytest.mark.parametrize("name", ["", "outputs", "outputs/deep", "outputs/deep/a"])
def test_a_file_where_a_folder_has_to_be_is_a_storage_error(steps: Service, name: str) -> None:
    """The same for everybody, root included."""
    payload = asking(steps, ["write", "outputs/deep/a/part.txt", "x"], WRITE)
    obstacle = steps.file(f"/artifacts/outputs/{payload['execution_id']}/{name}")
    obstacle.parent.mkdir(parents=True, exist_ok=True)
    obstacle.write_text("in the way")

    blocked(steps, payload)
    assert obstacle.read_text() == "in the way"


def test_a_file_above_the_prefix_is_a_storage_error(steps: Service) -> None:
    """The prefix's own parents cannot be made."""
    (steps.artifacts / "a-file").write_text("in the way")
    payload = asking(steps, WRITE, write_prefix="/artifacts/a-file/{execution_id}/")

    blocked(steps, payload)


@pytest.mark.parametrize("name", ["outputs/text.txt", "outputs.json"])
def test_a_folder_where_a_file_has_to_be_is_a_storage_error(steps: Service, name: str) -> None:
    """A rename cannot replace it."""
    payload = asking(steps, WRITE)
    obstacle = steps.file(f"/artifacts/outputs/{payload['execution_id']}/{name}")
    (obstacle / "full").mkdir(parents=True)

    blocked(steps, payload)


def test_a_log_that_cannot_be_mirrored_harms_nobody(steps: Service) -> None:
    """The mirror is best-effort."""
    payload = asking(steps, WRITE)
    obstacle = steps.file(f"/artifacts/outputs/{payload['execution_id']}/logs")
    obstacle.parent.mkdir(parents=True)
    obstacle.write_text("in the way")

    envelope = steps.run(payload)
    assert envelope["status"] == "success"


def can_mount() -> bool:
    """Whether this machine lets us have a file system of our own."""
    if shutil.which("unshare") is None:
        return False
    try_it = (*UNSHARE, "sh", "-c", "mount -t tmpfs -o size=64k tmpfs /mnt")
    return subprocess.run(try_it, capture_output=True, check=False).returncode == 0


@pytest.fixture
def mounted() -> None:
    """Skips where no file system can be mounted."""
    if not can_mount():
        pytest.skip("no user namespaces here: a full disk cannot be staged")


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.usefixtures("mounted")
def test_a_full_disk_is_a_storage_error(tmp_path: Path, kind: str) -> None:
    """A tmpfs of 256 KiB, seen by the service only: the large run fails, a small one after it succeeds."""
    artifacts = tmp_path / "room" / "artifacts"
    mount = f'mount -t tmpfs -o size=256k tmpfs "{artifacts}" && exec "$@"'
    before = (*UNSHARE, "sh", "-c", mount, "sh")
    with Service(STEPS, tmp_path / "room", {"FIXTURE_KIND": kind}, before=before) as service:
        large = asking(service, ["write_size", "outputs/blob.bin", 1024 * 1024], WRITE)
        failure(service, service.post(large), "ERR_STORAGE", execution_id=large["execution_id"])
        small = service.run(asking(service, WRITE))

    assert small["status"] == "success"


@pytest.mark.usefixtures("mounted")
def test_a_read_only_disk_is_a_storage_error(tmp_path: Path) -> None:
    """Every run fails, and health does not depend on the file system."""
    artifacts = tmp_path / "room" / "artifacts"
    mount = f'mount -t tmpfs -o ro tmpfs "{artifacts}" && exec "$@"'
    with Service(STEPS, tmp_path / "room", before=(*UNSHARE, "sh", "-c", mount, "sh")) as service:
        payload = asking(service, WRITE)
        failure(service, service.post(payload), "ERR_STORAGE", execution_id=payload["execution_id"])
        assert service.health() == {"ok": True}

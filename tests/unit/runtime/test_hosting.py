"""A host's hooks reach a service whose author knows nothing of the host."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path
from typing import Any

import pytest

from processor_runtime import create_app, processor
from processor_runtime.errors import Detail, StorageError
from processor_runtime.hosting import current, hosted
from processor_runtime.run import Run
from tests.unit.runtime.services import DIGEST, Bench, payload, write_hello


class Host:
    """Counts what it is asked for."""

    def __init__(self) -> None:
        self.published = 0
        self.refreshed = 0

    def publish(self) -> None:
        """Count."""
        self.published += 1

    def refresh(self) -> None:
        """Count."""
        self.refreshed += 1


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a registry file, and an environment in which its service runs below the same folder."""
    monkeypatch.setenv("IMAGE_DIGEST", DIGEST)
    monkeypatch.setenv("PROCESSOR_ARTIFACTS_DIR", str(tmp_path / "artifacts"))
    file = tmp_path / "registry.yaml"
    file.write_text('{"ref": "ns/name@1", "inputs": {"type": "object"}, "outputs": []}', encoding="utf-8")
    return file


def an_app(registry: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return what an `app/http.py` makes, which names no hooks."""

    @processor
    def entry(run: Run) -> None:
        """Do nothing."""

    monkeypatch.setattr(type(entry), "registry", registry)
    return create_app(entry)


def answered(app: Any) -> dict[str, Any]:
    """Return the envelope of one run."""
    import orjson

    envelope: dict[str, Any] = orjson.loads(app.service.call_and_wait(orjson.dumps(payload())))
    return envelope


def test_an_app_made_meanwhile_has_the_hosts_hooks(registry: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Looked for others' files before, and made its own visible after."""
    host = Host()
    with hosted(publish=host.publish, refresh=host.refresh):
        app = an_app(registry, monkeypatch)

    assert answered(app)["status"] == "success"
    assert (host.published, host.refreshed) == (1, 1)


def test_an_app_made_later_or_elsewhere_has_none(registry: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hooks belong to the thread and the time of the host's import."""
    host = Host()
    with hosted(publish=host.publish, refresh=host.refresh):
        seen: list[object] = []
        thread = threading.Thread(target=lambda: seen.append(current().publish))
        thread.start()
        thread.join()

    assert seen == [None]
    assert answered(an_app(registry, monkeypatch))["status"] == "success"
    assert (host.published, host.refreshed) == (0, 0)


def busy() -> None:
    """Refuse, as a Volume does while files are open."""
    raise StorageError(Detail(path="/artifacts", message="files are open"))


def test_a_refresh_that_is_not_possible_now_keeps_no_run_from_running(tmp_path: Path) -> None:
    """Else concurrent runs would refuse each other."""
    asked = Bench(tmp_path, write_hello, refresh=busy).ask(payload())

    assert asked.verdict == (200, "success")


def test_a_reference_that_cannot_be_refreshed_now_may_be_asked_for_again(tmp_path: Path) -> None:
    """It may well be there: to say that it is not would be final."""
    reference = {"$artifact": "/artifacts/inputs/x/page.png", "sha256": "0" * 64}
    inputs = {"schema": "v1", "params": {"document": reference}}

    asked = Bench(tmp_path, write_hello, refresh=busy).ask(payload(inputs=inputs))

    assert asked.verdict == (507, "ERR_STORAGE")
    assert asked.envelope["error"]["retryable"] is True


def test_a_reference_is_looked_for_again_for_a_moment(tmp_path: Path) -> None:
    """A file that another run had open is closed soon."""
    file = tmp_path / "inputs" / "page"
    refusals = [busy, busy]

    def refresh() -> None:
        if refusals:
            refusals.pop()()
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(b"page")

    reference = {"$artifact": "/artifacts/inputs/page", "sha256": hashlib.sha256(b"page").hexdigest()}
    inputs = {"schema": "v1", "params": {"document": reference}}

    asked = Bench(tmp_path, write_hello, refresh=refresh).ask(payload(inputs=inputs))

    assert asked.verdict == (200, "success")

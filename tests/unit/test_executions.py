"""Whatever is asked for, the answer is one envelope, and nothing starts that must not."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Any

import pytest

from apps.core import executions
from apps.core.artifacts import AttachmentError
from apps.core.executions import execute, failure, refusal, resolve
from apps.core.host import Host
from apps.core.registry import Ref, RefNotFoundError, RegistryInvalidError
from apps.core.request import ExecutionRequest
from processor_runtime.errors import CancelledRunError
from processor_runtime.schemas import validator
from processor_runtime.values import Digest
from tests.support.executions import FIXTURES, OWN, SECRET, Story, host_in, request

ZERO = Digest.parse("sha256:" + "0" * 64)


@pytest.fixture
def story() -> Story:
    """Return what the journal is told."""
    return Story()


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """Return this machine, writing below a folder of the test's own."""
    return host_in(tmp_path)


def error(wanted: ExecutionRequest, host: Host, story: Story) -> dict[str, Any]:
    """Return the envelope of a request that must fail without starting anything."""
    envelope = asyncio.run(execute(wanted, host, story.journal))
    assert envelope["status"] == "error"
    assert not story.events("adapter.process.start")
    assert not host.artifacts_root.exists()
    return envelope


# --- resolve


def test_a_ref_is_resolved_by_its_folder() -> None:
    """The repository's own processors are found."""
    assert resolve("llm/chat@1", OWN).ref == Ref.parse("llm/chat@1")


def test_a_mistake_in_another_processors_file_does_not_matter(tmp_path: Path) -> None:
    """Whoever works on one processor may break it without stopping the others."""
    shutil.copytree(FIXTURES / "fix_raw", tmp_path / "fix_raw")
    (tmp_path / "other_one").mkdir()
    (tmp_path / "other_one" / "registry.yaml").write_text("ref: [", encoding="utf-8")

    assert resolve("fix/raw@1", tmp_path).ref == Ref.parse("fix/raw@1")
    with pytest.raises(RegistryInvalidError):
        resolve("other/one@1", tmp_path)


@pytest.mark.parametrize("ref", ["fix/none@1", "fix/raw@2"])
def test_an_unknown_ref_or_version_names_what_exists(ref: str, host: Host, story: Story) -> None:
    """The envelope repeats the ref, which is well-formed, and leaves open what nobody knows."""
    with pytest.raises(RefNotFoundError):
        resolve(ref, FIXTURES)

    envelope = error(request(ref), host, story)

    assert envelope["error"]["code"] == "ERR_REF_NOT_FOUND"
    assert "fix/raw@1" in str(envelope["error"]["details"])
    assert (envelope["meta"]["ref"], envelope["meta"]["env_fingerprint"]) == (ref, "")


@pytest.mark.parametrize("ref", ["", "fix/raw", "../fix/raw@1", "fix/raw@1\n", "<canary>"])
def test_a_malformed_ref_is_not_found_and_not_repeated(ref: str, host: Host, story: Story) -> None:
    """No message holds what was sent."""
    envelope = error(request(ref), host, story)

    assert envelope["error"]["code"] == "ERR_REF_NOT_FOUND"
    assert envelope["meta"]["ref"] == ""
    assert "canary" not in str(envelope)


def test_an_invalid_registry_is_reported_with_file_and_line(tmp_path: Path, story: Story) -> None:
    """Every problem of that file."""
    folder = tmp_path / "processors" / "fix_raw"
    shutil.copytree(FIXTURES / "fix_raw", folder)
    text = (folder / "registry.yaml").read_text("utf-8")
    (folder / "registry.yaml").write_text(text.replace("timeout_s: 30", "timeout_s: -1"), encoding="utf-8")
    host = host_in(tmp_path / "host", processors=folder.parent)

    envelope = error(request("fix/raw@1"), host, story)

    assert envelope["error"]["code"] == "ERR_REGISTRY_INVALID"
    assert envelope["error"]["details"][0]["path"] == "fix_raw/registry.yaml#/runtime/timeout_s"
    assert envelope["error"]["details"][0]["message"].startswith("line ")


# --- guard


@pytest.mark.parametrize(
    ("changes", "environ", "code"),
    [
        pytest.param({"mode": "dream"}, {}, "ERR_MODE_INVALID", id="unknown mode"),
        pytest.param({"mode": "real"}, {"CI": "1", "FIX_SECRET": SECRET}, "ERR_CI_SAFETY", id="real in CI"),
        pytest.param({"mode": "real"}, {}, "ERR_MISSING_SECRET", id="secret missing"),
        pytest.param({"write_prefix": "/etc/x/"}, {}, "ERR_WRITE_PREFIX", id="prefix"),
        pytest.param(
            {"adapter": "local", "write_prefix": "/tmp/x/"}, {}, "ERR_WRITE_PREFIX", id="prefix of a container"
        ),
        pytest.param({"expected_digest": ZERO}, {}, "ERR_DIGEST_DRIFT", id="an image's digest for source"),
        pytest.param({"adapter": "local"}, {}, "ERR_IMAGE_UNPINNED", id="an image without a pin"),
        pytest.param({"adapter": "modal", "expected_digest": ZERO}, {}, "ERR_MODAL_AUTH", id="no login to Modal"),
        pytest.param({"execution_id": "/"}, {}, "ERR_INPUTS", id="execution id"),
    ],
)
def test_a_refusal_is_an_envelope_and_nothing_was_started(
    changes: dict[str, Any], environ: dict[str, str], code: str, tmp_path: Path, story: Story
) -> None:
    """The contract's shape, no image named, no file made."""
    envelope = error(request(**changes), host_in(tmp_path, environ), story)

    assert envelope["error"]["code"] == code
    assert validator("envelope").is_valid(envelope), [str(e) for e in validator("envelope").iter_errors(envelope)]
    assert envelope["meta"] == {
        "ref": "fix/trouble@1",
        "env_fingerprint": "cpu:1;memory:1Gi",
        "image_digest": "",
        "pinned": False,
    }
    assert [record["event"] for record in story.records] == ["execution.start", "execution.error", "execution.settle"]
    assert story.records[-1]["code"] == code


def test_an_invalid_execution_id_is_not_echoed(host: Host, story: Story) -> None:
    """A valid one is."""
    assert error(request(execution_id="<canary>"), host, story)["execution_id"] == ""
    assert error(request(execution_id="e1", mode="dream"), host, story)["execution_id"] == "e1"


def test_attachments_that_do_not_fit_are_the_callers_mistake(host: Host, story: Story, tmp_path: Path) -> None:
    """Wrong usage is no execution: it is raised, and nothing is told."""
    with pytest.raises(AttachmentError):
        asyncio.run(execute(request(attachments={"scan": tmp_path / "x"}), host, story.journal))

    assert story.lines == []


def test_an_attachment_that_is_not_there_is_err_inputs(host: Host, story: Story, tmp_path: Path) -> None:
    """By the contract's text."""
    wanted = request(do="read", files={"$attach": "scan"}, attachments={"scan": tmp_path / "absent"})

    envelope = error(wanted, host, story)

    assert (envelope["error"]["code"], envelope["error"]["message"]) == ("ERR_INPUTS", "artifact not usable")


# --- settle


def test_a_fault_of_ours_is_an_envelope_too(host: Host, story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its traceback is in the story, without secrets, and not in the envelope."""

    def fail(*_: object) -> None:
        raise ZeroDivisionError(SECRET)

    monkeypatch.setattr(executions, "guard", fail)
    host = Host(**{name: getattr(host, name) for name in host.__slots__} | {"environ": {"FIX_SECRET": SECRET}})

    envelope = error(request(), host, story)

    assert envelope["error"]["code"] == "ERR_INTERNAL"
    (fault,) = story.events("execution.fault")
    assert "ZeroDivisionError: ***" in fault["traceback"]
    assert SECRET.encode() not in b"".join(story.lines)


def test_an_adapter_that_is_not_allowed_here_is_not_used(tmp_path: Path, story: Story) -> None:
    """Production leaves `process` out: whoever asks all the same finds nothing started."""
    host = host_in(tmp_path)
    production = Host(**{name: getattr(host, name) for name in host.__slots__} | {"adapters": ("local", "modal")})

    assert error(request(), production, story)["error"]["code"] == "ERR_INTERNAL"


@pytest.mark.parametrize(("ref", "fingerprint"), [("fix/trouble@1", "cpu:1;memory:1Gi"), ("fix/none@1", "")])
def test_an_end_outside_an_execution_is_an_envelope_as_well(host: Host, ref: str, fingerprint: str) -> None:
    """A cancellation, say; what is known of the processor is said."""
    envelope = refusal(request(ref, execution_id="e1"), host, CancelledRunError())

    assert (envelope["execution_id"], envelope["error"]["code"]) == ("e1", "ERR_CANCELLED")
    assert (envelope["meta"]["ref"], envelope["meta"]["env_fingerprint"]) == (ref, fingerprint)
    assert envelope == failure(request(ref, execution_id="e1"), CancelledRunError(), None) | {"meta": envelope["meta"]}

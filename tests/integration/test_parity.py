"""The same request through a process, a container and Modal gives the same envelope, the same files, the same events.

Apart from what must differ: how long it took, which image answered, and whether that was pinned.
"""

from __future__ import annotations

import asyncio
import json
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import pytest

from apps.core.adapters.base import Event
from apps.core.executions import execute, refusal
from apps.core.host import Host
from apps.core.request import ExecutionRequest
from processor_runtime.errors import CancelledRunError
from processor_runtime.schemas import validator
from processor_runtime.values import Digest
from tests.local_modal import LocalModal
from tests.local_modal.fixture import forget
from tests.support.deployed import DIGEST, Cloud
from tests.support.docker import Built, Engine, ImageRegistry
from tests.support.executions import FIXTURES, SECRET, Story, host_in
from tests.support.local import Boxes, place, there
from tests.support.service import wait_until

pytestmark = pytest.mark.slow  # each starts a container

TWIN: Final = "fix_twin"
REF: Final = "fix/twin@1"

JsonObject = dict[str, Any]


@dataclass
class Carrier:
    """One adapter, and this machine as it works with it.

    Attributes:
        name: As `--adapter` has it.
        host: This machine, with artifacts of the carrier's own.
        options: Of its requests.
    """

    name: str
    host: Host
    options: Mapping[str, Any] = field(default_factory=dict)

    def request(self, do: str, execution_id: str, **changes: Any) -> ExecutionRequest:
        """Return the request that a handler ends as *do* says."""
        params = {"do": do, **changes.pop("params", {})}
        fields: JsonObject = {
            "ref": REF,
            "adapter": self.name,
            "inputs": {"schema": "v1", "params": params},
            "execution_id": execution_id,
            **self.options,
            **changes,
        }
        return ExecutionRequest(**fields)

    def execute(
        self, wish: ExecutionRequest, events: list[Event] | None = None, environ: Mapping[str, str] | None = None
    ) -> JsonObject:
        """Return the envelope of *wish*; *events* is filled if it is given, and then it is streamed."""
        host = replace(self.host, environ={**self.host.environ, **(environ or {})})
        watch = None if events is None else events.append
        envelope: JsonObject = asyncio.run(execute(wish, host, Story().journal, watch))
        if envelope["meta"]["env_fingerprint"]:  # nobody knows it of a processor that there is not
            assert validator("envelope").is_valid(envelope)
        return envelope

    def cancelled(self, wish: ExecutionRequest) -> JsonObject:
        """Return the envelope of *wish*, whose caller goes as soon as the handler is under way."""
        events: list[Event] = []

        async def work() -> None:
            running = asyncio.ensure_future(execute(wish, self.host, Story().journal, events.append))
            await asyncio.to_thread(wait_until, lambda: events, lambda: "the handler")
            running.cancel()
            await asyncio.wait([running])
            assert running.cancelled()

        asyncio.run(work())
        envelope: JsonObject = refusal(wish, self.host, CancelledRunError())
        return envelope

    def files(self, execution_id: str) -> dict[str, bytes]:
        """Return what lies under the prefix of an execution, but for its evidence of when it ran."""
        prefix = self.host.artifacts_root / "outputs" / execution_id
        return {
            path.relative_to(prefix).as_posix(): path.read_bytes()
            for path in sorted(prefix.rglob("*"))
            if path.is_file() and path.name not in {"receipt.json", "trace.ndjson"}
        }

    def receipt(self, execution_id: str) -> JsonObject:
        """Return what the receipt says, apart from what must differ."""
        raw = (self.host.artifacts_root / "outputs" / execution_id / "receipt.json").read_bytes()
        receipt: JsonObject = json.loads(raw)
        assert receipt.pop("image_digest").startswith("sha256:")
        for name in ("started_at", "finished_at", "duration_ms"):
            assert receipt.pop(name) is not None
        return {**receipt, "envelope": alike(receipt["envelope"])}


def alike(envelope: JsonObject) -> JsonObject:
    """Return *envelope* without what must differ; that it was there stays."""
    meta = {
        name: "…" if name in {"image_digest", "duration_ms", "queued_ms", "pinned"} else value
        for name, value in envelope["meta"].items()
    }
    return {**envelope, "meta": meta}


# --- the carriers


def by_process(folder: Path) -> Carrier:
    """Return the carrier by which all others are measured."""
    return Carrier("process", host_in(folder, {"FIX_SECRET": SECRET}, processors=alone(folder)))


def alone(folder: Path) -> Path:
    """Return a folder of processors below *folder* in which there is `fix/twin@1` and no other."""
    processors = folder / "processors"
    shutil.copytree(FIXTURES / TWIN, processors / TWIN, ignore=shutil.ignore_patterns("__pycache__"))
    return processors


@pytest.fixture(scope="module")
def modal_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """Give a local Modal with `fix/twin@1` deployed."""
    with pytest.MonkeyPatch.context() as patch, LocalModal() as cloud:
        for name, value in cloud.environ.items():
            patch.setenv(name, value)
        forget()
        site = Cloud(cloud, tmp_path_factory.mktemp("modal"))
        site.deploy(TWIN)
        yield site
        forget()
    assert not cloud.broken, cloud.broken


@pytest.fixture(scope="module")
def boxes(
    tmp_path_factory: pytest.TempPathFactory, engine: Engine, built: Built, image_registry: ImageRegistry
) -> Iterator[Boxes]:
    """Give the image of `fix/twin@1`, pushed and pinned."""
    boxes = Boxes(tmp_path_factory.mktemp("processors"), built("llm/chat@1").name, engine, image_registry)
    boxes.publish(place(TWIN, boxes.processors))
    yield boxes
    boxes.forget()


@contextmanager
def by_modal(site: Cloud, folder: Path) -> Iterator[Carrier]:
    """Give the carrier to Modal; it needs the deployed digest, because the fixture has no pin."""
    host = replace(host_in(folder, processors=alone(folder)), environ=site.environ)
    yield Carrier("modal", host, {"expected_digest": Digest.parse(DIGEST)})


@contextmanager
def by_local(boxes: Boxes, folder: Path) -> Iterator[Carrier]:
    """Give the carrier to a container of its own for each run; none is left."""
    host = boxes.host(folder, {"FIX_SECRET": SECRET})
    yield Carrier("local", host)
    assert there(host) == []


@pytest.fixture(params=["modal", pytest.param("local", marks=pytest.mark.docker)])
def twins(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Carrier, Carrier]]:
    """Give the process adapter, and the one that must bring back the same."""
    folder = tmp_path / "other"
    if request.param == "modal":
        other = by_modal(request.getfixturevalue("modal_site"), folder)
    else:
        other = by_local(request.getfixturevalue("boxes"), folder)
    with other as carrier:
        yield by_process(tmp_path / "process"), carrier


# --- one request each


def absent() -> JsonObject:
    """Return params with a reference to a file that is nowhere."""
    return {"document": {"$artifact": f"/artifacts/inputs/{'0' * 64}/page", "sha256": "0" * 64}}


CASES: Final = [
    # success
    pytest.param("hello", {}, None, id="success"),
    pytest.param("tell", {}, None, id="several outputs"),
    pytest.param("hello", {"mode": "real"}, None, id="real"),
    pytest.param("reveal", {"mode": "real"}, None, id="a secret is masked"),
    pytest.param("hello", {"write_prefix": "/artifacts/elsewhere/{execution_id}"}, None, id="another prefix"),
    # refused before anything starts
    pytest.param("hello", {"mode": "dream"}, "ERR_MODE_INVALID", id="unknown mode"),
    pytest.param("hello", {"mode": "real", "CI": "true"}, "ERR_CI_SAFETY", id="real in CI"),
    pytest.param("hello", {"write_prefix": "/artifacts/../x/"}, "ERR_WRITE_PREFIX", id="a malformed prefix"),
    pytest.param("hello", {"write_prefix": "/artifacts/inputs/x/"}, "ERR_WRITE_PREFIX", id="a prefix in the inputs"),
    pytest.param("hello", {"write_prefix": ""}, "ERR_INPUTS", id="no prefix"),
    pytest.param("hello", {"timeout_s": 0}, "ERR_INPUTS", id="no time"),
    pytest.param("hello", {"ref": "fix/nobody@1"}, "ERR_REF_NOT_FOUND", id="unknown ref"),
    pytest.param("hello", {"ref": "nonsense"}, "ERR_REF_NOT_FOUND", id="no ref"),
    # refused by the processor
    pytest.param("x" * 101, {}, "ERR_INPUTS", id="inputs against the schema"),
    pytest.param("hello", {"params": {"more": 1}}, "ERR_INPUTS", id="an unknown input"),
    pytest.param("hello", {"inputs": []}, "ERR_INPUTS", id="inputs that are no object"),
    pytest.param("read", {"params": absent()}, "ERR_INPUTS", id="a file that is nowhere"),
    # failed
    pytest.param("blame inputs", {}, "ERR_INPUTS", id="inputs error"),
    pytest.param("blame provider", {}, "ERR_PROVIDER", id="provider error"),
    pytest.param("blame provider soon", {}, "ERR_PROVIDER", id="retryable provider error"),
    pytest.param("fail", {}, "ERR_RUNTIME", id="handler error"),
    pytest.param("write elsewhere", {}, "ERR_OUTPUT_UNDECLARED", id="undeclared output"),
    pytest.param("write outside", {}, "ERR_OUTPUT_PATH", id="output path"),
    pytest.param("write twice", {}, "ERR_OUTPUT_DUPLICATE", id="output twice"),
    pytest.param("write nothing", {}, "ERR_OUTPUT_MISSING", id="missing output"),
    pytest.param("wait", {"timeout_s": 0.5}, "ERR_TIMEOUT", id="timeout"),
]


@pytest.mark.parametrize(("do", "changes", "code"), CASES)
def test_the_same_request_has_the_same_answer(
    twins: tuple[Carrier, Carrier], request: pytest.FixtureRequest, do: str, changes: JsonObject, code: str | None
) -> None:
    """Envelope and files, byte by byte."""
    execution_id = re.sub(r"[^a-z0-9]+", "-", request.node.callspec.id).strip("-")
    changes = dict(changes)
    environ = {"CI": changes.pop("CI", "")}

    envelopes = [each.execute(each.request(do, execution_id, **changes), environ=environ) for each in twins]

    process, other = map(alike, envelopes)
    assert other == process
    assert process.get("error", {}).get("code") == code, process
    assert SECRET not in json.dumps(process)
    files = [each.files(execution_id) for each in twins]
    if code is None:
        assert files[1] == files[0]
        if "write_prefix" not in changes:
            assert "outputs/text.txt" in files[0]
            receipts = [each.receipt(execution_id) for each in twins]
            assert receipts[1] == receipts[0]


def test_a_prefix_that_is_not_carried_is_refused_everywhere_but_on_this_machine(
    twins: tuple[Carrier, Carrier], tmp_path: Path
) -> None:
    """A process may write to /tmp too; what a container wrote there would be lost with it."""
    outside = {"write_prefix": f"{tmp_path}/elsewhere/"}  # tmp_path lies below /tmp, unless pytest was told otherwise
    process, other = (each.execute(each.request("hello", "twin-outside", **outside)) for each in twins)

    assert other["error"]["code"] == "ERR_WRITE_PREFIX"
    assert other["error"]["details"] == [{"path": "/write_prefix", "message": "must lie below /artifacts"}]
    if str(tmp_path).startswith("/tmp/"):
        assert process["status"] == "success"


def test_the_same_stream_tells_the_same(twins: tuple[Carrier, Carrier]) -> None:
    """The same events in the same order; how many pieces a text comes in is nobody's promise."""
    told: list[list[tuple[str, JsonObject]]] = []
    envelopes = []
    for carrier in twins:
        events: list[Event] = []
        envelopes.append(alike(carrier.execute(carrier.request("tell", "twin-stream"), events)))
        told.append(joined(events))

    assert told[1] == told[0]
    assert [name for name, _ in told[0]] == ["progress", "token", "output", "output", "progress", "output"]
    assert envelopes[1] == envelopes[0]


def joined(events: list[Event]) -> list[tuple[str, JsonObject]]:
    """Return *events* without log lines, with the texts of tokens that follow each other in one."""
    told: list[tuple[str, JsonObject]] = []
    for name, data in events:
        if name == "log":
            continue
        if name == "token" and told and told[-1][0] == "token":
            told[-1][1]["text"] += data["text"]
        else:
            told.append((name, dict(data)))
    return told


def test_a_file_goes_in_and_comes_out_the_same(twins: tuple[Carrier, Carrier], tmp_path: Path) -> None:
    """By the name that the params use, and with its content."""
    page = tmp_path / "page.bin"
    page.write_bytes(bytes(range(256)) * 1000)
    changes: JsonObject = {"params": {"document": {"$attach": "page"}}, "attachments": {"page": page}}
    envelopes = []
    for carrier in twins:
        saved = tmp_path / "saved" / carrier.name
        envelopes.append(alike(carrier.execute(carrier.request("read", "twin-file", **changes, save_dir=saved))))
        assert (saved / "page-1.txt").read_bytes() == page.read_bytes()

    assert envelopes[1] == envelopes[0]
    assert envelopes[0]["status"] == "success"
    assert twins[1].files("twin-file") == twins[0].files("twin-file")


def test_the_same_request_again_is_answered_from_its_receipt(twins: tuple[Carrier, Carrier]) -> None:
    """By the very envelope, durations included, from another process or container; another request is a conflict."""
    conflicts = []
    for carrier in twins:
        first = carrier.execute(carrier.request("hello", "twin-again"))
        assert carrier.execute(carrier.request("hello", "twin-again")) == first
        conflicts.append(alike(carrier.execute(carrier.request("bye", "twin-again"))))

    assert conflicts[1] == conflicts[0]
    assert conflicts[0]["error"]["code"] == "ERR_EXECUTION_CONFLICT"


def test_a_run_whose_caller_goes_is_cancelled_the_same(twins: tuple[Carrier, Carrier]) -> None:
    """The caller has the same envelope, and may ask for the same execution again: nothing of it goes on."""
    envelopes, later = [], []
    for carrier in twins:
        wish = carrier.request("wait", "twin-cancel")
        envelopes.append(carrier.cancelled(wish))
        later.append(alike(carrier.execute(replace(wish, timeout_s=0.5))))

    assert envelopes[1] == envelopes[0]
    assert envelopes[0]["error"]["code"] == "ERR_CANCELLED"
    assert later[1] == later[0]
    assert later[0]["error"]["code"] == "ERR_TIMEOUT"

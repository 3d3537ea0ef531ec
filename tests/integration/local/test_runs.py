"""A container for one run: its envelope comes back, whatever it was, and nothing of it is left."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from pathlib import Path

import httpx2
import pytest

from apps.core.adapters.local.image import host_platform
from apps.core.host import Host
from processor_runtime.schemas import validator
from tests.support.executions import SECRET, Story, payload
from tests.support.local import Boxes, JsonObject, began, boxed, change, executed, pin, place, seen, there, until

REAL = {"FIX_SECRET": SECRET}
ZERO = "sha256:" + "0" * 64


def code(envelope: JsonObject) -> str:
    """Return the error code of an *envelope*, ``""`` for a success; fails unless it is one by the contract."""
    assert validator("envelope").is_valid(envelope), envelope
    return str(envelope["error"]["code"]) if envelope["status"] == "error" else ""


def details(envelope: JsonObject) -> dict[str, str]:
    """Return the details of an error by their paths."""
    return {row["path"]: row["message"] for row in envelope["error"]["details"]}


def machine(boxes: Boxes, host: Host, **environ: str) -> Host:
    """Return *host* with these variables set."""
    return boxes.host(host.artifacts_root.parent, environ)


# --- a success


def test_a_run_brings_back_the_envelope_of_the_pinned_image(boxes: Boxes, host: Host, story: Story) -> None:
    """Pinned, by the digest that the registry names; verified files lie here, readable; the story has each line."""
    request = boxed("look")

    envelope = executed(request, host, story)

    reference = boxes.site(host).registration.platforms[host_platform()]
    assert code(envelope) == ""
    assert (envelope["meta"]["image_digest"], envelope["meta"]["pinned"]) == (str(reference.digest), True)
    written = host.artifacts_root / "outputs" / request.execution_id / "outputs" / "data.json"
    assert (written.stat().st_uid, written.stat().st_mode & 0o777) == (os.geteuid() or 10001, 0o644)
    events = [record["event"] for record in story.records]
    assert [each for each in events if each.startswith("adapter.")] == ["adapter.local.start", "adapter.local.healthy"]
    for event in ("http.run.start", "handler.began", "http.run.settle"):
        assert events.count(event) == 1


def test_the_same_request_again_is_replayed(host: Host, story: Story) -> None:
    """The second container finds the receipt of the first; the handler is not called."""
    request = boxed("look")

    first, second = (executed(request, host, story) for _ in range(2))

    assert first == second
    assert len(story.events("handler.began")) == 1


def test_an_attached_file_is_read_and_cannot_be_changed(host: Host, story: Story, tmp_path: Path) -> None:
    """Content-addressed; `test_walls` shows that its folder is read-only."""
    page = tmp_path / "page.txt"
    page.write_bytes(b"a page")

    envelope = executed(
        boxed("read", files={"$attach": "page"}, attachments={"page": page}, save_dir=tmp_path / "saved"), host, story
    )

    assert code(envelope) == ""
    sha256 = hashlib.sha256(b"a page").hexdigest()
    assert (host.artifacts_root / "inputs" / sha256 / "page").read_bytes() == b"a page"
    assert (tmp_path / "saved" / "text.txt").read_bytes() == b"a page"


def test_all_that_it_writes_is_heard_to_the_last_line(host: Host, story: Story) -> None:
    """A megabyte of lines, and what went past the logger."""
    executed(boxed("shout"), host, story)

    assert [record["number"] for record in story.events("handler.line")] == list(range(1000))
    assert [record["message"] for record in story.events("process.stray")] == ["on stdout"]


def test_a_run_may_be_streamed(boxes: Boxes, host: Host, story: Story) -> None:
    """`done` comes last, and the container is gone after it."""

    async def names() -> list[str]:
        body = payload("fix/box@1", do="look")
        return [event.name async for event in boxes.adapter(host, story).stream(body, timeout_s=30)]

    assert asyncio.run(names())[-1] == "done"


# --- what a container is given, seen by the engine


def test_the_engine_shows_no_secret_in_a_label_or_a_command(boxes: Boxes, host: Host, story: Story) -> None:
    """Nor in a log line; the port is open on loopback alone, and nobody without the token is served."""
    real = machine(boxes, host, **REAL)

    async def look() -> tuple[JsonObject, int]:
        body = payload("fix/box@1", do="sleep") | {"mode": "real"}
        running = asyncio.ensure_future(boxes.adapter(real, story).run(body, timeout_s=30))
        try:
            await began(story)
            (found,) = await asyncio.to_thread(there, real)
            inspected = json.loads(boxes.engine.docker("inspect", found.id))[0]
            async with httpx2.AsyncClient(trust_env=False) as stranger:
                return inspected, (await stranger.post(f"{found.url}/run")).status_code
        finally:
            running.cancel()
            await asyncio.wait([running])

    inspected, status = asyncio.run(look())

    config = inspected["Config"]
    assert SECRET not in json.dumps([config["Labels"], config["Cmd"], config["Entrypoint"], inspected["Args"]])
    assert config["Labels"]["processor.local"] == "cold"
    ports = inspected["NetworkSettings"]["Ports"]["8000/tcp"]
    assert [row["HostIp"] for row in ports] == ["127.0.0.1"]
    assert inspected["HostConfig"]["RestartPolicy"]["Name"] == "no"
    assert status == 401


def test_ci_is_passed_on(boxes: Boxes, host: Host, story: Story) -> None:
    """The processor refuses real mode by itself: the third of the three refusals."""
    ci = machine(boxes, host, CI="true", **REAL)
    body = payload("fix/box@1", do="look") | {"mode": "real"}

    envelope = asyncio.run(boxes.adapter(ci, story).run(body, timeout_s=30))

    assert code(envelope) == "ERR_CI_SAFETY"


# --- which image


def test_an_image_that_is_not_here_is_pulled_by_its_digest(boxes: Boxes, host: Host, story: Story) -> None:
    """As a step of its own, told as one."""
    reference = boxes.site(host).registration.platforms[host_platform()]
    boxes.engine.docker("rmi", "--force", str(reference))

    assert code(executed(boxed("look"), host, story)) == ""

    assert story.events("adapter.local.pull")[0]["image"] == str(reference)
    assert len(story.events("adapter.local.pulled")) == 1


@pytest.fixture
def own(boxes: Boxes, tmp_path: Path) -> Path:
    """Return a copy of `fix/box@1` whose registry a test may change."""
    folder = place("fix_box", tmp_path / "processors")
    pins = boxes.site(boxes.host(tmp_path)).registration.platforms
    pin(folder, str(pins[host_platform()]))
    return folder


def of(own: Path, boxes: Boxes, host: Host) -> Host:
    """Return *host* with the processors beside *own*."""
    return boxes.host(host.artifacts_root.parent, host.environ, processors=own.parent)


@pytest.mark.parametrize("platform", [None, "arm64", "riscv64"])
def test_without_a_pin_for_this_platform_nothing_runs(
    boxes: Boxes, host: Host, story: Story, own: Path, platform: str | None
) -> None:
    """The detail names what to do instead."""
    if platform is None:
        change(own, image={"default_platform": "amd64"})

    envelope = executed(boxed("look", platform=platform), of(own, boxes, host), story)

    assert code(envelope) == "ERR_IMAGE_UNPINNED"
    assert "--build" in details(envelope)["/image/platforms"]
    assert not host.artifacts_root.exists()


def test_without_this_platform_the_registrys_default_runs(boxes: Boxes, host: Host, story: Story, own: Path) -> None:
    """Emulated where the engine can; here the pin of another platform names an image of this one."""
    other = "arm64" if host_platform() == "amd64" else "amd64"
    pin(own, str(boxes.site(host).registration.platforms[host_platform()]), other)

    assert code(executed(boxed("look"), of(own, boxes, host), story)) == ""
    assert code(executed(boxed("look", platform=other), of(own, boxes, host), story)) == ""


def test_a_digest_that_nobody_has_is_not_found(boxes: Boxes, host: Host, story: Story, own: Path) -> None:
    """The image registry answers, and has no such image."""
    pin(own, f"{boxes.registry.repository()}@{ZERO}")

    assert code(executed(boxed("look"), of(own, boxes, host), story)) == "ERR_IMAGE_NOT_FOUND"


def test_an_image_registry_that_is_not_there_is_err_image_pull(
    boxes: Boxes, host: Host, story: Story, own: Path
) -> None:
    """Another attempt may help, says the envelope."""
    pin(own, f"127.0.0.1:1/nobody@{ZERO}")

    envelope = executed(boxed("look"), of(own, boxes, host), story)

    assert (code(envelope), envelope["error"]["retryable"]) == ("ERR_IMAGE_PULL", True)
    assert "127.0.0.1:1" in str(envelope["error"]["details"])


def test_what_is_built_here_says_that_it_is_not_pinned(boxes: Boxes, host: Host, story: Story, own: Path) -> None:
    """Its digest is the engine's id of what was built."""
    envelope = executed(boxed("look", build=True), of(own, boxes, host), story)

    assert code(envelope) == ""
    assert envelope["meta"]["pinned"] is False
    assert envelope["meta"]["image_digest"] == boxes.engine.docker("inspect", "--format", "{{.Id}}", boxes.build(own))


def test_what_cannot_be_built_says_why(boxes: Boxes, host: Host, story: Story, own: Path) -> None:
    """The last lines of the builder."""
    (own / "Dockerfile").write_text("ARG BASE_IMAGE=none\nFROM ${BASE_IMAGE}\nCOPY not-there /\n", "utf-8")

    envelope = executed(boxed("look", build=True), of(own, boxes, host), story)

    assert code(envelope) == "ERR_DOCKER"
    assert "not-there" in str(envelope["error"]["details"])


# --- drift


def test_an_image_other_than_the_expected_one_does_not_even_start(boxes: Boxes, host: Host, story: Story) -> None:
    """`--expected-digest`, in both spellings, is compared with the engine's word before anything is sent."""
    from processor_runtime.values import Digest

    actual = boxes.site(host).registration.platforms[host_platform()].digest
    for text in (str(actual), f"ghcr.io/somebody/something@{actual}"):
        assert code(executed(boxed("look", expected_digest=Digest.parse(text)), host, story)) == ""
    story.lines.clear()

    envelope = executed(boxed("look", expected_digest=Digest.parse(ZERO)), host, story)

    assert code(envelope) == "ERR_DIGEST_DRIFT"
    assert not story.events("adapter.local.start")


def test_a_tag_that_moved_changes_nothing(boxes: Boxes, host: Host, story: Story, own: Path) -> None:
    """A pin names a digest: whatever is tagged beside it, the pinned image runs."""
    reference = boxes.site(host).registration.platforms[host_platform()]
    other = boxes.engine.docker("inspect", "--format", "{{.Id}}", boxes.base)
    boxes.engine.docker("tag", other, f"{reference.repository}:latest")
    try:
        envelope = executed(boxed("look"), of(own, boxes, host), story)
    finally:
        boxes.engine.docker("rmi", f"{reference.repository}:latest")

    assert (code(envelope), envelope["meta"]["image_digest"]) == ("", str(reference.digest))


def lie(digest: str) -> JsonObject:
    """Return inputs that make `fix/raw@1` answer with a success of the image *digest*."""
    body = {
        "status": "success",
        "execution_id": "e1",
        "outputs": [],
        "index_path": "/artifacts/outputs/e1/outputs.json",
        "meta": {
            "ref": "fix/raw@1",
            "env_fingerprint": "cpu:1;memory:1Gi",
            "image_digest": digest,
            "pinned": True,
            "queued_ms": 0,
            "duration_ms": 1,
            "extra": {},
        },
    }
    return {"schema": "v1", "params": {"status": 200, "body": json.dumps(body)}}


@pytest.mark.parametrize("digest", [ZERO, ""])
def test_an_image_that_says_it_is_another_one_is_drift(boxes: Boxes, host: Host, story: Story, digest: str) -> None:
    """No success is reported: its own word must be the engine's. The truth, said by the same image, passes."""
    request = boxed(ref="fix/raw@1", inputs=lie(digest), execution_id="e1")
    body = {"schema": "v1", "execution_id": "e1", "write_prefix": "/artifacts/outputs/e1/", "mode": "mock"}
    truth = str(boxes.site(host, "fix/raw@1").registration.platforms[host_platform()].digest)

    assert code(executed(request, host, story)) == "ERR_DIGEST_DRIFT"
    honest = boxes.adapter(host, story, "fix/raw@1").run(
        {**body, "ref": "fix/raw@1", "inputs": lie(truth)}, timeout_s=30
    )
    assert asyncio.run(honest)["status"] == "success"


# --- it does not come up, or does not answer


def test_a_refusal_by_the_processor_makes_no_folder(host: Host, story: Story) -> None:
    """The container ran, and what it refused is no run."""
    envelope = executed(boxed("dance"), host, story)

    assert code(envelope) == "ERR_INPUTS"
    assert list((host.artifacts_root / "outputs").iterdir()) == []


@pytest.mark.parametrize(("setup", "reason"), [("fail", "set-up failed"), ("exit", "exit status 7")])
def test_a_container_that_does_not_come_up_is_err_health(
    boxes: Boxes, host: Host, story: Story, setup: str, reason: str
) -> None:
    """The details say how, and hold what it wrote last, masked."""
    envelope = executed(boxed("look", mode="real"), machine(boxes, host, FIX_SETUP=setup, **REAL), story)

    assert code(envelope) == "ERR_HEALTH"
    assert details(envelope)["container"] == reason
    if setup == "exit":
        assert "the secret is ***" in details(envelope)["stderr"]
        assert "last words" in details(envelope)["stderr"]
    assert SECRET not in json.dumps(envelope)
    assert len(details(envelope)["stderr"].encode()) <= 2048


def test_a_container_that_never_becomes_healthy_is_given_up(boxes: Boxes, host: Host, story: Story, own: Path) -> None:
    """The wait has an end."""
    (own / "app" / "http.py").write_text("import time\ntime.sleep(3600)\n", encoding="utf-8")
    slow = of(own, boxes, host)

    envelope = executed(
        boxed("look", build=True),
        boxes.host(host.artifacts_root.parent, processors=own.parent, start_allowance_s=3),
        story,
    )

    assert slow.start_allowance_s > 3
    assert (code(envelope), details(envelope)["container"]) == ("ERR_HEALTH", "not healthy after 3 s")


def test_a_container_that_ends_in_a_run_is_err_crashed(host: Host, story: Story) -> None:
    """The details say how it ended; the fault table has the other ways to die."""
    envelope = executed(boxed("exit"), host, story)

    assert (code(envelope), details(envelope)) == ("ERR_CRASHED", {"container": "exit status 3"})


def test_the_processors_own_deadline_answers_first(host: Host, story: Story) -> None:
    """A handler that never looks up ends in the processor's envelope, and then in SIGKILL."""
    assert code(executed(boxed("sleep", timeout_s=0.5), host, story)) == "ERR_TIMEOUT"


def test_what_the_engine_refuses_is_err_docker_with_its_reason(
    boxes: Boxes, host: Host, story: Story, own: Path
) -> None:
    """A GPU where there is none: it was asked for, and the engine says so."""
    runtime = {"cpu": "1", "memory_gb": 0.25, "timeout_s": 30, "gpu": "A100:2"}
    change(own, runtime=runtime)

    envelope = executed(boxed("look"), of(own, boxes, host), story)

    assert code(envelope) == "ERR_DOCKER"
    assert "gpu" in str(envelope["error"]["details"])


def test_without_an_engine_the_envelope_says_what_to_do(boxes: Boxes, host: Host, story: Story) -> None:
    """Start one, or use the source."""
    envelope = executed(boxed("look"), machine(boxes, host, DOCKER_HOST="unix:///nowhere.sock"), story)

    assert code(envelope) == "ERR_DOCKER"
    assert "start Docker, or use --adapter process" in str(envelope["error"]["details"])


# --- it is cancelled


def test_a_cancelled_run_leaves_nothing_but_its_receipt(boxes: Boxes, host: Host, story: Story) -> None:
    """The container is asked to end first: the execution is on record as cancelled."""
    body = payload("fix/box@1", do="sleep")

    async def cancel() -> None:
        running = asyncio.ensure_future(boxes.adapter(host, story).run(body, timeout_s=30))
        await began(story)
        running.cancel()
        running.cancel()  # as an impatient Ctrl-C does
        await asyncio.wait([running])
        assert running.cancelled()

    asyncio.run(cancel())

    receipt = json.loads((host.artifacts_root / "outputs" / body["execution_id"] / "receipt.json").read_bytes())
    assert receipt["envelope"]["error"]["code"] == "ERR_CANCELLED"


def test_a_run_that_is_cancelled_while_it_starts_leaves_nothing(boxes: Boxes, host: Host, story: Story) -> None:
    """At whichever moment: the fixture looks for what is left."""

    async def cancel(after_s: float) -> None:
        running = asyncio.ensure_future(boxes.adapter(host, story).run(payload("fix/box@1", do="look"), timeout_s=30))
        await until(lambda: story.events("adapter.local.start"), "the start")
        story.lines.clear()
        await asyncio.sleep(after_s)
        running.cancel()
        await asyncio.wait([running])

    for after_s in (0, 0.01, 0.1, 0.4):
        asyncio.run(cancel(after_s))

    assert seen(host, executed(boxed("look"), host, story))["uid"]

"""The process adapter on real processes: what they get, how they end, and that nothing of them is left."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from apps.core.adapters.drift import DriftChecked
from apps.core.adapters.errors import BadResponseError, CrashedError, DigestDriftError, HealthError, NetworkError
from apps.core.adapters.process import adapter as module
from apps.core.adapters.process import service
from apps.core.host import Host
from apps.core.images.source import source_digest
from apps.core.registry import load_registration
from processor_runtime.errors import DeadlineError
from processor_runtime.schemas import validator
from processor_runtime.values import Digest
from tests.support.executions import (
    FIXTURES,
    OWN,
    SECRET,
    Story,
    adapter,
    alive,
    behaving,
    host_in,
    marked,
    meanwhile,
    payload,
)
from tests.support.service import wait_until

TROUBLE = "fix_trouble"
REAL = {"FIX_SECRET": SECRET}


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """Return this machine, writing below a folder of the test's own."""
    return host_in(tmp_path)


@pytest.fixture
def story() -> Story:
    """Return what the journal is told."""
    return Story()


def run(carrier: Any, body: dict[str, Any], timeout_s: float = 30) -> dict[str, Any]:
    """Return the envelope that *carrier* brings back."""
    envelope: dict[str, Any] = asyncio.run(carrier.run(body, timeout_s=timeout_s))
    return envelope


def seen(host: Host, envelope: dict[str, Any]) -> dict[str, Any]:
    """Return what the handler wrote to `outputs/data.json`."""
    assert envelope["status"] == "success", envelope
    value: dict[str, Any] = json.loads(
        (host.artifacts_root / "outputs" / envelope["execution_id"] / "outputs" / "data.json").read_bytes()
    )
    return value


def started(story: Story) -> int:
    """Return the id of the process that the story tells of."""
    (line,) = [each for each in story.records if "Started server process" in each.get("message", "")]
    return int(line["message"].partition("[")[2].rstrip("]"))


@pytest.fixture(autouse=True)
def temporary(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give an empty folder for temporary files: whatever is left in it was left by the test."""
    with tempfile.TemporaryDirectory() as folder:
        monkeypatch.setattr(tempfile, "tempdir", folder)
        yield Path(folder)


# --- a run


def test_a_run_brings_back_the_processors_envelope_and_leaves_nothing(
    host: Host, story: Story, temporary: Path
) -> None:
    """The envelope is the processor's own, the files lie here, the process and its folder are gone."""
    body = payload(do="hello")

    envelope = run(adapter(host, TROUBLE, story), body)

    assert validator("envelope").is_valid(envelope)
    assert (envelope["status"], envelope["execution_id"]) == ("success", body["execution_id"])
    written = host.artifacts_root / "outputs" / body["execution_id"] / "outputs" / "text.txt"
    assert written.read_text("utf-8") == "hello"
    assert not alive(started(story))
    assert list(temporary.iterdir()) == []


def test_an_error_of_the_processor_is_brought_back_as_it_is(host: Host, story: Story) -> None:
    """An adapter transports: a refusal by the processor is its answer, not the adapter's failure."""
    envelope = run(adapter(host, TROUBLE, story), payload(nonsense=True))

    assert envelope["error"]["code"] == "ERR_INPUTS"
    assert envelope["meta"]["image_digest"].startswith("sha256:")


def test_the_processor_is_asked_once_and_its_lines_are_forwarded(host: Host, story: Story) -> None:
    """One start and one settle, each as the processor wrote it."""
    body = payload(do="hello")

    run(adapter(host, TROUBLE, story), body)

    for event in ("http.run.start", "http.run.settle"):
        (line,) = story.events(event)
        assert (line["ref"], line["execution_id"]) == ("fix/trouble@1", body["execution_id"])
    assert [each["event"] for each in story.records[:1]] == ["adapter.process.start"]
    assert len(story.events("adapter.process.healthy")) == 1


def test_the_process_listens_on_no_port(host: Host, story: Story, tmp_path: Path, temporary: Path) -> None:
    """Its socket is a file in a folder that only this user may enter."""
    mark = tmp_path / "mark"

    def look(pid: int) -> tuple[list[str], int]:
        links = [str(fd.readlink()) for fd in Path(f"/proc/{pid}/fd").iterdir() if fd.is_symlink()]
        inodes = {link.removeprefix("socket:[").rstrip("]") for link in links if link.startswith("socket:")}
        tables = [Path(f"/proc/{pid}/net/{name}").read_text("utf-8").splitlines() for name in ("tcp", "tcp6")]
        ours = [line for table in tables for line in table if inodes & set(line.split())]
        assert inodes, "it has a Unix socket at least"
        (folder,) = temporary.iterdir()
        assert (folder / "s").is_socket()
        return ours, folder.stat().st_mode & 0o777

    body = payload(do="sleep", mark=str(mark))

    assert meanwhile(adapter(host, TROUBLE, story), body, mark, look) == ([], 0o700)


# --- what a process gets


def test_the_environment_is_built_from_nothing(host: Host, story: Story) -> None:
    """Of the caller's variables only those that an adapter passes on reach the process."""
    environ = {
        **host.environ,
        "STRAY": "x",
        "OPENAI_API_KEY": "x",
        "PYTHONPATH": "/nowhere",
        "SSL_CERT_FILE": "/ca.pem",
    }

    found = seen(host, run(adapter(host, TROUBLE, story, environ=environ), payload(do="look")))

    assert sorted(found["environ"]) == [
        "HOME",
        "IMAGE_DIGEST",
        "LANG",
        "PATH",
        "PROCESSOR_ARTIFACTS_DIR",
        "PROCESSOR_GRACE_S",
        "PROCESSOR_MODE",
        "PYTHONPATH",
        "PYTHONUNBUFFERED",
        "SSL_CERT_FILE",
        "TMPDIR",
        "TZ",
    ]
    assert found["environ"]["PROCESSOR_MODE"] == "mock"
    assert found["environ"]["HOME"] != os.environ.get("HOME")
    assert found["cwd"] == str(FIXTURES / TROUBLE)
    assert "django" not in found["modules"]


@pytest.mark.parametrize(
    ("mode", "secrets"), [("mock", {}), ("real", {"FIX_SECRET": SECRET})], ids=["mock gets none", "real gets its own"]
)
def test_secrets_reach_a_real_run_alone(host: Host, story: Story, mode: str, secrets: dict[str, str]) -> None:
    """Declared and set ones, by name; the handler finds them where it should and not in the environment."""
    environ = {**host.environ, **REAL, "OTHER_SECRET": "never declared"}

    found = seen(host, run(adapter(host, TROUBLE, story, environ=environ), payload(do="look") | {"mode": mode}))

    # the artifact holds what the handler saw: masking is for lines and envelopes
    assert found["secrets"] == secrets
    assert "FIX_SECRET" not in found["environ"]
    assert "OTHER_SECRET" not in found["environ"]


def test_ci_is_passed_on(host: Host, story: Story) -> None:
    """The processor refuses real mode by itself: the third of the three refusals."""
    environ = {**host.environ, **REAL, "CI": "true"}

    envelope = run(adapter(host, TROUBLE, story, environ=environ), payload() | {"mode": "real"})

    assert envelope["error"]["code"] == "ERR_CI_SAFETY"


def test_the_digest_is_that_of_the_source_and_never_pinned(host: Host, story: Story) -> None:
    """Every envelope says which source ran, and that it is no pinned image."""
    envelope = run(adapter(host, TROUBLE, story), payload())

    assert envelope["meta"]["image_digest"] == source_digest(load_registration(FIXTURES / TROUBLE))
    assert envelope["meta"]["pinned"] is False


def test_nobody_without_the_token_is_served(host: Host, story: Story, tmp_path: Path, temporary: Path) -> None:
    """Another process of this user that finds the socket is refused."""
    mark = tmp_path / "mark"

    def intrude(_pid: int) -> bytes:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(next(temporary.glob("*/s"))))
            connection.sendall(b"POST /run HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n")
            return connection.recv(4096)

    answer = meanwhile(adapter(host, TROUBLE, story), payload(do="sleep", mark=str(mark)), mark, intrude)

    assert answer.startswith(b"HTTP/1.1 401")


# --- streams


def test_what_is_printed_becomes_ndjson(tmp_path: Path, story: Story) -> None:
    """What a processor writes before it takes its streams over is wrapped here, and says which stream it came from."""
    host = host_in(tmp_path, processors=behaving("shout", tmp_path))
    body = payload("fix/raw@1") | {"inputs": {"schema": "v1", "params": {"status": 500, "body": "x"}}}

    with pytest.raises(BadResponseError):
        run(adapter(host, "fix_raw", story), body)

    stray = {(line["fd"], line["message"]) for line in story.events("process.stray")}
    assert {(1, "printed on import"), (2, "written on import")} <= stray


def test_secrets_are_masked_in_what_is_forwarded(host: Host, story: Story) -> None:
    """Whatever a handler logs, a declared secret does not pass."""
    journal = story.journal.hiding(SECRET)
    environ = {**host.environ, **REAL}

    run(adapter(host, TROUBLE, story, environ=environ, journal=journal), payload(do="secret") | {"mode": "real"})

    (line,) = story.events("handler.told")
    assert line["secret"] == "***"
    assert SECRET.encode() not in b"".join(story.lines)


# --- it does not come up


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        pytest.param("exit", "exit status 5", id="dies at its start"),
        pytest.param("failed", "set-up failed", id="says that set-up failed"),
    ],
)
def test_a_processor_that_does_not_come_up_is_err_health(
    tmp_path: Path, story: Story, behaviour: str, reason: str
) -> None:
    """The details say what happened; what it wrote last is there, masked."""
    host = host_in(tmp_path, processors=behaving(behaviour, tmp_path))

    with pytest.raises(HealthError) as failed:
        run(adapter(host, "fix_raw", story), payload("fix/raw@1"))

    process, stderr = failed.value.details
    assert process == {"path": "process", "message": reason}
    assert stderr["path"] == "stderr"
    if behaviour == "exit":
        assert stderr["message"].endswith("the token is ***\nlast words")


def test_a_processor_that_never_becomes_healthy_is_given_up(tmp_path: Path, story: Story) -> None:
    """The wait has an end, and the process is stopped."""
    host = host_in(tmp_path, processors=behaving("starting", tmp_path), start_allowance_s=2)

    with pytest.raises(HealthError) as failed:
        run(adapter(host, "fix_raw", story), payload("fix/raw@1"))

    assert failed.value.details[0]["message"] == "not healthy after 2 s"
    assert not alive(started(story))


@pytest.mark.parametrize(("setup", "reason"), [("fail", "set-up failed"), ("exit", "exit status 7")])
def test_a_real_run_waits_for_set_up_and_says_how_it_failed(host: Host, story: Story, setup: str, reason: str) -> None:
    """Set-up belongs to real mode; its failure is seen before anything is asked."""
    environ = {**host.environ, **REAL, "FIX_SETUP": setup}

    with pytest.raises(HealthError) as failed:
        run(adapter(host, TROUBLE, story, environ=environ), payload() | {"mode": "real"})

    assert failed.value.details[0]["message"] == reason
    assert story.events("http.run.start") == []


def test_a_mock_run_never_waits_for_set_up(host: Host, story: Story) -> None:
    """The secret that would make set-up hang does not even reach a mock process."""
    environ = {**host.environ, **REAL, "FIX_SETUP": "hang"}

    assert run(adapter(host, TROUBLE, story, environ=environ), payload())["status"] == "success"


def test_a_python_that_is_not_there_is_err_health(host: Host, story: Story) -> None:
    """The reason is on stderr, and so in the details."""
    with pytest.raises(HealthError) as failed:
        run(adapter(host, TROUBLE, story, python=Path("/nowhere/python")), payload())

    assert failed.value.details[1]["message"] == "/nowhere/python: No such file or directory"


# --- it does not answer


@pytest.mark.parametrize(("do", "how"), [("exit", "exit status 3"), ("kill", "signal SIGKILL")])
def test_a_process_that_dies_in_a_run_is_err_crashed(host: Host, story: Story, do: str, how: str) -> None:
    """The details say how it ended."""
    with pytest.raises(CrashedError) as failed:
        run(adapter(host, TROUBLE, story), payload(do=do))

    assert failed.value.details == ({"path": "process", "message": how},)


def test_a_connection_lost_to_a_living_process_is_err_network(host: Host, story: Story) -> None:
    """It may be asked again: nobody knows that it died."""
    with pytest.raises(NetworkError) as failed:
        run(adapter(host, TROUBLE, story), payload(do="hang up"))

    assert failed.value.retryable
    assert not alive(started(story))


def test_the_processors_own_deadline_answers_first(host: Host, story: Story) -> None:
    """A handler that never looks up ends in the processor's envelope, and then in SIGKILL."""
    envelope = run(adapter(host, TROUBLE, story), payload(do="sleep") | {"timeout_s": 0.5}, timeout_s=0.5)

    assert envelope["error"]["code"] == "ERR_TIMEOUT"
    assert not alive(started(story))


def test_without_any_answer_the_deadline_is_ours(
    host: Host, story: Story, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that has stopped altogether is given up a little after the deadline."""
    monkeypatch.setattr(module, "ANSWER_GRACE_S", 0.2)
    monkeypatch.setattr(service, "STOP_GRACE_S", 0.5)
    mark = tmp_path / "mark"

    async def freeze() -> None:
        body = payload(do="sleep", mark=str(mark))
        running = asyncio.ensure_future(adapter(host, TROUBLE, story).run(body, timeout_s=1))
        os.kill(await marked(mark), signal.SIGSTOP)
        await running

    with pytest.raises(DeadlineError):
        asyncio.run(freeze())

    assert not alive(int(mark.read_text("utf-8")))


ENVELOPE: dict[str, Any] = {
    "status": "error",
    "execution_id": "",
    "error": {"code": "ERR_BUSY", "message": "busy", "retryable": True, "details": []},
    "meta": {"ref": "fix/raw@1", "env_fingerprint": "cpu:1;memory:1Gi", "image_digest": "", "pinned": False},
}


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda wanted: wanted.update(body="<html>"), id="no JSON"),
        pytest.param(lambda wanted: wanted.update(type="text/html"), id="another media type"),
        pytest.param(lambda wanted: wanted.update(body="{}"), id="no envelope"),
        pytest.param(lambda wanted: wanted.update(status=200), id="an error with 200"),
        pytest.param(lambda wanted: wanted.update(body=wanted["body"].replace("raw", "other")), id="another processor"),
    ],
)
def test_what_is_no_envelope_of_this_execution_is_err_bad_response(
    host: Host, story: Story, change: Callable[[dict[str, Any]], None]
) -> None:
    """Whoever answers has to keep the contract."""
    wanted = {"status": 429, "body": json.dumps(ENVELOPE)}
    body = payload("fix/raw@1") | {"inputs": {"schema": "v1", "params": wanted}}
    assert run(adapter(host, "fix_raw", story), body) == ENVELOPE

    change(wanted)
    with pytest.raises(BadResponseError):
        run(adapter(host, "fix_raw", story), body)


# --- it is stopped


def test_what_a_processor_started_is_stopped_too(host: Host, story: Story) -> None:
    """A child that outlives its run is of no use to anybody."""
    envelope = run(adapter(host, TROUBLE, story), payload(do="breed"))

    child = seen(host, envelope)["child"]
    wait_until(lambda: not alive(child), lambda: f"the end of process {child}")


def test_a_cancelled_run_leaves_nothing_but_its_receipt(
    host: Host, story: Story, tmp_path: Path, temporary: Path
) -> None:
    """The process is asked to end first: the execution is on record as cancelled."""
    mark = tmp_path / "mark"
    body = payload(do="sleep", mark=str(mark))

    meanwhile(adapter(host, TROUBLE, story), body, mark, lambda pid: pid)

    assert not alive(int(mark.read_text("utf-8")))
    assert list(temporary.iterdir()) == []
    receipt = json.loads((host.artifacts_root / "outputs" / body["execution_id"] / "receipt.json").read_bytes())
    assert receipt["envelope"]["error"]["code"] == "ERR_CANCELLED"


def test_a_process_dies_with_a_caller_that_is_killed(tmp_path: Path, temporary: Path) -> None:
    """SIGKILL leaves a caller no time to clean up: the kernel does it."""
    mark = tmp_path / "mark"
    caller = f"""
import asyncio, sys
sys.path[:0] = {sys.path!r}
from pathlib import Path
from tests.support.executions import Story, adapter, host_in, payload
host = host_in(Path({str(tmp_path)!r}))
asyncio.run(adapter(host, {TROUBLE!r}, Story()).run(payload(do="sleep", mark={str(mark)!r}), timeout_s=60))
"""
    with subprocess.Popen([sys.executable, "-c", caller], env={**os.environ, "TMPDIR": str(temporary)}) as process:
        try:
            wait_until(lambda: mark.exists() and mark.read_text("utf-8"), lambda: "the handler")
        finally:
            process.kill()
    pid = int(mark.read_text("utf-8"))

    wait_until(lambda: not alive(pid), lambda: f"the end of process {pid}")


# --- drift


def test_the_answer_of_the_expected_digest_passes_and_any_other_is_drift(host: Host, story: Story) -> None:
    """The wrapper compares what answered with what was expected."""
    actual = Digest.parse(source_digest(load_registration(FIXTURES / TROUBLE)))
    other = Digest.parse("sha256:" + "0" * 64)
    carrier = adapter(host, TROUBLE, story)

    assert run(DriftChecked(carrier, actual), payload())["status"] == "success"
    with pytest.raises(DigestDriftError) as drifted:
        run(DriftChecked(carrier, other), payload())

    assert str(actual) in drifted.value.details[0]["message"]


# --- an environment of its own


@pytest.mark.network
@pytest.mark.slow
def test_two_runs_at_once_build_one_environment_from_the_lock(tmp_path: Path, story: Story) -> None:
    """`llm/chat` runs on exactly what its lock pins; the second caller waits, the third finds it there."""
    environ = {name: value for name, value in os.environ.items() if name != "CI"}
    host = host_in(tmp_path, environ, processors=OWN)
    carrier = adapter(host, "llm_chat", story, python=None)
    body = {"inputs": {"schema": "v1", "params": {"messages": [{"role": "user", "content": "hello"}]}}}

    async def both() -> list[dict[str, Any]]:
        return await asyncio.gather(*(carrier.run(payload("llm/chat@1") | body, timeout_s=60) for _ in range(2)))

    envelopes = [*asyncio.run(both()), run(carrier, payload("llm/chat@1") | body)]

    assert [envelope["status"] for envelope in envelopes] == ["success"] * 3
    assert len(story.events("adapter.environment.build")) == 1
    (folder,) = [path for path in (host.var / "venvs").iterdir() if path.is_dir()]
    program = "import importlib.util as u; print(u.find_spec('openai').origin, u.find_spec('django'))"
    found = subprocess.run(
        [folder / "bin" / "python", "-c", program], capture_output=True, text=True, check=True
    ).stdout.split()
    assert found[0].startswith(str(folder))
    assert found[1] == "None"

"""Whatever goes wrong with a container, an engine or a caller: the right envelope in time, and nothing left behind."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final

import pytest

from apps.core.adapters.local import control
from apps.core.adapters.local.image import host_platform
from apps.core.executions import execute
from apps.core.host import Host
from apps.core.request import ExecutionRequest
from processor_runtime.schemas import validator
from tests.integration.local.test_localctl import BOX, Shell, shell_on
from tests.support.executions import SECRET, Story
from tests.support.local import Boxes, JsonObject, began, boxed, executed, place, there

SOCKET: Final = "/var/run/docker.sock"
PARALLEL: Final = 20


def error(envelope: JsonObject) -> tuple[str, str]:
    """Return the code of an error *envelope* and its details as text; fails unless it is one by the contract."""
    assert validator("envelope").is_valid(envelope), envelope
    assert envelope["status"] == "error", envelope
    return envelope["error"]["code"], json.dumps(envelope["error"]["details"])


def during(request: ExecutionRequest, machine: Host, story: Story, fault: Callable[[str], object]) -> JsonObject:
    """Return the envelope of *request*, on whose container *fault* comes down while its handler is under way."""

    async def main() -> JsonObject:
        running = asyncio.ensure_future(execute(request, machine, story.journal))
        await began(story)
        (found,) = await asyncio.to_thread(there, machine)
        await asyncio.to_thread(fault, found.id)
        return await running

    return asyncio.run(main())


# --- the container


def test_a_container_that_is_killed_is_err_crashed(boxes: Boxes, host: Host, story: Story) -> None:
    """By whom does not matter; how is told."""
    envelope = during(boxed("sleep"), host, story, lambda found: boxes.engine.docker("kill", found))

    assert error(envelope) == ("ERR_CRASHED", '[{"path": "container", "message": "signal SIGKILL"}]')


def test_a_container_without_memory_is_err_crashed(host: Host, story: Story) -> None:
    """The reason is the one that can be acted upon."""
    code, details = error(executed(boxed("eat"), host, story))

    assert code == "ERR_CRASHED"
    assert "out of memory" in details


def test_a_container_that_is_frozen_is_given_up_at_the_deadline(
    boxes: Boxes, host: Host, story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The processor cannot answer `ERR_TIMEOUT` itself: the adapter does."""
    from apps.core.adapters.local import carrier

    monkeypatch.setattr(carrier, "ANSWER_GRACE_S", 0.5)

    envelope = during(boxed("sleep", timeout_s=1), host, story, lambda found: boxes.engine.docker("pause", found))

    assert error(envelope)[0] == "ERR_TIMEOUT"


def test_a_container_that_somebody_removed_is_not_a_success(boxes: Boxes, host: Host, story: Story) -> None:
    """How it ended nobody can say any more."""
    envelope = during(boxed("sleep"), host, story, lambda found: boxes.engine.docker("rm", "--force", found))

    assert error(envelope)[0] in {"ERR_CRASHED", "ERR_DOCKER"}


# --- the image


def test_an_image_that_was_removed_everywhere_is_not_found(boxes: Boxes, host: Host, story: Story) -> None:
    """Neither on the engine nor in its image registry."""
    folder = place("fix_box", host.artifacts_root.parent / "gone")
    (folder / "app" / "gone.py").write_text('"""An image of its own."""\n', encoding="utf-8")
    boxes.publish(folder)
    reference = str(json.loads((folder / "registry.yaml").read_text("utf-8"))["image"]["platforms"][host_platform()])
    repository, _, digest = reference.partition("@")
    boxes.engine.docker("rmi", "--force", f"{repository}:t", boxes.build(folder))
    with suppress(AssertionError):  # the last of its names takes it along
        boxes.engine.docker("rmi", "--force", reference)
    shutil.rmtree(boxes.registry.folder / "data/docker/registry/v2/repositories" / repository.partition("/")[2])
    assert digest

    envelope = executed(boxed("look"), boxes.host(host.artifacts_root.parent, processors=folder.parent), story)

    assert error(envelope)[0] == "ERR_IMAGE_NOT_FOUND"


def test_an_image_that_is_removed_in_a_run_does_not_matter(boxes: Boxes, host: Host, story: Story) -> None:
    """What runs, runs; which image it is was established before."""
    folder = place("fix_box", host.artifacts_root.parent / "going")
    (folder / "app" / "going.py").write_text('"""An image of its own."""\n', encoding="utf-8")
    boxes.publish(folder)
    machine = boxes.host(host.artifacts_root.parent, processors=folder.parent)

    names = [boxes.build(folder), str(boxes.site(machine).registration.platforms[host_platform()])]

    def remove(_: str) -> None:
        for name in names:
            boxes.engine.docker("rmi", "--force", name)

    envelope = during(boxed("sleep", timeout_s=3), machine, story, remove)

    assert error(envelope)[0] == "ERR_TIMEOUT"
    assert envelope["meta"]["image_digest"].startswith("sha256:")


# --- the machine


@contextmanager
def small_disk(boxes: Boxes, folder: Path) -> Iterator[None]:
    """Mount 512 KiB at *folder*; where the tests' own user may not, the engine may."""

    def privileged(*command: str) -> None:
        if os.geteuid() == 0:
            subprocess.run(command, check=True)
        else:
            nsenter = ["run", "--rm", "--privileged", "--pid=host", "--user=0", boxes.base, "nsenter", "-t", "1", "-m"]
            boxes.engine.docker(*nsenter, *command)

    folder.mkdir()
    options = f"size=512k,mode=0755,uid={os.geteuid()},gid={os.getegid()}"
    privileged("mount", "-t", "tmpfs", "-o", options, "none", str(folder))
    try:
        yield
    finally:
        privileged("umount", "--lazy", str(folder))


def test_a_full_disk_is_err_storage(boxes: Boxes, host: Host, story: Story) -> None:
    """507 from the processor; nothing half-written stays under a final name."""
    request = boxed("fill")
    with small_disk(boxes, host.artifacts_root):
        envelope = executed(request, host, story)
        outputs = host.artifacts_root / "outputs" / request.execution_id / "outputs"
        assert [path.name for path in outputs.glob("[!.]*")] == []

    assert error(envelope)[0] == "ERR_STORAGE"
    assert envelope["error"]["retryable"] is True


def test_a_port_that_is_taken_is_somebody_elses(boxes: Boxes, host: Host, story: Story) -> None:
    """The engine takes the next free one: a real run is reached whatever listens here."""
    machine = boxes.host(host.artifacts_root.parent, {"FIX_SECRET": SECRET})
    with ExitStack() as taken:
        for port in range(_next_port(boxes), _next_port(boxes) + 8):
            with suppress(OSError):
                taken.enter_context(socket.create_server(("127.0.0.1", port)))

        envelope = executed(boxed("look", mode="real"), machine, story)

    assert envelope["status"] == "success", envelope


def _next_port(boxes: Boxes) -> int:
    """Return the port that the engine would probably take next."""
    container = boxes.engine.docker("run", "--detach", "--publish=127.0.0.1::8000", boxes.base, "sleep", "60")
    try:
        return int(boxes.engine.docker("port", container, "8000/tcp").rpartition(":")[2]) + 1
    finally:
        boxes.engine.docker("rm", "--force", container)


def test_twenty_cold_runs_at_once_all_succeed(boxes: Boxes, host: Host, story: Story) -> None:
    """On networks that none of them finds there: each makes them, and one of each stays."""
    asyncio.run(control.prune(boxes.site(host).engine(), networks=True))

    async def all_of_them() -> list[JsonObject]:
        runs = (execute(boxed("look"), host, story.journal) for _ in range(PARALLEL))
        return await asyncio.gather(*runs)

    envelopes = asyncio.run(all_of_them())

    assert [each["status"] for each in envelopes] == ["success"] * PARALLEL, envelopes
    assert len({each["execution_id"] for each in envelopes}) == PARALLEL
    networks = boxes.engine.docker("network", "ls", "--format", "{{.Name}}").splitlines()
    assert networks.count("processors-mock") == 1


# --- the engine


class Cable:
    """The way to the engine, which can be cut: nobody else's engine is stopped."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "cable"
        self._open: list[socket.socket] = []
        self._serving: list[threading.Thread] = []
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(self.path))
        self._server.listen(64)
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    def cut(self) -> None:
        """End every connection, and take no new one."""
        self.path.unlink(missing_ok=True)
        for each in (self._server, *self._open):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Cut it, and wait for what carried over it: each end closes its own sockets."""
        self.cut()
        self._accepting.join()
        for each in self._serving:
            each.join()
        self._server.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._server.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(near,), daemon=True)
            self._serving.append(thread)
            thread.start()

    def _serve(self, near: socket.socket) -> None:
        with near, socket.socket(socket.AF_UNIX) as far:
            far.connect(SOCKET)
            self._open += [near, far]
            back = threading.Thread(target=self._carry, args=(far, near), daemon=True)
            back.start()
            self._carry(near, far)
            back.join()

    @staticmethod
    def _carry(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)


@pytest.fixture
def cable(tmp_path: Path) -> Iterator[Cable]:
    """Give a way to the engine that a test may cut."""
    made = Cable(tmp_path)
    yield made
    made.close()


@pytest.fixture
def shell(boxes: Boxes, host: Host, cable: Cable) -> Shell:
    """Return a shell whose commands reach the engine by the cable."""
    machine = boxes.host(host.artifacts_root.parent, {"DOCKER_HOST": f"unix://{cable.path}"})
    return shell_on(machine, boxes.processors)


def cut_off(shell: Shell, cable: Cable, boxes: Boxes, host: Host, *, dies: bool) -> tuple[JsonObject, str]:
    """Return the envelope and the story of a run during which the engine goes, with its containers or without."""
    arguments = ("--inputs-json", '{"schema":"v1","params":{"do":"sleep"}}', "--timeout-s", "3", "--json")
    with shell.start("run_processor", *BOX, *arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        told = ""
        while "handler.began" not in told:
            line = process.stderr.readline()
            assert line, told
            told += line
        cable.cut()
        if dies:
            for found in there(host):
                boxes.engine.docker("kill", found.id)
        stdout, rest = process.communicate(timeout=60)
    return json.loads(stdout), told + rest


def pruned(shell: Shell) -> None:
    """Remove, by the engine that is back, what its absence left."""
    back = Shell(shell.processors, {**shell.environ, "DOCKER_HOST": f"unix://{SOCKET}"})
    assert "left behind  fix/box@1" in back.localctl("status").stdout
    assert back.localctl("prune").stdout.count("fix/box@1") >= 1
    assert "left behind" not in back.localctl("status").stdout


def test_an_engine_that_stops_in_a_run_is_err_docker(shell: Shell, cable: Cable, boxes: Boxes, host: Host) -> None:
    """It takes its containers along; the story says that one is left, and `prune` removes it."""
    envelope, told = cut_off(shell, cable, boxes, host, dies=True)

    code, details = error(envelope)
    assert code == "ERR_DOCKER", told
    assert "localctl prune" in details
    assert "adapter.local.left" in told
    pruned(shell)


def test_an_engine_that_stops_without_its_containers_loses_no_answer(
    shell: Shell, cable: Cable, boxes: Boxes, host: Host
) -> None:
    """The processor's own envelope arrives, here that of its deadline."""
    envelope, told = cut_off(shell, cable, boxes, host, dies=False)

    assert error(envelope)[0] == "ERR_TIMEOUT"
    assert envelope["meta"]["pinned"] is True
    assert "adapter.local.left" in told
    pruned(shell)


# --- the caller


@pytest.mark.parametrize("warm", [False, True], ids=["a cold run", "a warm one"])
def test_a_caller_that_is_killed_leaves_what_prune_finds(boxes: Boxes, host: Host, *, warm: bool) -> None:
    """A cold container has lost its owner; a warm one goes on serving others."""
    shell = shell_on(host, boxes.processors)
    if warm:
        shell.localctl("up", *BOX)
    arguments = ("--inputs-json", '{"schema":"v1","params":{"do":"sleep"}}', "--json")
    with shell.start("run_processor", *BOX, *arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        while "handler.began" not in (line := process.stderr.readline()):
            assert line, "it ended"
        process.kill()
    assert [each.left for each in there(host)] == [not warm]

    shell.localctl("prune")

    assert [each.labels.kind for each in there(host)] == (["warm"] if warm else [])
    shell.localctl("down", *BOX)

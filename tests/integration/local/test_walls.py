"""What a container is walled in by, seen from inside."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from apps.core.host import Host
from tests.support.executions import SECRET, Story
from tests.support.local import Boxes, JsonObject, boxed, executed, seen

NOTHING = "0000000000000000"
REAL = {"FIX_SECRET": SECRET}
UID = os.geteuid() or 10001


@pytest.fixture
def inside(boxes: Boxes, host: Host, story: Story) -> JsonObject:
    """Return what a mock container sees; the host has a secret, and variables of all kinds."""
    environ = {**host.environ, **REAL, "OTHER": "x", "OPENAI_API_KEY": "x", "HTTP_PROXY": "http://127.0.0.1:1"}
    machine = boxes.host(host.artifacts_root.parent, environ)
    return seen(machine, executed(boxed("look"), machine, story))


def test_nobody_in_it_is_root_or_becomes_it(inside: JsonObject) -> None:
    """A user of its own, no capability, not even in the bounding set, and no way to get one."""
    assert (inside["uid"], inside["can_become_root"]) == (UID, False)
    assert inside["uid"] != 0
    assert set(inside["capabilities"].values()) == {NOTHING}
    assert inside["no_new_privileges"] == "1"
    assert inside["seccomp"] == "2"


def test_only_its_prefix_and_its_scratch_can_be_written(inside: JsonObject, host: Host) -> None:
    """The root is read-only; scratch runs no programs; of the artifacts there is only this run's folder."""
    assert inside["can_write"] == ["/tmp"]
    assert {"noexec", "nosuid", "nodev"} <= set(inside["tmp"].split(","))
    (folder,) = (host.artifacts_root / "outputs").iterdir()
    assert f"/artifacts/outputs/{folder.name}" in inside["artifacts"]
    assert all(path.startswith(("/artifacts/inputs", "/artifacts/outputs")) for path in inside["artifacts"])


def test_other_runs_are_not_seen(host: Host, story: Story) -> None:
    """What another execution wrote is nobody else's business."""
    first, second = boxed("look"), boxed("look")

    executed(first, host, story)
    found = seen(host, executed(second, host, story))

    assert [path for path in found["artifacts"] if first.execution_id in path] == []


def test_it_gets_what_the_registry_allows(inside: JsonObject) -> None:
    """Memory in GiB, parts of a core, and a number of processes that no runaway exceeds."""
    assert inside["limits"] == {"memory": str(2**28), "pids": "512", "cpu": 0.75}


def test_its_environment_is_built_from_nothing(inside: JsonObject) -> None:
    """What the image has, and what an adapter sets; nothing of the caller's."""
    ours = {name for name in inside["environ"] if name.startswith(("PROCESSOR_", "IMAGE_"))}
    assert ours == {
        "IMAGE_DIGEST",
        "IMAGE_PINNED",
        "PROCESSOR_GRACE_S",
        "PROCESSOR_MODE",
        "PROCESSOR_TOKEN",
        "PROCESSOR_WRITE_ROOTS",
    }
    assert {"OTHER", "OPENAI_API_KEY", "HTTP_PROXY", "FIX_SECRET", "CI"} & set(inside["environ"]) == set()


# --- mock is hermetic


OUTSIDE = "203.0.113.1"  # nobody's: RFC 5737, TEST-NET-3
WATCH = """
import socket, sys
packets = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))  # all protocols
print("watching", flush=True)
while True:
    packet, (interface, *_) = packets.recvfrom(65535)
    for word in sys.argv[1:]:
        if bytes.fromhex(word) in packet:
            print(word, interface, flush=True)
"""


@contextmanager
def watched(boxes: Boxes, *words: bytes) -> Iterator[Callable[[bytes], set[str]]]:
    """Give what says on which interfaces of this machine packets with a word went by; bridges and their ends aside."""
    name = f"watch-{uuid.uuid4().hex}"
    command = ["docker", "run", "--rm", f"--name={name}", "--network=host", "--user=0", boxes.base]
    command += ["python", "-u", "-c", WATCH]
    with subprocess.Popen([*command, *(word.hex() for word in words)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "watching\n"
        told: list[str] = []
        reader = threading.Thread(target=lambda: told.extend(process.stdout or ()))
        reader.start()

        def where(word: bytes) -> set[str]:
            seen = {tuple(line.split()) for line in told}
            return {name for said, name in seen if said == word.hex() and not name.startswith(("br-", "veth"))}

        try:
            yield where
        finally:
            boxes.engine.docker("rm", "--force", name)
            reader.join()


@pytest.mark.parametrize("to", ["an address", "a name"])
def test_nothing_of_a_mock_container_leaves_the_machine(boxes: Boxes, host: Host, story: Story, to: str) -> None:
    """Neither a packet nor a question about a name, which can carry anything out; a real one's does leave."""
    machine = boxes.host(host.artifacts_root.parent, REAL)
    if to == "an address":
        words, wanted = [socket.inet_aton(OUTSIDE)] * 2, [f"{OUTSIDE}:9"] * 2
    else:
        labels = [f"canary-{uuid.uuid4().hex}" for _ in range(2)]
        words, wanted = [each.encode() for each in labels], [f"{each}.example.org" for each in labels]

    with watched(boxes, *words) as where:
        hermetic = seen(machine, executed(boxed("reach", to=wanted[0]), machine, story))
        assert (hermetic["reached"], where(words[0])) == (False, set())

        executed(boxed("reach", to=wanted[1], mode="real"), machine, story)
        assert where(words[1]) != set()


def test_a_mock_container_has_no_secret(inside: JsonObject) -> None:
    """The host has it; neither the handler nor anything else in there does."""
    assert inside["secrets"] == {}
    assert "FIX_SECRET" not in inside["environ"]


# --- real


def test_a_real_container_gets_its_secrets_by_name(boxes: Boxes, host: Host, story: Story) -> None:
    """Declared ones; they reach the handler, and no label, no command line and no line of the story."""
    machine = boxes.host(host.artifacts_root.parent, {**REAL, "OTHER": "x"})

    found = seen(machine, executed(boxed("look", mode="real"), machine, story))

    assert found["secrets"] == {"FIX_SECRET": SECRET}
    assert "FIX_SECRET" in found["environ"]
    assert "OTHER" not in found["environ"]
    assert SECRET.encode() not in b"".join(story.lines)

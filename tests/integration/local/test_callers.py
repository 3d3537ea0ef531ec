"""Whoever calls, and from wherever: the outputs are the caller's, and the container is reached."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from apps.core.adapters.errors import DockerError
from apps.core.host import Host
from tests.support.executions import SECRET, Story, payload
from tests.support.local import Boxes, JsonObject, boxed, executed, seen

SOCKET = Path("/var/run/docker.sock")
SOMEBODY = 12345


# Runs as root first, so that all is imported that the user cannot read, and then as that user
CALLER = """
import asyncio, dataclasses, json, os, sys
sys.path[:0] = json.loads(sys.argv[1])
import django
django.setup()
from pathlib import Path
from tests.support.executions import Story, payload
from apps.core.adapters.local.adapter import LocalAdapter
from apps.core.adapters.local.site import Site
from apps.core.registry import load_registration
folder, artifacts, other, uid, gid = sys.argv[2:]
site = Site(load_registration(Path(folder)), artifacts_root=Path(other), environ=dict(os.environ), start_allowance_s=60)
carrier = LocalAdapter(site, Story().journal)
asyncio.run(carrier.run(payload("fix/box@1", do="look"), timeout_s=30))
if int(uid) != os.geteuid():
    os.setgroups([int(gid)])
    os.setegid(int(uid))
    os.seteuid(int(uid))
carrier = dataclasses.replace(carrier, site=dataclasses.replace(site, artifacts_root=Path(artifacts)))
print(json.dumps(asyncio.run(carrier.run(payload("fix/box@1", do="look"), timeout_s=30))))
"""


@pytest.fixture
def uid() -> int:
    """Return a user who is not root: the tests' own, or somebody."""
    return os.geteuid() or SOMEBODY


@pytest.fixture
def home(uid: int) -> Iterator[Path]:
    """Give a folder that belongs to that user."""
    folder = Path(tempfile.mkdtemp())
    os.chown(folder, uid, -1)
    yield folder
    shutil.rmtree(folder)


def test_the_outputs_of_a_user_belong_to_that_user(boxes: Boxes, home: Path, tmp_path: Path, uid: int) -> None:
    """The container runs as the caller: nobody needs root to read, change or remove what came of it."""
    arguments = [str(boxes.processors / "fix_box"), str(home / "artifacts"), str(tmp_path / "other"), str(uid)]
    done = subprocess.run(
        [sys.executable, "-c", CALLER, json.dumps(sys.path), *arguments, str(SOCKET.stat().st_gid)],
        env=boxes.host(tmp_path, {"DJANGO_SETTINGS_MODULE": "backend.settings.unittest"}).environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    envelope = json.loads(done.stdout)

    folder = home / "artifacts" / "outputs" / envelope["execution_id"]
    inside = json.loads((folder / "outputs" / "data.json").read_bytes())
    assert inside["uid"] == uid
    assert set(inside["capabilities"].values()) == {"0000000000000000"}
    assert {path.stat().st_uid for path in (home / "artifacts", folder, *folder.rglob("*"))} == {uid}


@pytest.mark.skipif(os.geteuid() != 0, reason="this caller is not root: the test above is about it")
def test_the_outputs_of_root_belong_to_no_root(host: Host, story: Story) -> None:
    """A container never runs as root; root reads all that it wrote, and so does everybody else."""
    request = boxed("look")

    inside = seen(host, executed(request, host, story))

    folder = host.artifacts_root / "outputs" / request.execution_id
    assert {path.stat().st_uid for path in (folder, *folder.rglob("*"))} == {10001}
    assert inside["uid"] == 10001
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert all(path.stat().st_mode & stat.S_IROTH for path in files)


# --- a caller that is a container itself


@pytest.fixture
def network(boxes: Boxes) -> Iterator[str]:
    """Give a network without a way out, as a caller in a container has it."""
    name = f"shared-{uuid.uuid4().hex[:8]}"
    boxes.engine.docker("network", "create", "--internal", name)
    yield name
    boxes.engine.docker("network", "rm", name)


def told(boxes: Boxes, host: Host, story: Story, mode: str) -> JsonObject:
    """Return what the engine says of the container of a run in *mode*, and fail unless that is a success."""

    async def both() -> JsonObject:
        machine = boxes.host(host.artifacts_root.parent, {"FIX_SECRET": SECRET})
        carrier = boxes.adapter(machine, story, network=host.network)
        async with carrier._carrier(payload("fix/box@1", do="look") | {"mode": mode}) as inner:
            (found,) = [record["container"] for record in story.events("adapter.local.start")]
            inspected: JsonObject = json.loads(boxes.engine.docker("inspect", found))[0]
            envelope = await inner.run(payload("fix/box@1", do="look") | {"mode": mode}, timeout_s=30)
        assert envelope["error"]["code"] if envelope["status"] == "error" else "success"
        return inspected

    return asyncio.run(both())


def test_mock_shares_the_callers_network_and_has_no_other(boxes: Boxes, host: Host, story: Story, network: str) -> None:
    """It is reached at its own address there."""
    machine = replace(host, network=network)

    inside = seen(machine, executed(boxed("look"), machine, story))
    inspected = told(boxes, machine, Story(), "mock")

    assert inside["uid"]
    assert list(inspected["NetworkSettings"]["Networks"]) == [network]


def test_real_has_a_way_out_beside_the_callers_network(boxes: Boxes, host: Host, story: Story, network: str) -> None:
    """No port is published: nobody else has to reach it."""
    inspected = told(boxes, replace(host, network=network), story, "real")

    assert set(inspected["NetworkSettings"]["Networks"]) == {network, "processors-real"}
    assert not any((inspected["NetworkSettings"]["Ports"] or {}).values())


@pytest.mark.parametrize(
    ("name", "words"),
    [
        pytest.param("bridge", "docker network create --internal", id="a way out"),
        pytest.param("nobody-has-this", "there is no network nobody-has-this", id="no such network"),
    ],
)
def test_a_network_that_mock_must_not_have_is_refused(
    boxes: Boxes, host: Host, story: Story, name: str, words: str
) -> None:
    """By the name of the setting, with what to do."""
    carrier = boxes.adapter(host, story, network=name)

    with pytest.raises(DockerError) as refused:
        asyncio.run(carrier.run(payload("fix/box@1", do="look"), timeout_s=30))

    (detail,) = refused.value.details
    assert detail["path"] == "LOCAL_ADAPTER_NETWORK"
    assert words in detail["message"]

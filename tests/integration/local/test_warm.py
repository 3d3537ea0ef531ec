"""A warm container serves the runs of its image, mode and folder, and no others."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import httpx2
import pytest

from apps.core.adapters.errors import HealthError
from apps.core.adapters.local import control
from apps.core.adapters.local.control import Found
from apps.core.adapters.local.folders import User
from apps.core.adapters.local.image import host_platform
from apps.core.host import Host
from tests.support.executions import SECRET, Story, payload
from tests.support.local import Boxes, JsonObject, began, boxed, executed, pin, place, seen, silent, there

REAL = {"FIX_SECRET": SECRET}


@contextmanager
def warm(boxes: Boxes, host: Host, mode: str = "mock", ref: str = "fix/box@1") -> Iterator[Found]:
    """Give a warm container on *host*; it is taken down afterwards."""
    site = boxes.site(host, ref)
    try:
        yield asyncio.run(control.up(site, mode, silent()))
    finally:
        asyncio.run(control.down(site.engine(), there(host), silent()))


def warmly(story: Story) -> list[str]:
    """Return the names of the warm containers that runs joined."""
    return [record["container"] for record in story.events("adapter.local.warm")]


def test_runs_use_the_warm_container_and_leave_it(boxes: Boxes, host: Host, story: Story) -> None:
    """Two runs, one container, nothing started; each has its own envelope and its own lines."""
    with warm(boxes, host) as container:
        first, second = (executed(boxed("look"), host, story) for _ in range(2))
        seen(host, first)
        seen(host, second)

        assert warmly(story) == [container.name] * 2
        assert not story.events("adapter.local.start")
        assert [each.id for each in there(host)] == [container.id]
    settled = [record["execution_id"] for record in story.events("http.run.settle")]
    assert settled == [first["execution_id"], second["execution_id"]]
    assert first["meta"]["image_digest"] == container.labels.digest


def test_a_warm_container_is_walled_in_as_a_cold_one(boxes: Boxes, host: Host, story: Story) -> None:
    """But sees the tree, of which the inputs are read-only."""
    earlier = boxed("look")
    executed(earlier, host, story)
    with warm(boxes, host):
        inside = seen(host, executed(boxed("look"), host, story))

    assert set(inside["capabilities"].values()) == {"0000000000000000"}
    assert inside["can_write"] == ["/tmp"]
    assert any(earlier.execution_id in path for path in inside["artifacts"])


@pytest.mark.parametrize("other", ["mode", "folder", "image"])
def test_a_run_of_another_kind_does_not_meet_it(boxes: Boxes, host: Host, story: Story, other: str) -> None:
    """Another mode, another artifacts folder, or another image: a container of its own."""
    parent = host.artifacts_root.parent
    request, machine = boxed("look"), boxes.host(parent, REAL)
    if other == "mode":
        request = boxed("look", mode="real")
    elif other == "folder":
        machine = boxes.host(parent / "elsewhere")
    else:
        folder = place("fix_box", parent / "changed")
        (folder / "app" / "more.py").write_text('"""Another image."""\n', encoding="utf-8")
        boxes.publish(folder)
        machine = boxes.host(parent, processors=folder.parent)

    with warm(boxes, host):
        envelope = executed(request, machine, story)

    assert envelope["status"] == "success", envelope
    assert (warmly(story), len(story.events("adapter.local.start"))) == ([], 1)


def test_a_new_pin_takes_the_place_of_the_old_container(boxes: Boxes, host: Host) -> None:
    """`up` after `pin`: the one with the old image is of no use to anybody."""
    folder = place("fix_box", host.artifacts_root.parent / "changed")
    pin(folder, str(boxes.site(host).registration.platforms[host_platform()]))
    machine = boxes.host(host.artifacts_root.parent, processors=folder.parent)
    with warm(boxes, machine) as old:
        (folder / "app" / "more.py").write_text('"""Another image."""\n', encoding="utf-8")
        digest = boxes.publish(folder)

        new = asyncio.run(control.up(boxes.site(machine), "mock", silent()))

        assert (new.labels.digest, [each.id for each in there(machine)]) == (digest, [new.id])
        assert new.id != old.id


def test_up_again_changes_nothing(boxes: Boxes, host: Host) -> None:
    """The one that is there, if it is healthy."""
    with warm(boxes, host) as container:
        again = asyncio.run(control.up(boxes.site(host), "mock", silent()))

        assert again == container


def test_two_at_once_leave_one(boxes: Boxes, host: Host) -> None:
    """Whoever is slower finds the other's, and removes its own."""

    async def both() -> list[Found]:
        return list(await asyncio.gather(*(control.up(boxes.site(host), "mock", silent()) for _ in range(2))))

    try:
        first, second = asyncio.run(both())
        assert first.id == second.id
        assert [each.id for each in there(host)] == [first.id]
    finally:
        asyncio.run(control.down(boxes.site(host).engine(), there(host), silent()))


def test_one_that_has_ended_is_started_anew(boxes: Boxes, host: Host, story: Story) -> None:
    """A run does without it; `up` replaces it."""
    with warm(boxes, host) as container:
        boxes.engine.docker("kill", container.id)

        assert executed(boxed("look"), host, story)["status"] == "success"
        assert warmly(story) == []
        assert asyncio.run(control.up(boxes.site(host), "mock", silent())).id != container.id


def test_one_that_does_not_come_up_is_not_left(boxes: Boxes, host: Host) -> None:
    """The reason is told, and nothing stays: the fixture looks."""
    machine = boxes.host(host.artifacts_root.parent, {**REAL, "FIX_SETUP": "fail"})

    with pytest.raises(HealthError):
        asyncio.run(control.up(boxes.site(machine), "real", silent()))


def test_a_real_one_has_the_secrets_of_who_started_it(boxes: Boxes, host: Host, story: Story) -> None:
    """It serves real runs alone."""
    machine = boxes.host(host.artifacts_root.parent, REAL)
    with warm(boxes, machine, "real") as container:
        inside = seen(machine, executed(boxed("look", mode="real"), machine, story))

        assert inside["secrets"] == REAL
        assert warmly(story) == [container.name]
        assert container.url.startswith("http://127.0.0.1:")


@asynccontextmanager
async def running(boxes: Boxes, host: Host, story: Story, **changes: object) -> AsyncIterator[asyncio.Task[JsonObject]]:
    """Give a run that holds the one slot of a warm container."""
    body = payload("fix/box@1", do="sleep") | changes
    task = asyncio.ensure_future(boxes.adapter(host, story).run(body, timeout_s=60))
    await began(story)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait([task])


def test_a_busy_one_answers_by_the_contract(boxes: Boxes, host: Host, story: Story) -> None:
    """Whoever waits longer than it may is told so by the processor: `ERR_BUSY`, retryable."""

    async def crowded() -> JsonObject:
        async with running(boxes, host, story):
            body = payload("fix/box@1", do="look") | {"timeout_s": 1}
            return await boxes.adapter(host, Story()).run(body, timeout_s=1)

    with warm(boxes, host):
        envelope = asyncio.run(crowded())

    assert (envelope["error"]["code"], envelope["error"]["retryable"]) == ("ERR_BUSY", True)


def test_a_run_that_is_cancelled_frees_its_slot(boxes: Boxes, host: Host, story: Story) -> None:
    """It is cancelled in the container too, which serves the next one; its receipt says so."""
    body = payload("fix/box@1", do="sleep")

    async def cancelled() -> None:
        task = asyncio.ensure_future(boxes.adapter(host, story).run(body, timeout_s=60))
        await began(story)
        task.cancel()
        await asyncio.wait([task])

    with warm(boxes, host):
        asyncio.run(cancelled())
        receipt = json.loads((host.artifacts_root / "outputs" / body["execution_id"] / "receipt.json").read_bytes())

        assert receipt["envelope"]["error"]["code"] == "ERR_CANCELLED"


def test_what_others_run_there_is_not_told_here(boxes: Boxes, host: Host, story: Story) -> None:
    """Of a container that is shared, each caller hears its own execution."""
    other = Story()

    async def both() -> None:
        async with running(boxes, host, other):
            await boxes.adapter(host, story).run(payload("fix/box@1", do="look") | {"timeout_s": 1}, timeout_s=1)

    with warm(boxes, host):
        asyncio.run(both())

    (began_there,) = other.events("handler.began")
    assert began_there["execution_id"] not in b"".join(story.lines).decode()


def test_many_runs_over_one_connection(boxes: Boxes, host: Host, story: Story) -> None:
    """For whoever runs many: the engine is asked once, and the connection is kept."""

    async def many() -> list[JsonObject]:
        async with boxes.adapter(host, story).joined("mock") as adapter:
            return [await adapter.run(payload("fix/box@1", do="look"), timeout_s=30) for _ in range(3)]

    with warm(boxes, host) as container:
        envelopes = asyncio.run(many())

        assert [each["status"] for each in envelopes] == ["success"] * 3
        assert warmly(story) == [container.name]


def test_a_link_out_of_the_tree_is_refused_by_whoever_would_follow_it(
    boxes: Boxes, host: Host, story: Story, tmp_path: Path
) -> None:
    """Its target is the container's own user's to write in, so nobody makes the folder for it; the service does not."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    os.chown(elsewhere, User.here().uid, User.here().gid)
    asked = {**payload("fix/box@1", do="look"), "write_prefix": "/artifacts/outputs/out/{execution_id}/"}

    async def once() -> JsonObject:
        async with boxes.adapter(host, story).joined("mock") as adapter:
            return await adapter.run(asked, timeout_s=30)

    with warm(boxes, host):
        (host.artifacts_root / "outputs" / "out").symlink_to(elsewhere)
        envelope = asyncio.run(once())

    assert envelope["error"]["code"] == "ERR_WRITE_PREFIX"
    assert list(elsewhere.iterdir()) == []


def test_without_a_warm_container_there_is_no_connection_to_keep(boxes: Boxes, host: Host, story: Story) -> None:
    """It says how to get one."""

    async def none() -> None:
        async with boxes.adapter(host, story).joined("mock"):
            raise AssertionError("there is none")

    with pytest.raises(HealthError) as refused:
        asyncio.run(none())

    assert "localctl up --ref fix/box@1 --mode mock" in refused.value.details[0]["message"]


def test_its_token_is_needed(boxes: Boxes, host: Host) -> None:
    """`/healthz` is open to all, and nothing else is."""
    with warm(boxes, host) as container:
        assert httpx2.get(f"{container.url}/healthz", trust_env=False).json() == {"ok": True}
        assert httpx2.get(f"{container.url}/contract", trust_env=False).status_code == 401

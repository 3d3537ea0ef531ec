"""What `localctl` does: warm containers up and down, what there is, what was left behind, and the loop for authors."""

import asyncio
import contextlib
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, Self

from apps.core.adapters.errors import DockerError
from apps.core.adapters.journal import Journal
from apps.core.adapters.lines import Lines
from apps.core.adapters.signature import check
from processor_runtime.errors import Detail

from . import folders, warm
from .container import STOP_S, Plan
from .engine import CONFLICT, Engine, EngineRefusedError
from .folders import User
from .labels import LOCAL, Labels
from .logs import copy
from .network import PORT, Network, network
from .owner import Owner
from .running import healthy, removed, started, stopped, unique_name
from .site import Site

_ENDED: Final = frozenset({"exited", "dead"})
_UNSTARTED_S: Final = 60.0  # a container that was made is started at once, or never


@dataclass(frozen=True, slots=True)
class Found:
    """One container of ours, as the engine lists it.

    Attributes:
        id: What the engine calls it.
        name: What people call it.
        state: ``running``, ``exited`` and so on.
        labels: What it says about itself.
        url: Where it answers; ``""`` where it does not.
        left: Whether nobody will ever use or remove it.
    """

    id: str
    name: str
    state: str
    labels: Labels
    url: str
    left: bool

    @classmethod
    def parse(cls, row: dict[str, Any]) -> Self:
        """Return what a *row* of `GET /containers/json` says."""
        labels = Labels.read(row["Labels"])
        return cls(
            id=row["Id"],
            name=row["Names"][0].removeprefix("/"),
            state=row["State"],
            labels=labels,
            url=_url(row) if row["State"] == "running" else "",
            left=_left(labels.owner, row["State"], time.time() - row["Created"]),
        )

    def shown(self) -> dict[str, object]:
        """Return it as `--json` shows it."""
        labels = self.labels
        return {
            "name": self.name,
            "id": self.id,
            "kind": labels.kind,
            "ref": labels.ref,
            "mode": labels.mode,
            "image_digest": labels.digest,
            "state": self.state,
            "url": self.url,
            "artifacts": labels.artifacts,
            "execution_id": labels.execution_id,
            "left": self.left,
        }


async def containers(engine: Engine) -> list[Found]:
    """Return every container of ours, warm ones first.

    Raises:
        DockerError: the engine refused or failed.
    """
    rows = await engine.ask("GET", "/containers/json", all=True, filters={"label": [LOCAL]})
    found = [Found.parse(row) for row in rows]
    return sorted(found, key=lambda each: (each.labels.kind != "warm", each.labels.ref, each.labels.mode, each.name))


async def up(site: Site, mode: str, journal: Journal, owner: Owner | None = None) -> Found:
    """Return the warm container of *site* that serves *mode*, healthy; started if there is none.

    It takes the place of those that serve the same with another image.

    Args:
        site: The processor.
        mode: ``mock`` or ``real``.
        journal: Told of each step.
        owner: The process without which it is of no use; ``None`` where it stays until `down`.

    Raises:
        SignatureError: the policy does not accept the image; nothing was built, fetched or started.
        ProcessorError: as `LocalAdapter.run`, whatever comes before a run.
    """
    engine = site.engine()
    await check(site.pin, site.registration.ref, site.environ, journal)
    image = await site.image(engine, journal)
    labels = site.warm_labels(image, mode, owner)
    reached = await network(engine, mode, site.network)
    seen = await warm.find(engine, labels, image.id)
    if seen is None:
        with contextlib.suppress(_TakenError):  # another caller was faster: that one's is as good
            await _start(site, engine, site.plan(image, labels, reached, _mounts(site)), journal)
        seen = await warm.find(engine, labels, image.id)
        if seen is None:
            raise DockerError(Detail(path=warm.name(labels), message="was taken down meanwhile"))
    else:
        await _look(site, engine, seen, reached, journal)
    journal.event("adapter.local.healthy")
    there = await containers(engine)
    await down(engine, [each for each in there if _replaced(each.labels, labels)], journal)
    return next(each for each in there if each.id == seen["Id"])


def _mounts(site: Site) -> list[folders.Mount]:
    return folders.tree(site.artifacts_root, User.here())


async def _start(site: Site, engine: Engine, plan: Plan, journal: Journal) -> None:
    """Start a new warm container. It has the name by which it is found when it is healthy, and not before.

    Raises:
        _TakenError: another one has the name by then.
    """
    name = unique_name(plan.labels)
    journal.event("adapter.local.start", image_digest=plan.labels.digest, container=name)
    async with started(engine, plan, name, journal.hiding(plan.token), keep=True) as container:
        from apps.core.adapters import http  # noqa: PLC0415  # imported while the container starts

        async with http.tcp_client(container.url, container.token) as client:
            await healthy(container, client, site.start_allowance_s)
        await _name(engine, container.id, plan)


async def _name(engine: Engine, container_id: str, plan: Plan) -> None:
    """Give a container the name by which it is found; one that has ended gives it up.

    Raises:
        _TakenError: another one has it, and runs.
    """
    name = warm.name(plan.labels)
    try:
        await engine.ask("POST", f"/containers/{container_id}/rename", name=name)
    except EngineRefusedError as exc:
        if exc.engine_status != CONFLICT:
            raise
        if await warm.find(engine, plan.labels, plan.image.id) is not None:
            raise _TakenError from exc
        await removed(engine, name)
        await engine.ask("POST", f"/containers/{container_id}/rename", name=name)


async def _look(site: Site, engine: Engine, seen: dict[str, Any], reached: Network, journal: Journal) -> None:
    """Return when the warm container that was *seen* is healthy."""
    from apps.core.adapters import http  # noqa: PLC0415  # as in `_start`

    async with (
        warm.joined(engine, seen, reached, journal) as (container, _),
        http.tcp_client(container.url, container.token) as client,
    ):
        await healthy(container, client, site.start_allowance_s)


class _TakenError(DockerError):
    """Another warm container has the name."""


def _replaced(old: Labels, new: Labels) -> bool:
    """Whether a container with the labels *old* has no use any more beside one with *new*."""
    same = (old.kind, old.ref, old.mode, old.artifacts, old.user, old.network)
    return same == (new.kind, new.ref, new.mode, new.artifacts, new.user, new.network) and old.digest != new.digest


async def down(engine: Engine, found: Iterable[Found], journal: Journal) -> None:
    """Stop and remove what was *found*, all at once; runs in flight have some seconds.

    Raises:
        DockerError: the engine refused or failed.
    """
    for each in found:
        journal.event("adapter.local.stop", container=each.name)
    await asyncio.gather(*(stopped(engine, each.id, STOP_S[each.labels.kind]) for each in found))


async def prune(engine: Engine, *, networks: bool) -> list[Found]:
    """Remove what was left behind, and return it; with *networks* our unused networks too.

    Raises:
        DockerError: the engine refused or failed.
    """
    left = [each for each in await containers(engine) if each.left]
    await asyncio.gather(*(removed(engine, each.id) for each in left))
    if networks:
        for row in await engine.ask("GET", "/networks", filters={"label": [f"{LOCAL}=network"]}):
            try:
                await engine.ask("DELETE", f"/networks/{row['Id']}")
            except EngineRefusedError as exc:
                if "active endpoints" not in exc.reason:
                    raise
    return left


async def logs(engine: Engine, found: Found, journal: Journal, *, follow: bool, tail: int | None) -> None:
    """Tell *journal* what a container wrote so far, and with *follow* what it writes until it ends.

    Raises:
        DockerError: the engine refused or failed.
    """
    query = {"stdout": True, "stderr": True, "follow": follow, "tail": "all" if tail is None else str(tail)}
    async with engine.stream("GET", f"/containers/{found.id}/logs", **query) as reader:
        await copy(reader, Lines(journal))


def _url(row: dict[str, Any]) -> str:
    for port in row["Ports"]:
        if port["PrivatePort"] == PORT and port.get("PublicPort"):
            return f"http://{port['IP']}:{port['PublicPort']}"
    addresses = (each["IPAddress"] for each in row["NetworkSettings"]["Networks"].values())
    address = next(filter(None, addresses), "")
    return f"http://{address}:{PORT}" if address else ""


def _left(owner: Owner | None, state: str, age_s: float) -> bool:
    gone = owner.gone if owner else None
    if gone is not None:
        return gone
    # whose owner is none, or on another machine: it is of no use when it does not run
    return state in _ENDED or (state == "created" and age_s > _UNSTARTED_S)

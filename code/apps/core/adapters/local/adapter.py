"""A processor's image in Docker on this machine: a container for one run, or a warm one that is there already."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

from apps.core.adapters.base import Adapter, Event, Payload
from apps.core.adapters.drift import DriftChecked
from apps.core.adapters.errors import HealthError
from apps.core.adapters.journal import Journal
from processor_runtime.envelopes import Envelope
from processor_runtime.errors import Detail

from . import warm
from .carrier import Carrier
from .engine import Engine
from .folders import Mount, User, expanded, inputs, prefix_folder
from .image import Image
from .labels import Labels
from .network import Network, network
from .owner import Owner
from .running import healthy, started, unique_name
from .site import Site


@dataclass(frozen=True, slots=True)
class LocalAdapter:
    """Runs one processor's image, one container a run, or in the warm container of the same image, mode and folder.

    Attributes:
        site: The processor, and where its containers run.
        journal: Told of each step, and of each line that the container writes.
    """

    site: Site
    journal: Journal

    async def run(self, payload: Payload, *, timeout_s: float) -> Envelope:
        """Return the envelope of one run.

        Raises:
            WritePrefixError: the prefix is not below `/artifacts`.
            ImageUnpinnedError: the registry has no digest for this platform.
            ImageNotFoundError: the pinned image is nowhere.
            ImagePullError: its image registry refused or was not reachable.
            DigestDriftError: it is not the expected image, or it says that it is another one.
            StorageError: the folder of the run cannot be made.
            HealthError: the container died, failed its set-up or was not healthy in time; the details hold the last
                2 KiB of its stderr.
            CrashedError: the container died before it answered; the details say how.
            DeadlineError: no answer in time.
            BadResponseError: an answer that is not this execution's envelope.
            NetworkError: the connection was lost, and the container lives.
            DockerError: the engine refused or failed.
        """
        async with self._carrier(payload) as carrier:
            return await carrier.run(payload, timeout_s=timeout_s)

    async def stream(self, payload: Payload, *, timeout_s: float) -> AsyncGenerator[Event, None]:
        """Yield what one run tells, ``done`` last.

        Raises:
            ProcessorError: as `run`.
        """
        async with self._carrier(payload) as carrier, aclosing(carrier.stream(payload, timeout_s=timeout_s)) as events:
            async for event in events:
                yield event

    @asynccontextmanager
    async def joined(self, mode: str) -> AsyncIterator[Adapter]:
        """Give the warm container that serves *mode* as an adapter that keeps its connections: for whoever runs many.

        Raises:
            HealthError: there is none; the detail says how to get one.
            ProcessorError: as `run`, whatever comes before a run.
        """
        place = await self._place(mode)
        seen = await place.warm()
        if seen is None:
            rule = f"there is no warm container: localctl up --ref {self.site.registration.ref} --mode {mode}"
            raise HealthError(Detail(path="container", message=rule))
        async with self._warm(place, seen) as carrier:
            yield carrier

    @asynccontextmanager
    async def _carrier(self, payload: Payload) -> AsyncIterator[Adapter]:
        """Give what carries *payload* to its container."""
        expanded(payload, self.site.roots)  # refused before anything starts
        place = await self._place(payload["mode"])
        seen = await place.warm()
        async with self._cold(place, payload) if seen is None else self._warm(place, seen) as carrier:
            yield carrier

    async def _place(self, mode: str) -> "_Place":
        engine = self.site.engine()
        image = await self.site.image(engine, self.journal)
        return _Place(engine, image, await network(engine, mode, self.site.network), self.site.warm_labels(image, mode))

    @asynccontextmanager
    async def _cold(self, place: "_Place", payload: Payload) -> AsyncIterator[Adapter]:
        own = {"kind": "cold", "execution_id": payload["execution_id"], "owner": Owner.here()}
        labels = replace(place.labels, **own)
        name = unique_name(labels)
        prefix = expanded(payload, self.site.roots)
        with prefix_folder(prefix, self.site.roots, User.here()) as folder:
            mounts = [Mount(str(folder), prefix.rstrip("/")), *inputs(self.site.artifacts_root)]
            plan = self.site.plan(place.image, labels, place.network, mounts)
            journal = self.journal.hiding(plan.token)
            journal.event("adapter.local.start", image_digest=labels.digest, container=name)
            async with started(place.engine, plan, name, journal) as container:
                from apps.core.adapters import http  # noqa: PLC0415  # imported while the container starts

                async with http.tcp_client(container.url, container.token) as client:
                    await healthy(container, client, self.site.start_allowance_s)
                    journal.event("adapter.local.healthy")
                    yield DriftChecked(Carrier(container, client), place.image.digest)

    @asynccontextmanager
    async def _warm(self, place: "_Place", seen: dict[str, Any]) -> AsyncIterator[Adapter]:
        from apps.core.adapters import http  # noqa: PLC0415  # as in `_cold`

        name = warm.name(place.labels)
        self.journal.event("adapter.local.warm", image_digest=place.labels.digest, container=name)
        async with (
            warm.joined(place.engine, seen, place.network, self.journal) as (container, lines),
            http.tcp_client(container.url, container.token) as client,
        ):
            await healthy(container, client, self.site.start_allowance_s)
            inner = DriftChecked(Carrier(container, client), place.image.digest)
            yield warm.WarmRuns(inner, client, lines, self.site.roots)


@dataclass(frozen=True, slots=True)
class _Place:
    """What is known before there is a container: where it runs, from what, on which network, for whom."""

    engine: Engine
    image: Image
    network: Network
    labels: Labels

    async def warm(self) -> dict[str, Any] | None:
        return await warm.find(self.engine, self.labels, self.image.id)

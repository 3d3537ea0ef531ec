"""A processor's image in Docker on this machine: a container for one run, or a warm one that is there already."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, replace

from apps.core.adapters.base import Adapter, Event, Payload
from apps.core.adapters.drift import DriftChecked
from apps.core.adapters.journal import Journal
from processor_runtime.envelopes import Envelope
from processor_runtime.prefix import ARTIFACTS, INPUTS, Roots, expand

from . import folders, warm
from .carrier import Carrier
from .engine import Engine
from .folders import Mount, User
from .image import Image
from .network import Network, network
from .owner import Owner
from .running import cold_name, healthy, started
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
    async def _carrier(self, payload: Payload) -> AsyncIterator[Adapter]:
        """Give what carries *payload* to its container."""
        roots = Roots.of(ARTIFACTS, INPUTS, str(self.site.artifacts_root))
        prefix = expand(payload["write_prefix"], payload["execution_id"])
        roots.check_write(prefix)
        engine, mode = self.site.engine(), payload["mode"]
        image = await self.site.image(engine, self.journal)
        reached = await network(engine, mode, self.site.network)
        with folders.prefix_folder(prefix, roots, User.here()) as folder:
            seen = await warm.find(engine, self.site.warm_labels(image, mode), image.id)
            if seen is not None:
                async with self._warm(engine, seen, reached, image) as carrier:
                    yield carrier
            else:
                mount = Mount(str(folder), prefix.rstrip("/"))
                async with self._cold(engine, payload, reached, image, mount) as carrier:
                    yield carrier

    @asynccontextmanager
    async def _cold(
        self, engine: Engine, payload: Payload, reached: Network, image: Image, mount: Mount
    ) -> AsyncIterator[Adapter]:
        labels = replace(
            self.site.warm_labels(image, payload["mode"]),
            kind="cold",
            execution_id=payload["execution_id"],
            owner=Owner.here(),
        )
        plan = self.site.plan(image, labels, reached, [mount, *folders.inputs(self.site.artifacts_root)])
        journal = self.journal.hiding(plan.token)
        name = cold_name(labels)
        journal.event("adapter.local.start", image_digest=str(image.digest), container=name)
        async with started(engine, plan, name, journal) as container:
            from apps.core.adapters import http  # noqa: PLC0415  # imported while the container starts

            async with http.tcp_client(container.url, container.token) as client:
                await healthy(container, client, self.site.start_allowance_s)
                journal.event("adapter.local.healthy")
                yield DriftChecked(Carrier(container, client), image.digest)

    @asynccontextmanager
    async def _warm(
        self, engine: Engine, seen: dict[str, object], reached: Network, image: Image
    ) -> AsyncIterator[Adapter]:
        from apps.core.adapters import http  # noqa: PLC0415  # as in `_cold`

        self.journal.event("adapter.local.warm", image_digest=str(image.digest), container=seen["Name"])
        async with (
            warm.joined(engine, seen, reached, self.journal) as (container, lines),
            http.tcp_client(container.url, container.token) as client,
        ):
            await healthy(container, client, self.site.start_allowance_s)
            yield warm.WarmRuns(DriftChecked(Carrier(container, client), image.digest), client, lines)

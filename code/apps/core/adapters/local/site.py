"""One processor on this machine: what all of its containers have in common, cold or warm."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from apps.core.adapters.drift import refuse_drift
from apps.core.adapters.journal import Journal
from apps.core.registry import ImageReference, Registration
from processor_runtime.prefix import ARTIFACTS, INPUTS, Roots
from processor_runtime.values import Digest

from . import image
from .address import engine_address
from .container import Plan
from .engine import Engine
from .folders import Mount, User
from .image import Image
from .labels import Labels
from .network import Network
from .owner import Owner


@dataclass(frozen=True, slots=True)
class Site:
    """Where and how the containers of one processor run.

    Attributes:
        registration: The processor.
        artifacts_root: What `/artifacts` is on this machine.
        environ: The caller's environment: secrets, `CI` and the engine's address are taken from it.
        start_allowance_s: How long a container may take to become healthy, its set-up included.
        network: The network on which this caller, itself a container, reaches others; ``""`` on a plain host.
        platform: Which pin to use; ``None`` for this machine's, or else the registry's default.
        build: Run what is built from the source here, and is not pinned.
        expected: The only image that may run; ``None`` for whichever the registry pins.
    """

    registration: Registration
    artifacts_root: Path
    environ: Mapping[str, str] = field(repr=False)
    start_allowance_s: float
    network: str = ""
    platform: str | None = None
    build: bool = False
    expected: Digest | None = None

    @property
    def roots(self) -> Roots:
        """Where a container may write: what is carried to it is `/artifacts` alone."""
        return Roots.of(ARTIFACTS, INPUTS, str(self.artifacts_root))

    def engine(self) -> Engine:
        """Return the engine of this machine.

        Raises:
            DockerError: the environment names one that cannot be used.
        """
        return Engine(engine_address(self.environ))

    @property
    def pin(self) -> ImageReference | None:
        """The pinned image to run; ``None`` where that is what is built here.

        Raises:
            ImageUnpinnedError: there is none.
        """
        return None if self.build else image.pin(self.registration, self.platform)[1]

    async def image(self, engine: Engine, journal: Journal) -> Image:
        """Return the image to run.

        Raises:
            ProcessorError: as `image.pinned` and `image.built`.
            DigestDriftError: it is not the expected one.
        """
        if self.build:
            found = await image.built(self.registration, self.platform, self.environ, journal)
        else:
            name, reference = image.pin(self.registration, self.platform)
            found = await image.pinned(engine, name, reference, self.environ, journal)
        if self.expected is not None:
            refuse_drift(found.digest, self.expected, "image")
        return found

    def warm_labels(self, made_from: Image, mode: str, owner: Owner | None = None) -> Labels:
        """Return what a warm container of this site says about itself."""
        return Labels(
            kind="warm",
            ref=str(self.registration.ref),
            mode=mode,
            digest=str(made_from.digest),
            artifacts=str(self.artifacts_root),
            user=str(User.here()),
            network=self.network,
            owner=owner,
        )

    def plan(self, made_from: Image, labels: Labels, network: Network, mounts: list[Mount]) -> Plan:
        """Return a container of this site, with a token of its own."""
        return Plan(
            registration=self.registration,
            image=made_from,
            labels=labels,
            network=network,
            mounts=tuple(mounts),
            token=secrets.token_urlsafe(32),
            environ=self.environ,
        )

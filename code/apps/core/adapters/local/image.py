"""Which image runs: the pinned one, by its digest, brought here if need be; and the engine's word for which it is."""

import asyncio
import platform as machine
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from apps.core.adapters.errors import (
    DigestDriftError,
    DockerError,
    ImageNotFoundError,
    ImagePullError,
    ImageUnpinnedError,
)
from apps.core.adapters.journal import Journal
from apps.core.images.client import docker
from apps.core.registry import ImageReference, Registration
from processor_runtime.errors import Detail
from processor_runtime.values import Digest, DigestError

from .engine import NOT_FOUND, Engine, EngineRefusedError

PULL_S: Final = 3600.0  # gigabytes over a slow line
_ARCHITECTURES: Final = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
_UNKNOWN_THERE: Final = ("not found", "manifest unknown", "name unknown")


@dataclass(frozen=True, slots=True)
class Image:
    """One image on the engine.

    Attributes:
        id: What the engine calls it; a container is made from this, never from a name.
        digest: Which image it is, as its envelopes must say.
        pinned: Whether the registry pins it.
    """

    id: str
    digest: Digest
    pinned: bool


def host_platform() -> str:
    """Return this machine's platform as a registry calls it: ``amd64`` or ``arm64``; else what the kernel calls it."""
    name = machine.machine().lower()
    return _ARCHITECTURES.get(name, name)


def pin(registration: Registration, wanted: str | None) -> tuple[str, ImageReference]:
    """Return the pinned image to run, and its platform.

    Args:
        registration: The processor.
        wanted: The platform that was asked for; ``None`` for this machine's, or else the registry's default.

    Raises:
        ImageUnpinnedError: there is none; the detail says what to do.
    """
    pins = registration.platforms
    choices = [wanted] if wanted else [host_platform(), registration.default_platform]
    for name in choices:
        if name in pins:
            return name, pins[name]
    rule = f"no digest for {choices[0]}"
    if pins:
        rule += f", only for {', '.join(sorted(pins))}"
    rule += f": run `processorctl publish --ref {registration.ref}`, or add --build to run what is built here"
    raise ImageUnpinnedError(Detail(path="/image/platforms", message=rule))


async def pinned(
    engine: Engine, name: str, reference: ImageReference, environ: Mapping[str, str], journal: Journal
) -> Image:
    """Return the image that *reference* pins for the platform *name*, pulled if it is not here.

    Raises:
        ImageNotFoundError: it is neither here nor in its image registry.
        ImagePullError: its image registry refused or was not reachable.
        DigestDriftError: the engine knows what it has under this name by another digest.
        DockerError: the engine refused or failed.
    """
    found = await _inspected(engine, str(reference))
    if found is None:
        await _pulled(name, reference, environ, journal)
        found = await _inspected(engine, str(reference))
    if found is None:
        raise ImageNotFoundError(Detail(path=str(reference), message="was pulled, and is not here: removed meanwhile?"))
    if reference.digest not in _digests(found):
        rule = f"must be {reference.digest}: the engine has {', '.join(found['RepoDigests'] or ['no digest'])} there"
        raise DigestDriftError(Detail(path=str(reference), message=rule))
    return Image(found["Id"], reference.digest, pinned=True)


async def built(registration: Registration, name: str | None, environ: Mapping[str, str], journal: Journal) -> Image:
    """Return the image of the source as it is here, for the platform *name* or the engine's own.

    Its digest is the engine's id of it: it was never stored anywhere, so no
    image registry has a digest for it.

    Raises:
        DockerError: it cannot be built; the details hold the last lines of the builder.
    """
    from apps.core.images.build import build  # noqa: PLC0415  # only where something is built

    journal.event("adapter.local.build", message="building the image from its source, a minute or so the first time")

    def tell(line: str) -> None:
        journal.event("adapter.local.builder", message=line)

    made = await build(registration, environ=environ, platform=name, tell=tell)
    journal.event("adapter.local.built", image=made.name, reused=made.reused)
    return Image(made.image_id, Digest.parse(made.image_id), pinned=False)


async def _inspected(engine: Engine, name: str) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = await engine.ask("GET", f"/images/{name}/json")
    except EngineRefusedError as exc:
        if exc.engine_status == NOT_FOUND:
            return None
        raise
    return found


def _digests(found: dict[str, Any]) -> set[Digest]:
    """Return every digest by which the engine knows an image, whatever repository it was pulled from."""
    known = set()
    for text in found.get("RepoDigests") or []:
        try:
            known.add(Digest.parse(text))
        except DigestError:  # of another algorithm
            continue
    return known


async def _pulled(name: str, reference: ImageReference, environ: Mapping[str, str], journal: Journal) -> None:
    """Pull by Docker's own client, which knows the logins of this machine.

    Raises:
        ImageNotFoundError: the image registry has no such image.
        ImagePullError: it refused or was not reachable.
    """
    journal.event("adapter.local.pull", image=str(reference), platform=name)
    began = time.monotonic()
    try:
        async with asyncio.timeout(PULL_S):
            await docker("pull", "--quiet", f"--platform=linux/{name}", str(reference), environ=environ)
    except TimeoutError:
        raise ImagePullError(Detail(path=str(reference), message=f"not here after {PULL_S:g} s")) from None
    except DockerError as exc:
        absent = any(words in each["message"] for each in exc.details for words in _UNKNOWN_THERE)
        said = (Detail(path=str(reference), message=journal.masked(each["message"])) for each in exc.details)
        raise (ImageNotFoundError if absent else ImagePullError)(*said) from exc
    journal.event("adapter.local.pulled", duration_ms=round((time.monotonic() - began) * 1000))

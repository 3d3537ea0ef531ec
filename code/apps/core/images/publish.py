"""From an image on the engine to a digest in an image registry, and from there to a pin."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from apps.core.registry import ImageReference, Registration, Repository
from processor_runtime.errors import Detail

from . import sbom
from .build import build, held, local_name, tag
from .client import Tell, docker, silent
from .distribution import Distribution
from .errors import ForeignRefError, ImageNotFoundError, NotBuiltError, OtherSourceError
from .labels import Labels
from .source import source_digest
from .stored import StoredImage, stored


@dataclass(frozen=True, slots=True)
class Published:
    """An image in an image registry, with its bill of materials beside it.

    Attributes:
        image: The image.
        bill: The digest of the artifact that holds its bill of materials.
        state: ``published`` if it is new there, ``unchanged`` if this source had been published before.
    """

    image: StoredImage
    bill: str
    state: Literal["published", "unchanged"]


async def push(
    registration: Registration,
    repository: Repository,
    *,
    platform: str,
    environ: Mapping[str, str],
    tell: Tell = silent,
) -> Published:
    """Return the image of *registration*'s source, as *repository* now holds it.

    Raises:
        NotBuiltError: the engine has no image of this source for *platform*.
        DockerError: the engine cannot push it.
        ImageRegistryError: the image registry refused, or was not reachable.
    """
    source = source_digest(registration)
    name = local_name(registration, source, platform)
    try:
        image = await held(name, platform, environ)
    except ImageNotFoundError as exc:
        hint = f"run: processorctl build --ref {registration.ref} --platform {platform}"
        raise NotBuiltError(Detail(path=name, message=hint)) from exc
    remote = f"{repository}:{tag(registration, source, platform)}"
    await docker("tag", image.name, remote, environ=environ)
    tell(f"pushing {remote}")
    await docker("push", remote, environ=environ, tell=tell)
    async with Distribution.open(repository, environ) as distribution:
        there = await stored(distribution, tag(registration, source, platform), platform)
        _agrees(there, Labels(str(registration.ref), source))
        tell(f"attaching the bill of materials to {there.reference}")
        bill = await sbom.attach(there, image.name, distribution, environ)
    return Published(there, str(bill.digest), "published")


async def publish(
    registration: Registration,
    repository: Repository,
    *,
    platform: str,
    environ: Mapping[str, str],
    base_image: str | None = None,
    rebuild: bool = False,
    tell: Tell = silent,
) -> Published:
    """Return the image of *registration*'s source in *repository*: built and pushed, unless that has it already.

    Args:
        registration: The processor.
        repository: Where it is stored.
        platform: ``amd64`` or ``arm64``.
        environ: The caller's environment.
        base_image: What to build on, if it is built; as for `build`.
        rebuild: Build and push it in any case.
        tell: Takes each line of the story.

    Raises:
        DockerError: it cannot be built or pushed.
        ImageRegistryError: the image registry refused, or was not reachable.
    """
    there = None if rebuild else await published(registration, repository, platform, environ)
    if there is None:
        await build(registration, environ=environ, platform=platform, base_image=base_image, rebuild=rebuild, tell=tell)
        return await push(registration, repository, platform=platform, environ=environ, tell=tell)
    tell(f"{there.reference} is of this source already")
    async with Distribution.open(repository, environ) as distribution:
        bill = await sbom.attached(there, distribution)
        if not bill:  # whoever pushed it did not come that far
            name = str(there.reference)
            await docker("pull", name, environ=environ, tell=tell)
            bill = str((await sbom.attach(there, name, distribution, environ)).digest)
    return Published(there, bill, "unchanged")


async def published(
    registration: Registration, repository: Repository, platform: str, environ: Mapping[str, str]
) -> StoredImage | None:
    """Return the image of *registration*'s source that *repository* holds, or ``None`` where it holds none.

    Raises:
        ImageRegistryError: the image registry refused, or was not reachable.
    """
    source = source_digest(registration)
    async with Distribution.open(repository, environ) as distribution:
        try:
            there = await stored(distribution, tag(registration, source, platform), platform)
        except ImageNotFoundError:
            return None
    # A tag can be moved to anything: what counts is what the image says
    labels = Labels(str(registration.ref), source)
    return there if _says(there, labels) else None


async def pinnable(
    registration: Registration, reference: ImageReference, platform: str, environ: Mapping[str, str]
) -> StoredImage:
    """Return the image *reference*, which may be pinned for *platform*.

    Raises:
        ImageNotFoundError: its image registry does not hold that digest.
        WrongPlatformError: it is for another platform, or an index of several.
        ForeignRefError: it is another processor's.
        ImageRegistryError: the image registry refused, or was not reachable.
    """
    async with Distribution.open(Repository.parse(reference.repository), environ) as distribution:
        there = await stored(distribution, str(reference.digest), platform)
    if there.labels.ref != str(registration.ref):
        raise ForeignRefError(foreign(there, registration))
    return there


def foreign(image: StoredImage, registration: Registration) -> Detail:
    """Return which ref *image* serves instead of *registration*'s."""
    reason = f"its label says {image.labels.ref or 'no ref'}, and this is {registration.ref}"
    return Detail(path=str(image.reference), message=reason)


def _says(image: StoredImage, labels: Labels) -> bool:
    return (image.labels.ref, image.labels.source) == (labels.ref, labels.source)


def _agrees(image: StoredImage, labels: Labels) -> None:
    if not _says(image, labels):
        reason = "was replaced while it was pushed: push it again"
        raise OtherSourceError(Detail(path=str(image.reference), message=reason))

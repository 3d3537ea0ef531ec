"""An image as its image registry holds it: for which platform it is, and what it says about itself."""

from dataclasses import dataclass
from typing import Any, Final

from apps.core.registry import ImageReference
from processor_runtime.errors import Detail

from .distribution import LISTS, Distribution, Manifest
from .errors import ImageNotFoundError, WrongPlatformError
from .labels import Labels

_OS: Final = "linux"


@dataclass(frozen=True, slots=True)
class StoredImage:
    """One platform's image in an image registry.

    Attributes:
        reference: What a pin is written as.
        platform: ``amd64`` or ``arm64``, as its configuration says.
        labels: What it says about itself.
        manifest: Its manifest.
    """

    reference: ImageReference
    platform: str
    labels: Labels
    manifest: Manifest


async def stored(distribution: Distribution, name: str, platform: str) -> StoredImage:
    """Return the image that *distribution* holds as *name* for *platform*.

    Args:
        distribution: The repository.
        name: A tag, which may stand for several platforms; or a digest, which may not.
        platform: ``amd64`` or ``arm64``.

    Raises:
        ImageNotFoundError: there is nothing of this name, or the digest is no image's.
        WrongPlatformError: it is for another platform, or the digest is that of an index.
        ImageRegistryError: refused, or not reachable.
    """
    manifest = await distribution.manifest(name)
    if manifest.media_type in LISTS:
        row = _row(distribution, manifest, name, platform)
        manifest = await distribution.manifest(row["digest"])
    configuration = await _configuration(distribution, manifest, name)
    actual = f"{configuration.get('os')}/{configuration.get('architecture')}"
    if actual != f"{_OS}/{platform}":
        reason = f"{name} is for {actual}, and {_OS}/{platform} was asked for"
        raise WrongPlatformError(Detail(path=str(distribution.repository), message=reason))
    labels = Labels.read((configuration.get("config") or {}).get("Labels"))
    reference = ImageReference(str(distribution.repository), manifest.digest)
    return StoredImage(reference, platform, labels, manifest)


def _row(distribution: Distribution, index: Manifest, name: str, platform: str) -> dict[str, Any]:
    """Return the row of *index* for *platform*."""
    where = str(distribution.repository)
    rows = [row for row in index.value.get("manifests", []) if isinstance(row, dict)]
    found = [row for row in rows if _is_for(row.get("platform") or {}, platform)]
    if not found:
        raise WrongPlatformError(Detail(path=where, message=f"{name} is an index without {_OS}/{platform}"))
    if ":" in name:
        reason = f"{name} is an index: pin the platform's own manifest, {found[0]['digest']}"
        raise WrongPlatformError(Detail(path=where, message=reason))
    return found[0]


def _is_for(described: dict[str, Any], platform: str) -> bool:
    return (described.get("os"), described.get("architecture")) == (_OS, platform)


async def _configuration(distribution: Distribution, manifest: Manifest, name: str) -> dict[str, Any]:
    digest = manifest.value.get("config", {}).get("digest")
    if not digest or "layers" not in manifest.value or "subject" in manifest.value:
        raise ImageNotFoundError(Detail(path=str(distribution.repository), message=f"{name} is no image"))
    return await distribution.blob(digest)

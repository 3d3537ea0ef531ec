"""Whether what is pinned is what it should be: there, for its platform, this processor's, and of this source."""

from collections.abc import Mapping

from apps.core.registry import Registration, Repository
from processor_runtime.errors import Detail

from .distribution import Distribution
from .errors import ForeignRefError, OtherSourceError
from .pin import pinned
from .publish import foreign
from .source import source_digest
from .stored import StoredImage, stored


async def verify(registration: Registration, platform: str, environ: Mapping[str, str]) -> StoredImage:
    """Return the image that *registration* pins for *platform*, which is proved to be the right one.

    The image registry is asked, not the engine: what is proved holds for every machine.

    Raises:
        ImageUnpinnedError: there is no pin.
        ImageNotFoundError: the image registry does not hold it.
        WrongPlatformError: it is for another platform.
        ForeignRefError: it is another processor's.
        OtherSourceError: it was built from other source than there is now.
        ImageRegistryError: the image registry refused, or was not reachable.
    """
    reference = pinned(registration, platform)
    async with Distribution.open(Repository.parse(reference.repository), environ) as distribution:
        image = await stored(distribution, str(reference.digest), platform)
    if image.labels.ref != str(registration.ref):
        raise ForeignRefError(foreign(image, registration))
    source = source_digest(registration)
    if image.labels.source != source:
        reason = f"its label says {image.labels.source or 'no source'}, and the source here is {source}"
        raise OtherSourceError(
            Detail(path=str(image.reference), message=reason),
            Detail(path="", message=f"run: processorctl publish --ref {registration.ref} --platform {platform}"),
        )
    return image

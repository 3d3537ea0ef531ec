"""Where attestations lie: beside the image in its image registry, as what refers to it."""

from collections.abc import AsyncIterator
from typing import Any, Final

from apps.core.images.distribution import EMPTY, MANIFEST, Distribution, Manifest
from apps.core.images.errors import ImageNotFoundError
from apps.core.images.stored import StoredImage
from processor_runtime.values import Digest

from .bundle import MEDIA_TYPE

# Source: sigstore/cosign, specs/BUNDLE_SPEC.md, "Publishing" and "Annotations"
_CONTENT: Final = "dev.sigstore.bundle.content"
_PREDICATE: Final = "dev.sigstore.bundle.predicateType"


async def attach(distribution: Distribution, image: StoredImage, bundle: bytes, predicate_type: str) -> Manifest:
    """Return the artifact that holds *bundle* and refers to *image*.

    Raises:
        ImageRegistryError: refused, or not reachable.
    """
    return await distribution.put_manifest(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "artifactType": MEDIA_TYPE,
            "annotations": {_CONTENT: "dsse-envelope", _PREDICATE: predicate_type},
            "config": await distribution.put_blob(b"{}", EMPTY),
            "layers": [await distribution.put_blob(bundle, MEDIA_TYPE)],
            "subject": image.manifest.descriptor(),
        }
    )


async def attached(distribution: Distribution, digest: Digest) -> AsyncIterator[tuple[str, dict[str, Any]]]:
    """Yield each bundle that refers to the image *digest*, with the digest of the artifact that holds it.

    One that is listed and gone is passed over: whoever looks for it finds that it is missing.

    Raises:
        ImageRegistryError: refused, or not reachable.
    """
    for row in await distribution.referrers(digest):
        if row.get("artifactType") != MEDIA_TYPE:
            continue
        try:
            manifest = await distribution.manifest(row["digest"])
            (layer,) = manifest.value["layers"]
            yield str(row["digest"]), await distribution.blob(layer["digest"])
        except (ImageNotFoundError, KeyError, ValueError):
            continue

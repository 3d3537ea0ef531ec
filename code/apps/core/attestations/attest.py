"""Attest an image: say how it was built and what is in it, sign both, and store them beside it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from securesystemslib.signer import CryptoSigner

from apps.core.images import sbom
from apps.core.images.client import docker, inspected
from apps.core.images.distribution import Distribution
from apps.core.images.errors import ImageNotFoundError, OtherSourceError
from apps.core.images.source import source_digest
from apps.core.images.stored import StoredImage, stored
from apps.core.registry import ImageReference, Registration, Repository
from processor_runtime.errors import Detail
from processor_runtime.values import Digest, DigestError

from .bundle import signed
from .errors import SignatureError
from .statement import BILL, PROVENANCE, Base, Builder, bill, provenance
from .store import attach
from .verify import signed_by


@dataclass(frozen=True, slots=True)
class Made:
    """An image that is attested: ``attested`` if that is new, ``unchanged`` if this key had done so before."""

    image: StoredImage
    state: Literal["attested", "unchanged"]


async def attest(
    registration: Registration,
    reference: ImageReference,
    platform: str,
    signer: CryptoSigner,
    environ: Mapping[str, str],
) -> Made:
    """Return the image *reference*, with two statements beside it that *signer* has signed.

    Only what was built from the source as it lies here is attested: of anything else nothing is known.

    Raises:
        OtherSourceError: it was built from other source, or on another base image than its name stands for here.
        SignatureError: there is no bill of materials beside it, so there is nothing to sign.
        ImageNotFoundError: its image registry does not hold it.
        ImageRegistryError: the image registry refused, or was not reachable.
        DockerError: the base image cannot be looked at.
    """
    async with Distribution.open(Repository.parse(reference.repository), environ) as distribution:
        image = await stored(distribution, str(reference.digest), platform)
        if (image.labels.ref, image.labels.source) != (str(registration.ref), source_digest(registration)):
            reason = "was not built from the source as it is here: processorctl verify says more"
            raise OtherSourceError(Detail(path=str(reference), message=reason))
        have = await signed_by(image, [signer.public_key], distribution)
        statements = []
        if PROVENANCE not in have:
            base = await _base(image, distribution, environ)
            statements.append(provenance(image, registration, base, Builder.from_env(environ)))
        if BILL not in have:
            statements.append(bill(image, await _bill(image, distribution)))
        for statement in statements:
            await attach(distribution, image, signed(statement, signer), statement["predicateType"])
    return Made(image, "attested" if statements else "unchanged")


async def _bill(image: StoredImage, distribution: Distribution) -> Mapping[str, object]:
    digest = await sbom.attached(image, distribution)
    if not digest:
        reason = "has no bill of materials beside it: processorctl publish attaches one"
        raise SignatureError(Detail(path=str(image.reference), message=reason))
    manifest = await distribution.manifest(digest)
    return await distribution.blob(manifest.value["layers"][0]["digest"])


async def _base(image: StoredImage, distribution: Distribution, environ: Mapping[str, str]) -> Base:
    """Return what *image* was built on, which its own layers prove: they begin with the base image's."""
    name = image.labels.base
    if not name:
        raise OtherSourceError(Detail(path=str(image.reference), message="does not say what it was built on"))
    try:
        base = await inspected(name, environ)
    except ImageNotFoundError:
        await docker("pull", "--quiet", f"--platform=linux/{image.platform}", name, environ=environ)
        base = await inspected(name, environ)
    configuration = await distribution.blob(image.manifest.value["config"]["digest"])
    layers, below = configuration["rootfs"]["diff_ids"], base["RootFS"]["Layers"]
    if layers[: len(below)] != below:
        reason = f"was not built on what {name} is here: build it again, or where it was built"
        raise OtherSourceError(Detail(path=str(image.reference), message=reason))
    return Base(name, _digest_of(base))


def _digest_of(base: Mapping[str, Any]) -> Digest:
    """Return the digest that image registries know the base image by; the engine's id of one that is in none."""
    for text in base.get("RepoDigests") or []:
        try:
            return Digest.parse(text)
        except DigestError:  # of another algorithm
            continue
    return Digest.parse(base["Id"])

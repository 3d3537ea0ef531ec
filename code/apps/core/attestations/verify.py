"""Whether enough is attested of an image, by a key that is trusted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from securesystemslib.signer import Key

from apps.core.images import sbom
from apps.core.images.distribution import Distribution
from apps.core.images.stored import StoredImage
from apps.core.registry import ImageReference, Ref, Repository
from processor_runtime.errors import Detail

from .bundle import UnsignedError, opened
from .errors import SignatureError
from .statement import BILL, PROVENANCE, STATEMENT, Statement
from .store import attached

_NAMES = {PROVENANCE: "SLSA provenance v1", BILL: "a CycloneDX bill of materials"}


@dataclass(frozen=True, slots=True)
class Attested:
    """What trusted keys say of an image: how it was built, and what is in it."""

    provenance: Statement
    bill: Statement

    @property
    def builder(self) -> str:
        """Who built it."""
        return str(self.provenance["predicate"]["runDetails"]["builder"]["id"])


async def verify(reference: ImageReference, ref: Ref, keys: Sequence[Key], environ: Mapping[str, str]) -> Attested:
    """Return what is attested of the image *reference*, which serves *ref*.

    Raises:
        SignatureError: no trusted key attests both, one of them is of another image or ref, or the bill of materials
            beside the image is not the one that was signed.
        ImageRegistryError: the image registry refused, or was not reachable.
    """
    if not keys:
        raise SignatureError(Detail(path="SIGNATURE_KEYS", message="names no public key: nobody is trusted"))
    async with Distribution.open(Repository.parse(reference.repository), environ) as distribution:
        found, refused = await _statements(distribution, reference, keys)
        missing = [f"no trusted key attests {name}" for kind, name in _NAMES.items() if kind not in found]
        if missing:
            raise SignatureError(*(Detail(path=str(reference), message=each) for each in (*missing, *refused)))
        attested = Attested(found[PROVENANCE], found[BILL])
        _serves(attested, reference, ref)
        await _same_bill(distribution, reference, attested)
    return attested


async def signed_by(image: StoredImage, keys: Sequence[Key], distribution: Distribution) -> set[str]:
    """Return the kinds of statement that *keys* have attested of *image*."""
    found, _ = await _statements(distribution, image.reference, keys)
    return set(found)


async def _statements(
    distribution: Distribution, reference: ImageReference, keys: Sequence[Key]
) -> tuple[dict[str, Statement], list[str]]:
    """Return the statements about *reference* by their kind, and why each other bundle does not count."""
    found: dict[str, Statement] = {}
    refused = []
    async for name, bundle in attached(distribution, reference.digest):
        try:
            statement = opened(bundle, keys)
        except UnsignedError as exc:
            refused.append(f"{name} {exc}")
            continue
        if statement.get("_type") != STATEMENT or not _is_about(statement, reference):
            refused.append(f"{name} is about another image")
        else:
            found.setdefault(str(statement.get("predicateType")), statement)
    return found, refused


def _is_about(statement: Statement, reference: ImageReference) -> bool:
    digits = str(reference.digest).removeprefix("sha256:")
    subjects = statement.get("subject") or []
    return any(isinstance(each, dict) and (each.get("digest") or {}).get("sha256") == digits for each in subjects)


def _serves(attested: Attested, reference: ImageReference, ref: Ref) -> None:
    try:
        told = attested.provenance["predicate"]["buildDefinition"]["externalParameters"]["ref"]
        _ = attested.builder
    except (KeyError, TypeError):
        raise SignatureError(Detail(path=str(reference), message="its provenance says no ref or builder")) from None
    if told != str(ref):
        raise SignatureError(Detail(path=str(reference), message=f"its provenance is of {told}, and this is {ref}"))


async def _same_bill(distribution: Distribution, reference: ImageReference, attested: Attested) -> None:
    """Hold the bill of materials that readers find beside the image against the one that was signed."""
    for row in await distribution.referrers(reference.digest):
        if row.get("artifactType") != sbom.MEDIA_TYPE:
            continue
        beside: dict[str, Any] = await distribution.blob(
            (await distribution.manifest(row["digest"])).value["layers"][0]["digest"]
        )
        if beside != attested.bill["predicate"]:
            reason = f"the bill of materials beside it, {row['digest']}, is not the one that was signed"
            raise SignatureError(Detail(path=str(reference), message=reason))

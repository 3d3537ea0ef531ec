"""What is written on every image that is built here, and read before one is trusted."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

CONTRACT_VERSION: Final = "v1"
REF: Final = "processor.ref"
SOURCE: Final = "processor.source"
CONTRACT: Final = "processor.contract"

# Source: OCI image-spec v1.1, annotations.md, "Pre-Defined Annotation Keys"
_TITLE: Final = "org.opencontainers.image.title"
_VERSION: Final = "org.opencontainers.image.version"
_BASE: Final = "org.opencontainers.image.base.name"


@dataclass(frozen=True, slots=True)
class Labels:
    """What an image says about itself.

    Attributes:
        ref: Which processor it is: ``ns/name@1``.
        source: The digest of the source that it was built from.
        contract: Which version of the contract it keeps.
        base: The image that it was built on, by the name that the Dockerfile was given; ``""`` where that is fixed.
    """

    ref: str
    source: str
    contract: str = CONTRACT_VERSION
    base: str = ""

    def written(self) -> dict[str, str]:
        """Return them as an image's configuration keeps them, the ones that other tools know too among them."""
        title, _, version = self.ref.partition("@")
        ours = {REF: self.ref, SOURCE: self.source, CONTRACT: self.contract}
        return {**ours, _TITLE: title, _VERSION: version, **({_BASE: self.base} if self.base else {})}

    @classmethod
    def read(cls, labels: Mapping[str, Any] | None) -> Self:
        """Return what *labels* say; ``""`` for each that is not there."""
        known = labels or {}
        return cls(*(str(known.get(name, "")) for name in (REF, SOURCE, CONTRACT, _BASE)))

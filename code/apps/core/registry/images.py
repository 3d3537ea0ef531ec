"""Image references: where an image is stored, and which image it is."""

import re
from dataclasses import dataclass
from typing import Final, Self

from processor_runtime.values import Digest, DigestError

_MAX_REPOSITORY: Final = 255  # characters; image registries refuse longer names

_LABEL: Final = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_HOST: Final = rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9a-fA-F:]+\])(?::[0-9]{{1,5}})?"
_COMPONENT: Final = r"[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*"
_REPOSITORY: Final = re.compile(rf"(?:{_HOST}/)?{_COMPONENT}(?:/{_COMPONENT})*")
_TAG: Final = re.compile(r"[^/]*:[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")


class ImageReferenceError(ValueError):
    """A text that does not name one image in one repository."""


@dataclass(frozen=True, slots=True)
class ImageReference:
    """Which image to run and where to get it from: ``repository@sha256:…``."""

    repository: str
    digest: Digest

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the image reference that *text* spells.

        Args:
            text: ``<repository>@sha256:<hex>``, with *repository* as an image
                registry names it (``ghcr.io/owner/image``) and *hex* 64
                lower-case digits.

        Raises:
            ImageReferenceError: a tag, with or without a digest, because it may
                name another image tomorrow; no repository; no digest. The
                message is the rule that was broken.

        Source: OCI distribution-spec v1.1, "Pulling manifests"; the host as in
        distribution's ``reference`` grammar.
        """
        repository, at, digest = text.rpartition("@")
        if not at:
            raise ImageReferenceError("names no digest: pin it as repository@sha256:…, never by a tag")
        if not repository:
            raise ImageReferenceError("names no repository: write repository@sha256:…")
        if _TAG.fullmatch(repository.rpartition("/")[2]):
            raise ImageReferenceError("has a tag beside its digest: write repository@sha256:… alone")
        if len(repository) > _MAX_REPOSITORY or not _REPOSITORY.fullmatch(repository):
            raise ImageReferenceError("has a malformed repository: write it as in ghcr.io/owner/image")
        try:
            return cls(repository, Digest.parse(digest))
        except DigestError as exc:
            raise ImageReferenceError("has a malformed digest: it is sha256: and 64 lower-case hex digits") from exc

    def __str__(self) -> str:
        return f"{self.repository}@{self.digest}"

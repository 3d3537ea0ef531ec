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
_DEFAULT_HOST: Final = "docker.io"
_OFFICIAL: Final = "library/"  # where Docker Hub keeps what is named without an owner


class ImageReferenceError(ValueError):
    """A text that does not name one image in one repository."""


@dataclass(frozen=True, slots=True)
class Repository:
    """Where images of one name are stored.

    Attributes:
        host: The image registry, with its port if it has one: ``ghcr.io``, ``127.0.0.1:5000``.
        path: The name there: ``owner/image``.
    """

    host: str
    path: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the repository that *text* names, as `docker push` reads it: without a host it is Docker Hub's.

        Raises:
            ImageReferenceError: it is malformed, or has a tag. The message is the rule that was broken.

        Source: distribution's ``reference`` package, ``splitDockerDomain``.
        """
        if _TAG.fullmatch(text.rpartition("/")[2]):
            raise ImageReferenceError("has a tag or a digest: write the repository alone")
        if len(text) > _MAX_REPOSITORY or not _REPOSITORY.fullmatch(text):
            raise ImageReferenceError("has a malformed repository: write it as in ghcr.io/owner/image")
        first, slash, rest = text.partition("/")
        if slash and (first == "localhost" or first != first.lower() or set(first) & {".", ":"}):
            return cls(first, rest)
        return cls(_DEFAULT_HOST, text if slash else f"{_OFFICIAL}{text}")

    def __str__(self) -> str:
        return f"{self.host}/{self.path}"


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
        Repository.parse(repository)
        try:
            return cls(repository, Digest.parse(digest))
        except DigestError as exc:
            raise ImageReferenceError("has a malformed digest: it is sha256: and 64 lower-case hex digits") from exc

    def __str__(self) -> str:
        return f"{self.repository}@{self.digest}"

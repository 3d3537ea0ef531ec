"""Values that cannot be wrong: parsed once at the edge, trusted inside."""

import re
from dataclasses import dataclass
from typing import Final, Self

_REF: Final = re.compile(r"([a-z][a-z0-9]{0,31})/([a-z][a-z0-9_]{0,47})@([1-9][0-9]{0,8})")
_SHA256: Final = re.compile(r"sha256:[0-9a-f]{64}")


class RefError(ValueError):
    """A text that is not a ref."""


class DigestError(ValueError):
    """A text that names no digest."""


@dataclass(frozen=True, slots=True, order=True)
class Ref:
    """Which processor is meant, independent of where it runs: ``ns/name@version``."""

    namespace: str
    name: str
    version: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the ref that *text* spells.

        Args:
            text: ``ns/name@version``: *ns* ``[a-z][a-z0-9]{0,31}``, *name*
                ``[a-z][a-z0-9_]{0,47}``, *version* a positive integer.

        Raises:
            RefError: anything else, surrounding white space included.

        Source: CONTRACT §8.
        """
        match = _REF.fullmatch(text)
        if match is None:
            reason = "a ref looks like ns/name@1"
            raise RefError(reason)
        namespace, name, version = match.groups()
        return cls(namespace, name, int(version))

    @property
    def folder(self) -> str:
        """The name of the processor's folder: ``{ns}_{name}``."""
        return f"{self.namespace}_{self.name}"

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}@{self.version}"


@dataclass(frozen=True, slots=True)
class Digest:
    """What an image *is*, whatever it is called and wherever it is stored."""

    text: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the digest that *text* names.

        Args:
            text: ``sha256:<hex>``, as an envelope reports it, or
                ``<repository>@sha256:<hex>``, as a registry pins it. *hex* is
                64 lower-case digits, which are 32 bytes.

        Raises:
            DigestError: a tag, another algorithm, or the wrong length.

        Source: OCI image-spec v1.1, descriptor.md, "Digests".
        """
        _, _, digest = text.rpartition("@")
        if not _SHA256.fullmatch(digest):
            reason = "a digest is sha256: and 64 lower-case hexadecimal digits"
            raise DigestError(reason)
        return cls(digest)

    def __str__(self) -> str:
        return self.text

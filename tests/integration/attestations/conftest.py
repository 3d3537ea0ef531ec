"""A processor that is published and pinned in a real image registry, and attested by a key of its own."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from apps.core.attestations.attest import Made, attest
from apps.core.attestations.keys import SIGNATURE_KEYS, SIGNING_KEY, signer, trusted
from apps.core.attestations.verify import Attested, verify
from apps.core.images.pin import write_pins
from apps.core.images.publish import publish
from apps.core.registry import ImageReference, Registration, Repository
from tests.integration.images.conftest import Tiny, tiny
from tests.support.docker import Engine, ImageRegistry
from tests.support.keys import KeyPair, key_pair

__all__ = ["tiny"]

PLATFORM = "amd64"


@dataclass
class Published:
    """A pinned image, and who signs for it here.

    Attributes:
        tiny: The processor.
        repository: Where its image is stored.
        folder: Room for keys.
        key: Ours.
    """

    tiny: Tiny
    repository: str
    folder: Path
    key: KeyPair = field(init=False)

    def __post_init__(self) -> None:
        self.key = key_pair(self.folder)

    @property
    def registration(self) -> Registration:
        """What its registry file says now."""
        return self.tiny.registration

    @property
    def reference(self) -> ImageReference:
        """The pin."""
        return self.registration.platforms[PLATFORM]

    def publish(self) -> None:
        """Build it, push it, and pin what became of it."""
        made = asyncio.run(
            publish(self.registration, Repository.parse(self.repository), platform=PLATFORM, environ=os.environ)
        )
        write_pins(self.registration, {PLATFORM: made.image.reference})

    def attest(self, key: KeyPair | None = None) -> Made:
        """Attest the pin, by our key or another one."""
        made_by = signer({SIGNING_KEY: (key or self.key).private})
        return asyncio.run(attest(self.registration, self.reference, PLATFORM, made_by, os.environ))

    def verify(self, *keys: KeyPair) -> Attested:
        """Verify the pin by *keys*, or by ours."""
        paths = ":".join(str(key.public) for key in keys or (self.key,))
        return asyncio.run(verify(self.reference, self.registration.ref, trusted({SIGNATURE_KEYS: paths}), os.environ))


@pytest.fixture
def published(tiny: Tiny, engine: Engine, image_registry: ImageRegistry, tmp_path: Path) -> Iterator[Published]:
    """Give a published processor that is built on a base image of its own."""
    base = f"{tiny.folder.name}-base:1"
    layered = tmp_path / "base"
    layered.mkdir()
    (layered / "file").write_text("of the base\n", encoding="utf-8")
    (layered / "Dockerfile").write_text("FROM scratch\nCOPY file /\n", encoding="utf-8")
    engine.docker("build", "--tag", base, str(layered))
    tiny.write("Dockerfile", f"ARG BASE_IMAGE={base}\nFROM ${{BASE_IMAGE}}\nCOPY app /srv/app\n")
    made = Published(tiny, f"{image_registry.repository()}/{tiny.folder.name}", tmp_path)
    made.publish()
    yield made
    engine.docker("rmi", "--force", base)

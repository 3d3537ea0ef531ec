"""A processor that is built in a second, and what a test makes of it removed again."""

from __future__ import annotations

import asyncio
import json
import os
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from apps.core.images.build import builder
from apps.core.images.distribution import MANIFEST, Distribution, Manifest
from apps.core.images.labels import Labels
from apps.core.images.source import source_digest
from apps.core.registry import ImageReference, Registration, Repository, load_registration
from tests.support.docker import Engine, ImageRegistry, missing

REGISTRY = """\
# What stands here stays here
ref: {ref}

build: {{ context: . }}

image:
  default_platform: amd64 # the first one that is pinned

runtime:
  cpu: "1"
  memory_gb: 1
  timeout_s: 60

inputs: {{ type: object }} # spaces inside the braces, too
outputs: []
"""
DOCKERFILE = "FROM scratch\nCOPY app /srv/app\n"
METADATA = "Metadata-Version: 2.4\nName: {name}\nVersion: {version}\nLicense-Expression: MIT\n\nWords.\n"


class Tiny:
    """A processor of one layer, with two installed packages. Nothing of it can be run.

    Attributes:
        processors: The folder that holds its folder, and no other.
        folder: Its own folder.
        ref: Its ref, which no other test has.
    """

    def __init__(self, processors: Path) -> None:
        self.processors = processors
        self.name = f"t{uuid.uuid4().hex[:12]}"
        self.ref = f"tst/{self.name}@1"
        self.folder = processors / f"tst_{self.name}"
        self.write("registry.yaml", REGISTRY.format(ref=self.ref))
        self.write("Dockerfile", DOCKERFILE)
        self.write("app/handler.py", "words = 1\n")
        for name, version in (("Demo_Pkg", "1.2"), ("other", "3")):
            place = f"app/lib/python3.11/site-packages/{name.lower()}-{version}.dist-info/METADATA"
            self.write(place, METADATA.format(name=name, version=version))

    @property
    def registration(self) -> Registration:
        """What its registry file says now."""
        return load_registration(self.folder)

    @property
    def labels(self) -> Labels:
        """What an image of it, as it is, says about itself."""
        return Labels(self.ref, source_digest(self.registration))

    def pin(self, reference: ImageReference, platform: str = "amd64") -> None:
        """Write a pin by hand, as a person might."""
        pinned = f"image:\n  platforms:\n    {platform}: {reference}\n"
        self.write("registry.yaml", self.read().replace("image:\n", pinned))

    def write(self, name: str, text: str) -> None:
        """Write one of its files."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def read(self, name: str = "registry.yaml") -> str:
        """Return one of its files."""
        return (self.folder / name).read_text("utf-8")


@pytest.fixture
def repository(image_registry: ImageRegistry) -> Repository:
    """Return a repository that no other test uses."""
    return Repository.parse(image_registry.repository())


def put(repository: Repository, value: Mapping[str, Any], name: str | None = None) -> Manifest:
    """Store a manifest of the test's own making."""

    async def work() -> Manifest:
        async with Distribution.open(repository, os.environ) as distribution:
            return await distribution.put_manifest(value, name)

    return asyncio.run(work())


def put_image(repository: Repository, labels: Mapping[str, str], platform: str = "amd64") -> ImageReference:
    """Store an image that no engine made: what an image registry says of it is all that is asked about."""
    configuration = {"os": "linux", "architecture": platform, "config": {"Labels": dict(labels)}}

    async def work() -> ImageReference:
        async with Distribution.open(repository, os.environ) as distribution:
            config = await distribution.put_blob(
                json.dumps(configuration).encode(), "application/vnd.oci.image.config.v1+json"
            )
            layer = await distribution.put_blob(b"no archive", "application/vnd.oci.image.layer.v1.tar+gzip")
            value = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer]}
            manifest = await distribution.put_manifest(value)
            return ImageReference(str(repository), manifest.digest)

    return asyncio.run(work())


@pytest.fixture
def buildkit(engine: Engine, monkeypatch: pytest.MonkeyPatch, pytestconfig: pytest.Config) -> None:
    """Put a client on the path that has BuildKit: Debian's own, where the first one has none."""
    monkeypatch.delenv("DOCKER_BUILDKIT", raising=False)
    for path in (os.environ["PATH"], f"/usr/bin{os.pathsep}{os.environ['PATH']}"):
        monkeypatch.setenv("PATH", path)
        if asyncio.run(builder(os.environ)) != "classic":
            return
    missing(pytestconfig, f"no docker client with BuildKit for engine {engine.version}: install buildx")


@pytest.fixture
def tiny(engine: Engine, tmp_path: Path) -> Iterator[Tiny]:
    """Give a processor; the images that were made of it go when the test is over."""
    made = Tiny(tmp_path / "processors")
    yield made
    ids = engine.docker("images", "--quiet", "--no-trunc", "--filter", f"label=processor.ref={made.ref}").split()
    if ids:
        engine.docker("rmi", "--force", *dict.fromkeys(ids))  # the newest first: an older one may be its base

"""What may be pinned, and whether what is pinned is right: asked of a real image registry, and of nobody else."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace

import pytest

from apps.core.images.distribution import INDEX, MANIFEST, Distribution
from apps.core.images.errors import ForeignRefError, ImageNotFoundError, OtherSourceError, WrongPlatformError
from apps.core.images.publish import pinnable
from apps.core.images.stored import StoredImage, stored
from apps.core.images.verify import verify
from apps.core.registry import Digest, ImageReference, Repository
from processor_runtime.errors import ProcessorError
from tests.integration.images.conftest import Tiny, put, put_image

ABSENT = Digest.parse("sha256:" + "0" * 64)


@pytest.fixture
def right(tiny: Tiny, repository: Repository) -> ImageReference:
    """Return an image of the processor as it is."""
    return put_image(repository, tiny.labels.written())


def verified(tiny: Tiny, platform: str = "amd64") -> StoredImage:
    """Verify the pin of *tiny*."""
    return asyncio.run(verify(tiny.registration, platform, os.environ))


def asked(tiny: Tiny, reference: ImageReference, platform: str = "amd64") -> StoredImage:
    """Ask whether *reference* may be pinned."""
    return asyncio.run(pinnable(tiny.registration, reference, platform, os.environ))


def held(repository: Repository, name: str, platform: str = "amd64") -> StoredImage:
    """Return what the image registry holds as *name*."""

    async def work() -> StoredImage:
        async with Distribution.open(repository, os.environ) as distribution:
            return await stored(distribution, name, platform)

    return asyncio.run(work())


def put_index(repository: Repository, of: ImageReference) -> Digest:
    """Store an index, under the tag `several`, in which *of* stands for amd64; return its digest."""
    row = held(repository, str(of.digest)).manifest.descriptor(platform={"os": "linux", "architecture": "amd64"})
    return put(repository, {"schemaVersion": 2, "mediaType": INDEX, "manifests": [row]}, "several").digest


def test_an_image_of_its_own_may_be_pinned(tiny: Tiny, right: ImageReference) -> None:
    """The digest that the image registry holds, for that platform, with that ref."""
    assert asked(tiny, right).reference == right


def test_so_may_an_older_one(tiny: Tiny, right: ImageReference) -> None:
    """Going back is a pin too; that the source has moved on is for `verify` to say."""
    tiny.write("app/handler.py", "words = 2\n")

    assert asked(tiny, right).reference == right


@pytest.mark.parametrize(
    ("name", "platform", "error", "reason"),
    [
        pytest.param("absent", "amd64", ImageNotFoundError, "has no manifests/sha256:0000", id="what is not there"),
        pytest.param("right", "arm64", WrongPlatformError, "is for linux/amd64", id="another platform's"),
        pytest.param("index", "amd64", WrongPlatformError, "pin the platform's own manifest, sha256:", id="an index"),
        pytest.param("index", "arm64", WrongPlatformError, "is an index without linux/arm64", id="an index without it"),
        pytest.param("artifact", "amd64", ImageNotFoundError, "is no image", id="an artifact"),
    ],
)
def test_nothing_else_may_be_pinned(
    tiny: Tiny, right: ImageReference, *, name: str, platform: str, error: type[ProcessorError], reason: str
) -> None:
    """Only a digest that the image registry holds for that platform."""
    repository = Repository.parse(right.repository)
    manifest = held(repository, str(right.digest)).manifest
    artifact = {**manifest.value, "mediaType": MANIFEST, "subject": manifest.descriptor()}
    digests = {
        "absent": lambda: ABSENT,
        "right": lambda: right.digest,
        "index": lambda: put_index(repository, right),
        "artifact": lambda: put(repository, artifact).digest,
    }

    with pytest.raises(error) as refused:
        asked(tiny, replace(right, digest=digests[name]()), platform)

    assert reason in refused.value.details[0]["message"]


def test_a_tag_for_several_platforms_stands_for_each(right: ImageReference) -> None:
    """Newer engines push an index: the platform's own manifest in it is what counts."""
    repository = Repository.parse(right.repository)
    put_index(repository, right)

    assert held(repository, "several").reference == right


def test_a_right_pin_is_verified(tiny: Tiny, right: ImageReference) -> None:
    """There, for its platform, of this ref and of this source; the engine has no say in it."""
    tiny.pin(right)

    assert verified(tiny).reference == right


def test_a_missing_image_is_found_out(tiny: Tiny, right: ImageReference) -> None:
    """A pin is a promise that somebody can pull it."""
    tiny.pin(replace(right, digest=ABSENT))

    with pytest.raises(ImageNotFoundError):
        verified(tiny)


def test_an_image_for_another_platform_is_found_out(tiny: Tiny, right: ImageReference) -> None:
    """The pin of arm64 is an amd64 image."""
    tiny.write("registry.yaml", tiny.read().replace("default_platform: amd64", "default_platform: arm64"))
    tiny.pin(right, "arm64")

    with pytest.raises(WrongPlatformError):
        verified(tiny, "arm64")


@pytest.mark.parametrize("ref", ["tst/other@1", ""], ids=["another's", "nobody's"])
def test_an_image_of_another_ref_is_found_out(tiny: Tiny, repository: Repository, ref: str) -> None:
    """Whose it is its label says, wherever it lies; it cannot be pinned either."""
    foreign = put_image(repository, replace(tiny.labels, ref=ref).written() if ref else {})
    tiny.pin(foreign)

    with pytest.raises(ForeignRefError) as refused:
        verified(tiny)
    with pytest.raises(ForeignRefError):
        asked(tiny, foreign)

    assert (ref or "no ref") in refused.value.details[0]["message"]


def test_an_image_of_other_source_is_found_out(tiny: Tiny, right: ImageReference) -> None:
    """An edit without a publication; the error says what to run."""
    tiny.pin(right)
    tiny.write("app/handler.py", "words = 2\n")

    with pytest.raises(OtherSourceError) as refused:
        verified(tiny)

    assert f"processorctl publish --ref {tiny.ref}" in refused.value.details[1]["message"]

"""From an image on the engine to a digest in a real image registry: once a source, with its bill of materials."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Mapping
from typing import Any

import pytest

from apps.core.images.build import build
from apps.core.images.distribution import Distribution
from apps.core.images.errors import ImageRegistryError, NotBuiltError
from apps.core.images.publish import Published, pinnable, publish, push
from apps.core.images.sbom import MEDIA_TYPE
from apps.core.registry import Repository
from tests.integration.images.conftest import Tiny, put
from tests.support.docker import Engine

ENVIRON: Mapping[str, str] = {**os.environ, "DOCKER_BUILDKIT": "0"}


def published(tiny: Tiny, repository: Repository, **options: Any) -> Published:
    """Publish *tiny* as it is."""
    return asyncio.run(publish(tiny.registration, repository, platform="amd64", environ=ENVIRON, **options))


def test_what_is_published_runs_by_its_digest(tiny: Tiny, engine: Engine, repository: Repository) -> None:
    """The image registry has it, and the engine knows it by the same digest."""
    there = published(tiny, repository)

    digests = engine.docker("inspect", "--format", "{{json .RepoDigests}}", str(there.image.reference))
    assert there.state == "published"
    assert str(there.image.reference) in json.loads(digests)
    assert there.image.reference.repository == str(repository)


def test_a_source_that_is_published_is_not_built_again(tiny: Tiny, engine: Engine, repository: Repository) -> None:
    """Not even on a machine that has nothing of it: no digest changes without a reason."""
    first = published(tiny, repository)
    engine.docker("rmi", "--force", engine.docker("inspect", "--format", "{{.Id}}", str(first.image.reference)))
    told: list[str] = []

    second = published(tiny, repository, tell=told.append)

    assert (second.state, second.image.reference, second.bill) == ("unchanged", first.image.reference, first.bill)
    assert not any("building" in line for line in told)
    assert engine.docker("images", "--quiet", f"processors/tst_{tiny.name}") == ""


def test_other_source_is_published_beside_it(tiny: Tiny, repository: Repository) -> None:
    """The older digest stays what it was."""
    first = published(tiny, repository)
    tiny.write("app/handler.py", "words = 2\n")

    second = published(tiny, repository)

    assert second.image.reference != first.image.reference
    asyncio.run(pinnable(tiny.registration, first.image.reference, "amd64", ENVIRON))


def test_it_is_published_anew_on_request(tiny: Tiny, repository: Repository) -> None:
    """For a base image that is newer than its name."""
    published(tiny, repository)

    assert published(tiny, repository, rebuild=True).state == "published"


def test_a_tag_that_was_moved_does_not_count(tiny: Tiny, engine: Engine, repository: Repository) -> None:
    """What an image says of its source decides, not what somebody called it."""
    right = published(tiny, repository)
    tag = engine.docker("images", "--format", "{{.Tag}}", str(repository))
    tiny.write("app/handler.py", "words = 2\n")
    wrong = published(tiny, repository)
    tiny.write("app/handler.py", "words = 1\n")
    put(repository, wrong.image.manifest.value, tag)

    again = published(tiny, repository)

    assert (again.state, again.image.reference) == ("published", right.image.reference)


def test_what_is_not_built_cannot_be_pushed(tiny: Tiny, repository: Repository) -> None:
    """The error says how to build it."""
    with pytest.raises(NotBuiltError) as refused:
        asyncio.run(push(tiny.registration, repository, platform="amd64", environ=ENVIRON))

    assert f"processorctl build --ref {tiny.ref} --platform amd64" in refused.value.details[0]["message"]


def test_an_image_registry_that_is_gone_is_named(tiny: Tiny) -> None:
    """As a failure to ask, which may pass; not as an image that is missing."""
    nowhere = Repository.parse("127.0.0.1:1/a/b")

    with pytest.raises(ImageRegistryError) as refused:
        published(tiny, nowhere)

    assert refused.value.retryable
    assert refused.value.details[0]["path"] == str(nowhere)


# --- the bill of materials


def test_the_bill_of_materials_stands_beside_the_image(tiny: Tiny, repository: Repository) -> None:
    """An artifact that refers to the image names each Python package in it, once however often it is made."""
    there = published(tiny, repository)

    async def read() -> tuple[list[dict[str, Any]], dict[str, Any]]:
        async with Distribution.open(repository, ENVIRON) as distribution:
            rows = await distribution.referrers(there.image.reference.digest)
            artifact = await distribution.manifest(rows[0]["digest"])
            return rows, await distribution.blob(artifact.value["layers"][0]["digest"])

    rows, bill = asyncio.run(read())
    assert [(row["digest"], row["artifactType"]) for row in rows] == [(there.bill, MEDIA_TYPE)]
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    assert [component["purl"] for component in bill["components"]] == ["pkg:pypi/demo-pkg@1.2", "pkg:pypi/other@3"]
    assert bill["metadata"]["component"]["version"] == str(there.image.reference.digest)


def test_a_bill_that_is_missing_is_made_up_for(tiny: Tiny, engine: Engine, repository: Repository) -> None:
    """Whoever pushed the image may have died before that; the next one completes it, image at hand or not."""
    image = asyncio.run(build(tiny.registration, environ=ENVIRON))
    remote = f"{repository}:{image.name.rpartition(':')[2]}"
    engine.docker("tag", image.name, remote)
    engine.docker("push", remote)
    engine.docker("rmi", "--force", image.image_id)

    there = published(tiny, repository)

    assert there.state == "unchanged"
    assert there.bill == published(tiny, repository).bill != ""

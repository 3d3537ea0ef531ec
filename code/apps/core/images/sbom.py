"""The bill of materials of an image: every Python package that is installed in it, as CycloneDX."""

import asyncio
import email.parser
import json
import re
import subprocess
import tarfile
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import IO, Final

from processor_runtime.errors import Detail

from .client import docker
from .distribution import EMPTY, MANIFEST, Distribution, Manifest
from .errors import DockerError
from .stored import StoredImage

MEDIA_TYPE: Final = "application/vnd.cyclonedx+json"

# What an installed package leaves directly in a folder of packages; below that it would be a copy inside another
_METADATA: Final = re.compile(r"(.*/)?(site|dist)-packages/[^/]+\.(dist-info/METADATA|egg-info/PKG-INFO|egg-info)")
_LARGEST: Final = 4 * 1024 * 1024  # bytes of one package's metadata, its description included
_NAMESPACE: Final = uuid.UUID("6ba7b811-9dad-11d1-80b4-00c04fd430c8")  # RFC 9562, of URLs


@dataclass(frozen=True, slots=True, order=True)
class Package:
    """One installed Python package; *license* is an SPDX expression, or ``""`` where it names none."""

    name: str
    version: str
    license: str


async def attach(image: StoredImage, name: str, distribution: Distribution, environ: Mapping[str, str]) -> Manifest:
    """Return the artifact beside *image* that holds its bill of materials, made unless it is there.

    Args:
        image: The image that it is about.
        name: What the engine calls the same image.
        distribution: Where the image is stored.
        environ: The caller's environment.

    Raises:
        DockerError: the image cannot be read.
        ImageRegistryError: the artifact cannot be stored.
    """
    if digest := await attached(image, distribution):
        return await distribution.manifest(digest)
    data = bill(image, await packages(name, environ))
    layer = await distribution.put_blob(data, MEDIA_TYPE)
    # Source: OCI image-spec v1.1, manifest.md, "Guidelines for Artifact Usage"
    return await distribution.put_manifest(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "artifactType": MEDIA_TYPE,
            "config": await distribution.put_blob(b"{}", EMPTY),
            "layers": [layer],
            "subject": image.manifest.descriptor(),
        }
    )


async def attached(image: StoredImage, distribution: Distribution) -> str:
    """Return the digest of the artifact that holds *image*'s bill of materials, ``""`` where there is none.

    Raises:
        ImageRegistryError: refused, or not reachable.
    """
    rows = await distribution.referrers(image.reference.digest)
    return next((str(row["digest"]) for row in rows if row.get("artifactType") == MEDIA_TYPE), "")


async def packages(name: str, environ: Mapping[str, str]) -> list[Package]:
    """Return the Python packages in the image *name*, sorted. Nothing of it is run, so any platform's will do.

    Raises:
        DockerError: the engine has no such image, or does not answer.
    """
    container = (await docker("create", name, "none", environ=environ)).splitlines()[-1]
    try:
        return await asyncio.to_thread(_exported, container, environ)
    finally:
        await docker("rm", container, environ=environ)


def bill(image: StoredImage, installed: list[Package]) -> bytes:
    """Return the bill of materials of *image* as CycloneDX 1.6 in JSON, the same bytes for the same packages."""
    from cyclonedx.model.bom import Bom  # noqa: PLC0415  # a third of a second, and only a push needs it
    from cyclonedx.model.component import Component, ComponentType  # noqa: PLC0415  # the same
    from cyclonedx.model.license import LicenseExpression  # noqa: PLC0415  # the same
    from cyclonedx.output.json import JsonV1Dot6  # noqa: PLC0415  # the same
    from packageurl import PackageURL  # noqa: PLC0415  # the same

    about = Component(
        type=ComponentType.CONTAINER,
        name=image.labels.ref or image.reference.repository,
        version=str(image.reference.digest),
        bom_ref=str(image.reference),
    )
    bom = Bom(serial_number=uuid.uuid5(_NAMESPACE, str(image.reference)))
    bom.metadata.component = about
    for each in installed:
        purl = PackageURL("pypi", None, each.name, each.version)
        licenses = [LicenseExpression(each.license)] if each.license else []
        bom.components.add(
            Component(name=each.name, version=each.version, purl=purl, bom_ref=str(purl), licenses=licenses)
        )
    bom.register_dependency(about, bom.components)
    value = json.loads(JsonV1Dot6(bom).output_as_string())
    value["metadata"].pop("timestamp", None)  # says when it was asked for, not what is in the image
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _exported(container: str, environ: Mapping[str, str]) -> list[Package]:
    command = ["docker", "export", container]
    with subprocess.Popen(command, env=dict(environ), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None  # noqa: S101  # both are asked for above
        assert process.stderr is not None  # noqa: S101
        try:
            found = sorted(set(_read(process.stdout)))
        except tarfile.TarError as exc:
            reason = process.stderr.read().decode(errors="replace").strip()
            raise DockerError(Detail(path="docker export", message=reason or "not a whole archive")) from exc
    return found


def _read(stream: IO[bytes]) -> Iterator[Package]:
    with tarfile.open(fileobj=stream, mode="r|") as archive:
        for member in archive:
            if member.isfile() and member.size < _LARGEST and _METADATA.fullmatch(member.name):
                file = archive.extractfile(member)
                assert file is not None  # noqa: S101  # it is a file
                yield _package(file.read())


def _package(metadata: bytes) -> Package:
    fields = email.parser.BytesHeaderParser().parsebytes(metadata)
    name = re.sub(r"[-_.]+", "-", str(fields.get("Name", ""))).lower()  # PEP 503, as package URLs want it
    return Package(name, str(fields.get("Version", "")), str(fields.get("License-Expression", "")))

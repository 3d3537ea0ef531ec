"""The bill of materials: which files of an image count, and what it says of them."""

from __future__ import annotations

import io
import json
import tarfile

import pytest

from apps.core.images.distribution import MANIFEST, Manifest
from apps.core.images.labels import Labels
from apps.core.images.sbom import Package, _read, bill
from apps.core.images.stored import StoredImage
from apps.core.registry import Digest, ImageReference

DIGEST = Digest.parse("sha256:" + "0" * 64)
IMAGE = StoredImage(
    ImageReference("ghcr.io/o/i", DIGEST), "amd64", Labels("ns/name@1", "s"), Manifest(DIGEST, MANIFEST, {}, 2)
)
SITE = "opt/venv/lib/python3.12/site-packages"
METADATA = b"Metadata-Version: 2.4\nName: Demo_Pkg.x\nVersion: 1.2\nLicense-Expression: MIT OR Apache-2.0\n\nName: no\n"


def exported(*names: str) -> io.BytesIO:
    """Return an image's file system that holds metadata under *names*."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = len(METADATA)
            archive.addfile(member, io.BytesIO(METADATA))
    stream.seek(0)
    return stream


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        (f"{SITE}/demo-1.2.dist-info/METADATA", True),
        ("usr/lib/python3/dist-packages/demo-1.2.egg-info/PKG-INFO", True),
        ("usr/lib/python3/dist-packages/demo-1.2.egg-info", True),
        (f"{SITE}/setuptools/_vendor/demo-1.2.dist-info/METADATA", False),
        (f"{SITE}/demo-1.2.dist-info/RECORD", False),
        ("srv/processor/app/demo-1.2.dist-info/METADATA", False),
    ],
    ids=["a wheel", "an egg", "an old egg", "a copy inside another", "another file of it", "not installed"],
)
def test_what_is_installed_counts_and_nothing_else(name: str, *, counts: bool) -> None:
    """Whatever is installed leaves its metadata directly in a folder of packages."""
    found = [Package("demo-pkg-x", "1.2", "MIT OR Apache-2.0")] if counts else []

    assert list(_read(exported(name, "etc/passwd"))) == found


def test_it_names_each_package_and_the_image() -> None:
    """As CycloneDX 1.6, by package URLs, which every scanner reads."""
    value = json.loads(bill(IMAGE, [Package("a", "1", "MIT"), Package("b", "2", "")]))

    assert (value["bomFormat"], value["specVersion"]) == ("CycloneDX", "1.6")
    assert [(row["purl"], row.get("licenses")) for row in value["components"]] == [
        ("pkg:pypi/a@1", [{"expression": "MIT"}]),
        ("pkg:pypi/b@2", None),
    ]
    about = value["metadata"]["component"]
    assert (about["type"], about["name"], about["version"]) == ("container", "ns/name@1", str(DIGEST))


def test_the_same_packages_are_the_same_bytes() -> None:
    """So that attaching it again attaches nothing."""
    packages = [Package("a", "1", "MIT")]

    assert bill(IMAGE, packages) == bill(IMAGE, packages)
    assert b"timestamp" not in bill(IMAGE, packages)

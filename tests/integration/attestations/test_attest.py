"""From a pin to what is attested of it, and back: in a real image registry, with each guard broken once."""

from __future__ import annotations

import asyncio
import json
import os
from typing import Any

import httpx2
import pytest

from apps.core.attestations import store
from apps.core.attestations.bundle import signed
from apps.core.attestations.errors import SignatureError
from apps.core.attestations.keys import SIGNING_KEY, signer
from apps.core.attestations.statement import BILL, PROVENANCE
from apps.core.images import sbom
from apps.core.images.distribution import EMPTY, INDEX, MANIFEST, Distribution
from apps.core.images.errors import OtherSourceError
from apps.core.images.stored import stored
from apps.core.registry import Ref, Repository
from tests.integration.attestations.conftest import PLATFORM, Published
from tests.support.docker import Engine
from tests.support.keys import key_pair


def test_what_is_attested_can_be_proved(published: Published, engine: Engine) -> None:
    """Once: how it was built, on what, and what is in it; a second time there is nothing to do."""
    first, second = published.attest(), published.attest()
    attested = published.verify()

    assert (first.state, second.state) == ("attested", "unchanged")
    made_of = attested.provenance["predicate"]["buildDefinition"]["resolvedDependencies"]
    base = engine.docker("inspect", "--format", "{{.Id}}", f"{published.tiny.folder.name}-base:1")
    assert {row["name"]: row["digest"] for row in made_of}["base-image"] == {"sha256": base.removeprefix("sha256:")}
    assert {row["name"] for row in attested.bill["predicate"]["components"]} == {"demo-pkg", "other"}


def test_they_lie_where_cosign_looks(published: Published) -> None:
    """Sigstore bundles that refer to the image, each annotated with what it holds."""
    published.attest()
    reference = published.reference
    host, _, path = reference.repository.partition("/")

    # Debian's registry has no referrers API: by the specification the list is then under a tag
    accept = {"Accept": f"{INDEX}, {MANIFEST}"}

    def manifest(name: str) -> Any:
        return httpx2.get(f"http://{host}/v2/{path}/manifests/{name}", headers=accept).json()

    listed = manifest(str(reference.digest).replace(":", "-"))
    rows = [
        row for row in listed["manifests"] if row["artifactType"] == "application/vnd.dev.sigstore.bundle.v0.3+json"
    ]
    manifests = [manifest(row["digest"]) for row in rows]
    bundles = [httpx2.get(f"http://{host}/v2/{path}/blobs/{each['layers'][0]['digest']}").json() for each in manifests]

    for each in (manifests, rows):
        assert {one["annotations"]["dev.sigstore.bundle.predicateType"] for one in each} == {PROVENANCE, BILL}
    assert {each["subject"]["digest"] for each in manifests} == {str(reference.digest)}
    assert {each["config"]["mediaType"] for each in manifests} == {"application/vnd.oci.empty.v1+json"}
    assert all(set(each) == {"mediaType", "verificationMaterial", "dsseEnvelope"} for each in bundles)


def test_a_signature_by_another_key_proves_nothing(published: Published) -> None:
    """Nor does the right key's absence go unseen: the reasons name each bundle that did not count."""
    published.attest(key_pair(published.folder))

    with pytest.raises(SignatureError) as caught:
        published.verify()

    reasons = [detail["message"] for detail in caught.value.details]
    assert reasons[:2] == [
        "no trusted key attests SLSA provenance v1",
        "no trusted key attests a CycloneDX bill of materials",
    ]
    assert [reason.partition(" ")[2] for reason in reasons[2:]] == [
        "was altered, or signed by a key that is not trusted"
    ] * 2


def test_a_second_signer_can_be_trusted_beside_the_first(published: Published) -> None:
    """A key is rotated by trusting both for a while."""
    other = key_pair(published.folder, "ecdsa")
    published.attest(other)

    assert published.attest().state == "attested"
    assert published.verify(other).bill == published.verify().bill


def test_an_image_that_nobody_attests_is_refused(published: Published) -> None:
    """Published and pinned is not enough."""
    with pytest.raises(SignatureError, match="signature not accepted"):
        published.verify()


def test_another_bill_of_materials_beside_it_is_seen(published: Published) -> None:
    """What readers find there is the one that was signed, or there is no proof."""
    published.attest()

    async def replace_bill() -> None:
        async with Distribution.open(Repository.parse(published.reference.repository), os.environ) as distribution:
            image = await stored(distribution, str(published.reference.digest), PLATFORM)
            beside = {"bomFormat": "CycloneDX", "components": []}
            await distribution.put_manifest(
                {
                    "schemaVersion": 2,
                    "mediaType": MANIFEST,
                    "artifactType": sbom.MEDIA_TYPE,
                    "config": await distribution.put_blob(b"{}", EMPTY),
                    "layers": [await distribution.put_blob(json.dumps(beside).encode(), sbom.MEDIA_TYPE)],
                    "subject": image.manifest.descriptor(),
                }
            )

    asyncio.run(replace_bill())

    with pytest.raises(SignatureError) as caught:
        published.verify()
    assert "is not the one that was signed" in caught.value.details[0]["message"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        pytest.param({"subject": [{"digest": {"sha256": "0" * 64}}]}, "is about another image", id="another image"),
        pytest.param({"_type": "https://in-toto.io/Statement/v0.1"}, "is about another image", id="another form"),
        pytest.param({"predicate": {}}, "says no ref or builder", id="says nothing"),
    ],
)
def test_a_signed_statement_must_be_about_this_image(published: Published, change: dict[str, Any], reason: str) -> None:
    """A true signature under something else is moved here in vain."""
    published.attest(other := key_pair(published.folder))
    attested = published.verify(other)
    for statement in ({**attested.provenance, **change}, attested.bill):
        put(published, statement)

    with pytest.raises(SignatureError) as caught:
        published.verify()
    assert reason in caught.value.details[-1]["message"] or any(
        reason in detail["message"] for detail in caught.value.details
    )


def test_provenance_of_another_processor_is_refused(published: Published) -> None:
    """An image of one processor does not run as another one."""
    published.attest()

    class Renamed(Published):
        @property
        def registration(self) -> Any:
            return _Other(super().registration)

    renamed = Renamed(published.tiny, published.repository, published.folder)
    with pytest.raises(SignatureError) as caught:
        renamed.verify(published.key)
    assert f"its provenance is of {published.tiny.ref}, and this is other/one@1" in caught.value.details[0]["message"]


class _Other:
    """A registration with another ref."""

    def __init__(self, inner: Any) -> None:
        self.ref = Ref.parse("other/one@1")
        self.platforms = inner.platforms


def test_what_was_built_from_other_source_is_not_attested(published: Published) -> None:
    """We say of nothing that we do not know it how it was made."""
    published.tiny.write("app/handler.py", "words = 2\n")

    with pytest.raises(OtherSourceError) as caught:
        published.attest()
    assert "was not built from the source as it is here" in caught.value.details[0]["message"]


def test_a_base_image_that_was_exchanged_is_seen(published: Published, engine: Engine) -> None:
    """Its name stands for something else now: the image's own layers say so."""
    name = f"{published.tiny.folder.name}-base:1"
    other = published.folder / "other"
    other.mkdir()
    (other / "file").write_text("of another base\n", encoding="utf-8")
    (other / "Dockerfile").write_text("FROM scratch\nCOPY file /\n", encoding="utf-8")
    engine.docker("build", "--tag", name, str(other))

    with pytest.raises(OtherSourceError) as caught:
        published.attest()
    assert f"was not built on what {name} is here" in caught.value.details[0]["message"]


def put(published: Published, statement: dict[str, Any]) -> None:
    """Attach *statement*, signed by our key."""

    async def attach() -> None:
        async with Distribution.open(Repository.parse(published.reference.repository), os.environ) as distribution:
            image = await stored(distribution, str(published.reference.digest), PLATFORM)
            bundle = signed(statement, signer({SIGNING_KEY: published.key.private}))
            await store.attach(distribution, image, bundle, str(statement["predicateType"]))

    asyncio.run(attach())

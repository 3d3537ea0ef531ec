"""What an image registry may answer: kept promises, other referrers than we list ourselves, and lies."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import httpx2
import pytest

from apps.core.images.distribution import INDEX, MANIFEST, Distribution
from apps.core.images.errors import ImageNotFoundError, ImageRegistryError
from apps.core.registry import Digest, Repository

REPOSITORY = Repository("images.example", "o/i")
SUBJECT = {"mediaType": MANIFEST, "digest": "sha256:" + "5" * 64, "size": 2}
ARTIFACT = {"schemaVersion": 2, "mediaType": MANIFEST, "artifactType": "text/x", "subject": SUBJECT}
T = TypeVar("T")

Serve = Callable[[httpx2.Request], httpx2.Response]


def asked(serve: Serve, work: Callable[[Distribution], Awaitable[T]]) -> T:
    """Return what *work* returns of a repository whose image registry is *serve*."""

    async def run() -> T:
        base = f"https://{REPOSITORY.host}/v2/{REPOSITORY.path}/"
        async with httpx2.AsyncClient(transport=httpx2.MockTransport(serve), base_url=base) as client:
            return await work(Distribution(REPOSITORY, client))

    return asyncio.run(run())


def test_a_manifest_is_what_its_bytes_are() -> None:
    """Its digest is computed, not believed."""
    body = b'{"mediaType": "x"}'
    headers = {"Docker-Content-Digest": "sha256:" + "0" * 64}

    manifest = asked(lambda _: httpx2.Response(200, content=body, headers=headers), lambda all_: all_.manifest("tag"))

    assert str(manifest.digest) == f"sha256:{hashlib.sha256(body).hexdigest()}"
    assert (manifest.media_type, manifest.size) == ("x", len(body))


@pytest.mark.parametrize("ask", ["manifest", "blob"])
def test_something_else_than_was_asked_for_is_refused(ask: str) -> None:
    """A digest is a promise about bytes, whoever sends them."""
    lie = httpx2.Response(200, json={})

    with pytest.raises(ImageRegistryError) as refused:
        asked(lambda _: lie, lambda all_: getattr(all_, ask)("sha256:" + "0" * 64))

    assert "sha256:" + "0" * 64 in refused.value.details[0]["message"]


@pytest.mark.parametrize(
    ("answer", "error", "reason"),
    [
        pytest.param(httpx2.Response(404), ImageNotFoundError, "has no manifests/tag", id="404"),
        pytest.param(httpx2.Response(401), ImageRegistryError, "docker login images.example", id="401"),
        pytest.param(httpx2.Response(403), ImageRegistryError, "docker login images.example", id="403"),
        pytest.param(
            httpx2.Response(429, json={"errors": [{"code": "TOOMANYREQUESTS", "message": "slow down"}]}),
            ImageRegistryError,
            "answered 429: TOOMANYREQUESTS: slow down",
            id="an error in the specified form",
        ),
        pytest.param(httpx2.Response(502, text="<html>"), ImageRegistryError, "answered 502", id="any other"),
        pytest.param(httpx2.Response(200, text="<html>"), ImageRegistryError, "sent no manifest", id="no JSON"),
        pytest.param(httpx2.Response(200, json=[]), ImageRegistryError, "sent no manifest", id="no object"),
    ],
)
def test_each_answer_that_is_none_has_a_name(
    answer: httpx2.Response, error: type[ImageRegistryError], reason: str
) -> None:
    """What is not there is one thing, a registry that does not answer another."""
    with pytest.raises(error) as refused:
        asked(lambda _: answer, lambda all_: all_.manifest("tag"))

    assert refused.value.details[0]["message"] == reason or reason in refused.value.details[0]["message"]
    assert refused.value.details[0]["path"] == "images.example/o/i"


def test_what_cannot_be_reached_is_told_as_that() -> None:
    """It may be there a minute later."""

    def broken(request: httpx2.Request) -> httpx2.Response:
        raise httpx2.ConnectError("nobody listens", request=request)

    with pytest.raises(ImageRegistryError) as refused:
        asked(broken, lambda all_: all_.manifest("tag"))

    assert refused.value.retryable
    assert "nobody listens" in refused.value.details[0]["message"]


def test_an_image_registry_that_lists_referrers_is_left_to_do_so() -> None:
    """It says so by a header; a list of our own beside it would only grow old."""
    paths: list[str] = []

    def serve(request: httpx2.Request) -> httpx2.Response:
        paths.append(f"{request.method} {request.url.path}")
        if request.method == "PUT":
            return httpx2.Response(201, headers={"OCI-Subject": str(SUBJECT["digest"])})
        return httpx2.Response(200, json={"mediaType": INDEX, "manifests": [{"digest": "sha256:x"}]})

    stored = asked(serve, lambda all_: all_.put_manifest(ARTIFACT))
    found = asked(serve, lambda all_: all_.referrers(Digest.parse(str(SUBJECT["digest"]))))

    assert paths == [f"PUT /v2/o/i/manifests/{stored.digest}", f"GET /v2/o/i/referrers/{SUBJECT['digest']}"]
    assert found == [{"digest": "sha256:x"}]


def test_for_any_other_the_list_is_kept_by_us() -> None:
    """Under the tag that the specification names, once for each artifact."""
    kept: dict[str, bytes] = {}

    def serve(request: httpx2.Request) -> httpx2.Response:
        name = request.url.path.removeprefix("/v2/o/i/")
        if request.method == "PUT":
            kept[name] = request.content
            return httpx2.Response(201)
        return httpx2.Response(200, content=kept[name]) if name in kept else httpx2.Response(404)

    stored = asked(serve, lambda all_: all_.put_manifest(ARTIFACT))
    asked(serve, lambda all_: all_.put_manifest(ARTIFACT))
    other = asked(serve, lambda all_: all_.put_manifest({**ARTIFACT, "artifactType": "text/y"}))

    listed = json.loads(kept[f"manifests/sha256-{'5' * 64}"])
    assert [(row["digest"], row["artifactType"]) for row in listed["manifests"]] == [
        (str(stored.digest), "text/x"),
        (str(other.digest), "text/y"),
    ]


def test_a_blob_goes_where_the_image_registry_says() -> None:
    """To another path, with a query of its own; and not at all if it is there."""
    asked_for: list[str] = []

    def serve(request: httpx2.Request) -> httpx2.Response:
        asked_for.append(f"{request.method} {request.url.path}")
        if request.method == "POST":
            return httpx2.Response(202, headers={"Location": "/elsewhere/1?state=s"})
        if request.method == "PUT":
            assert dict(request.url.params) == {"state": "s", "digest": f"sha256:{hashlib.sha256(b'x').hexdigest()}"}
            return httpx2.Response(201)
        return httpx2.Response(404 if len(asked_for) == 1 else 200)

    first = asked(serve, lambda all_: all_.put_blob(b"x", "text/plain"))
    second = asked(serve, lambda all_: all_.put_blob(b"x", "text/plain"))

    assert first == second == {"mediaType": "text/plain", "digest": first["digest"], "size": 1}
    assert [line.split()[0] for line in asked_for] == ["HEAD", "POST", "PUT", "HEAD"]
    assert asked_for[2] == "PUT /elsewhere/1"


@pytest.mark.parametrize(
    ("host", "scheme"),
    [
        ("127.0.0.1:5000", "http"),
        ("localhost:5000", "http"),
        ("[::1]:5000", "http"),
        ("ghcr.io", "https"),
        ("192.168.0.1:5000", "https"),
        ("docker.io", "https"),
    ],
)
def test_only_this_machine_is_asked_without_tls(tmp_path: Path, host: str, scheme: str) -> None:
    """As Docker does it."""
    environ = {**os.environ, "DOCKER_CONFIG": str(tmp_path)}

    async def address() -> httpx2.URL:
        async with Distribution.open(Repository(host, "o/i"), environ) as distribution:
            return distribution._client.base_url

    url = asyncio.run(address())
    assert url.scheme == scheme
    assert url.host.endswith(host.partition("]")[0].strip("[").partition(":5000")[0])

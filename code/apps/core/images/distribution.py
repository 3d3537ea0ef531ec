"""What an image registry holds, by the OCI distribution API: manifests, blobs, and what refers to an image."""

import hashlib
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, Final, Self

import httpx2

from apps.core.registry import Digest, Repository
from processor_runtime.errors import Detail

from .credentials import credentials
from .errors import ImageNotFoundError, ImageRegistryError
from .login import Login

INDEX: Final = "application/vnd.oci.image.index.v1+json"
MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
EMPTY: Final = "application/vnd.oci.empty.v1+json"
_DOCKER_LIST: Final = "application/vnd.docker.distribution.manifest.list.v2+json"
_DOCKER_MANIFEST: Final = "application/vnd.docker.distribution.manifest.v2+json"
_MANIFESTS: Final = (MANIFEST, INDEX, _DOCKER_MANIFEST, _DOCKER_LIST)
LISTS: Final = frozenset({INDEX, _DOCKER_LIST})

_HOSTS: Final[Mapping[str, str]] = {"docker.io": "registry-1.docker.io"}  # Docker Hub's API has a name of its own
_LARGEST_JSON: Final = 4 * 1024 * 1024  # bytes: what registries take as a manifest
_ASK_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Manifest:
    """One manifest, and what it is.

    Attributes:
        digest: Computed from its bytes.
        media_type: What kind it is.
        value: Its content, parsed.
        size: In bytes.
    """

    digest: Digest
    media_type: str
    value: dict[str, Any]
    size: int

    def descriptor(self, **more: object) -> dict[str, object]:
        """Return what another manifest names this one by."""
        return {"mediaType": self.media_type, "digest": str(self.digest), "size": self.size, **more}


class Distribution:
    """One repository of an image registry.

    Source: OCI distribution-spec v1.1.
    """

    def __init__(self, repository: Repository, client: httpx2.AsyncClient) -> None:
        self.repository = repository
        self._client = client

    @classmethod
    @asynccontextmanager
    async def open(cls, repository: Repository, environ: Mapping[str, str]) -> AsyncIterator[Self]:
        """Give *repository*, with the login that Docker has for it; over TLS unless it is on this machine.

        Raises:
            ImageRegistryError: Docker's configuration cannot be used; and in the block, whatever goes wrong.
        """
        host = _HOSTS.get(repository.host, repository.host)
        login = Login(host, await credentials(repository.host, environ))
        address = f"{_scheme(host)}://{host}/v2/{repository.path}/"
        async with httpx2.AsyncClient(base_url=address, auth=login, follow_redirects=True, timeout=_ASK_S) as client:
            yield cls(repository, client)

    async def manifest(self, name: str) -> Manifest:
        """Return the manifest *name*: a tag, or a digest, which it is then checked against.

        Raises:
            ImageNotFoundError: there is none.
            ImageRegistryError: refused, not reachable, or another one was sent.
        """
        answer = await self._ask("GET", f"manifests/{name}", headers={"Accept": ", ".join(_MANIFESTS)})
        digest = _digest(answer.content)
        if ":" in name and name != str(digest):
            raise ImageRegistryError(self._detail(f"answered {digest} for {name}"))
        value = _parsed(answer, self._detail("sent no manifest"))
        media_type = answer.headers.get("Content-Type", value.get("mediaType", "")).partition(";")[0]
        return Manifest(digest, media_type, value, len(answer.content))

    async def blob(self, digest: str) -> dict[str, Any]:
        """Return the JSON object in the blob *digest*: an image's configuration, say.

        Raises:
            ImageNotFoundError: there is none.
            ImageRegistryError: refused, not reachable, or another one was sent.
        """
        answer = await self._ask("GET", f"blobs/{digest}")
        if digest != str(_digest(answer.content)):
            raise ImageRegistryError(self._detail(f"sent something else for {digest}"))
        return _parsed(answer, self._detail(f"{digest} is no JSON object"))

    async def put_blob(self, data: bytes, media_type: str) -> dict[str, object]:
        """Store *data* unless it is there, and return the descriptor to name it by.

        Raises:
            ImageRegistryError: refused, or not reachable.
        """
        descriptor: dict[str, object] = {"mediaType": media_type, "digest": str(_digest(data)), "size": len(data)}
        if await self._has(f"blobs/{descriptor['digest']}"):
            return descriptor
        opened = await self._ask("POST", "blobs/uploads/")
        # the place may come with a query of its own, on this host or another
        place = opened.url.join(opened.headers["Location"]).copy_add_param("digest", str(descriptor["digest"]))
        await self._ask("PUT", str(place), content=data, headers={"Content-Type": "application/octet-stream"})
        return descriptor

    async def put_manifest(self, value: Mapping[str, Any], name: str | None = None) -> Manifest:
        """Store the manifest *value* under the tag *name*, or under its own digest.

        Raises:
            ImageRegistryError: refused, or not reachable.
        """
        data = json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
        digest = _digest(data)
        manifest = Manifest(digest, value["mediaType"], dict(value), len(data))
        headers = {"Content-Type": manifest.media_type}
        answer = await self._ask("PUT", f"manifests/{name or digest}", content=data, headers=headers)
        # an image registry that knows referrers says so; for any other, the client keeps the list
        if "subject" in value and "OCI-Subject" not in answer.headers:
            await self._list_referrer(manifest)
        return manifest

    async def referrers(self, digest: Digest) -> list[dict[str, Any]]:
        """Return the descriptors of all that refers to the image *digest*.

        Raises:
            ImageRegistryError: refused, or not reachable.

        Source: OCI distribution-spec v1.1, "Listing Referrers" and "Referrers Tag Schema".
        """
        try:
            answer = await self._ask("GET", f"referrers/{digest}", headers={"Accept": INDEX})
        except ImageNotFoundError:
            listed = await self._listed(digest)
        else:
            listed = _parsed(answer, self._detail("sent no list of referrers"))
        return list(listed.get("manifests", []))

    async def _list_referrer(self, manifest: Manifest) -> None:
        subject = Digest.parse(manifest.value["subject"]["digest"])
        known = [row for row in await self.referrers(subject) if row["digest"] != str(manifest.digest)]
        # as an image registry would list it
        told = {name: manifest.value[name] for name in ("artifactType", "annotations") if name in manifest.value}
        row = manifest.descriptor(**told)
        await self.put_manifest(
            {"schemaVersion": 2, "mediaType": INDEX, "manifests": [*known, row]}, _referrers_tag(subject)
        )

    async def _listed(self, digest: Digest) -> dict[str, Any]:
        try:
            return (await self.manifest(_referrers_tag(digest))).value
        except ImageNotFoundError:
            return {}

    async def _has(self, path: str) -> bool:
        try:
            await self._ask("HEAD", path)
        except ImageNotFoundError:
            return False
        return True

    async def _ask(self, method: str, path: str, **options: Any) -> httpx2.Response:
        try:
            answer = await self._client.request(method, path, **options)
        except httpx2.HTTPError as exc:
            raise ImageRegistryError(self._detail(f"cannot be asked: {str(exc) or type(exc).__name__}")) from exc
        if answer.status_code == httpx2.codes.NOT_FOUND:
            raise ImageNotFoundError(self._detail(f"has no {path}"))
        if answer.status_code in {httpx2.codes.UNAUTHORIZED, httpx2.codes.FORBIDDEN}:
            reason = f"refuses this login: `docker login {self.repository.host}`"
            raise ImageRegistryError(self._detail(reason), status=answer.status_code)
        if answer.is_error or len(answer.content) > _LARGEST_JSON:
            raise ImageRegistryError(self._detail(f"answered {answer.status_code}{_reason(answer)}"))
        return answer

    def _detail(self, message: str) -> Detail:
        return Detail(path=str(self.repository), message=message)


def _scheme(host: str) -> str:
    name = httpx2.URL(f"https://{host}").host
    return "http" if name == "localhost" or _is_loopback(name) else "https"  # as Docker does it


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _referrers_tag(digest: Digest) -> str:
    return str(digest).replace(":", "-")


def _digest(data: bytes) -> Digest:
    return Digest.parse(f"sha256:{hashlib.sha256(data).hexdigest()}")


def _parsed(answer: httpx2.Response, otherwise: Detail) -> dict[str, Any]:
    try:
        value = json.loads(answer.content)
    except ValueError as exc:
        raise ImageRegistryError(otherwise) from exc
    if not isinstance(value, dict):
        raise ImageRegistryError(otherwise)
    return value


def _reason(answer: httpx2.Response) -> str:
    """Return what an error says of itself, if it says it in the specified form.

    Source: OCI distribution-spec v1.1, "Error Codes".
    """
    try:
        (first, *_) = json.loads(answer.content)["errors"]
        return f": {first['code']}: {first.get('message', '')}"
    except (ValueError, KeyError, TypeError):
        return ""

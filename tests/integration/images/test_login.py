"""Image registries that let nobody in without a login: Debian's own, by password and by a token service."""

from __future__ import annotations

import asyncio
import base64
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from apps.core.images.distribution import MANIFEST, Distribution
from apps.core.images.errors import ImageRegistryError
from apps.core.images.publish import publish
from apps.core.registry import Repository
from tests.integration.images.conftest import Tiny
from tests.support.docker import Engine, ImageRegistry, serving

# `of-no-use` by bcrypt, as htpasswd keeps it
HTPASSWD = "tester:$2b$04$aspgeivaDU5FCGefI9/xQ.Sq1zw7au3q0v92/P6dpBSkmlsHfUbR6\n"
PASSWORD = "of-no-use"


@pytest.fixture
def guarded(engine: Engine, image_registry: ImageRegistry, tmp_path: Path) -> Iterator[ImageRegistry]:
    """Give an image registry that asks for a name and a password."""
    assert engine.version
    assert image_registry.host  # so that a machine without the program is told by that fixture
    folder = tmp_path / "guarded"
    folder.mkdir()
    (folder / "htpasswd").write_text(HTPASSWD, encoding="ascii")
    auth = {"htpasswd": {"realm": "test", "path": str(folder / "htpasswd")}}
    with serving(folder, auth=auth) as registry:
        yield registry


def environ(tmp_path: Path) -> Mapping[str, str]:
    """Return an environment in which Docker's configuration is the test's own."""
    return {**os.environ, "DOCKER_CONFIG": str(tmp_path / "docker"), "DOCKER_BUILDKIT": "0"}


def stores(repository: Repository, environ: Mapping[str, str]) -> str:
    """Store a blob and a manifest that names it; return its digest."""

    async def work() -> str:
        async with Distribution.open(repository, environ) as distribution:
            config = await distribution.put_blob(b"{}", "application/vnd.oci.image.config.v1+json")
            value = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [config]}
            return str((await distribution.put_manifest(value, "tag")).digest)

    return asyncio.run(work())


def test_a_login_of_docker_is_a_login_of_ours(
    engine: Engine, guarded: ImageRegistry, tiny: Tiny, tmp_path: Path
) -> None:
    """`docker login` once; then an image is built, pushed, and its bill of materials attached."""
    ours = environ(tmp_path)
    login = ("login", "--username", "tester", "--password-stdin", guarded.host)
    engine.docker(*login, input=PASSWORD, env=ours)

    repository = Repository.parse(guarded.repository())
    there = asyncio.run(publish(tiny.registration, repository, platform="amd64", environ=ours))

    assert there.state == "published"
    assert there.bill


@pytest.mark.parametrize("password", ["", "wrong"], ids=["nobody", "a wrong password"])
def test_without_one_it_says_how_to_log_in(guarded: ImageRegistry, tmp_path: Path, password: str) -> None:
    """Before anything is built."""
    if password:
        auth = base64.b64encode(f"tester:{password}".encode()).decode()
        (tmp_path / "docker").mkdir()
        text = f'{{"auths": {{"{guarded.host}": {{"auth": "{auth}"}}}}}}'
        (tmp_path / "docker" / "config.json").write_text(text, encoding="ascii")

    with pytest.raises(ImageRegistryError) as refused:
        stores(Repository.parse(guarded.repository()), environ(tmp_path))

    assert f"docker login {guarded.host}" in refused.value.details[0]["message"]


class TokenService(BaseHTTPRequestHandler):
    """Gives everybody a token, and keeps what it was asked."""

    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:  # the name that http.server calls
        """Answer one request for a token."""
        self.asked.append(self.path)
        body = b'{"token": "anything"}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def token_service() -> Iterator[str]:
    """Give the address of a token service."""
    with ThreadingHTTPServer(("127.0.0.1", 0), TokenService) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/token"
        server.shutdown()
        thread.join()


def test_a_token_service_is_asked_where_the_image_registry_names_one(
    image_registry: ImageRegistry, tmp_path: Path
) -> None:
    """As ghcr.io does it; the registry's own test mode takes any token, and none without."""
    assert image_registry.host
    (tmp_path / "silly").mkdir()
    with (
        token_service() as realm,
        serving(tmp_path / "silly", auth={"silly": {"realm": realm, "service": "test"}}) as registry,
    ):
        digest = stores(Repository.parse(registry.repository()), environ(tmp_path))

    assert digest.startswith("sha256:")
    assert any("service=test" in path and "pull" in path for path in TokenService.asked)

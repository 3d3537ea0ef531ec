"""The fixtures of Docker do what their words say: the engine, its containers' addresses, and the image registry."""

from __future__ import annotations

import socket
import tarfile
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest

from tests.support.docker import Engine, ImageRegistry, missing, serving
from tests.support.docker_host import IN_CI
from tests.support.service import wait_until

ANSWER = "import socket; server = socket.create_server(('', 8000)); server.accept()[0].sendall(b'hello')"


@pytest.fixture
def container(engine: Engine, base_image: str) -> Iterator[str]:
    """Give a container that answers one connection."""
    name = engine.docker("run", "--detach", base_image, "python", "-c", ANSWER)
    yield name
    engine.docker("rm", "--force", name)


def test_a_test_may_connect_to_a_container(engine: Engine, container: str) -> None:
    """Its address is not loopback, and it is this machine all the same."""
    address = engine.docker("inspect", "--format", "{{.NetworkSettings.IPAddress}}", container)

    def heard() -> bytes:
        try:
            with socket.create_connection((address, 8000), timeout=5) as connection:
                return connection.recv(100)
        except ConnectionRefusedError:  # not listening yet
            return b""

    assert wait_until(heard, lambda: "an answer") == b"hello"


def test_a_registry_keeps_what_it_is_given_and_stops(engine: Engine, tmp_path: Path) -> None:
    """Debian's own, in a folder of the test's; afterwards nobody listens there."""
    archive = tmp_path / "small.tar"
    with tarfile.open(archive, "w") as tar:
        tar.add(__file__, "small.py")
    with serving(tmp_path) as registry:
        name = f"{registry.repository()}:1"
        engine.docker("import", str(archive), name)
        assert "digest: sha256:" in engine.docker("push", name)
        engine.docker("rmi", name)
        engine.docker("pull", name)
        engine.docker("rmi", name)

    assert any((tmp_path / "data").rglob("_manifests"))
    with pytest.raises(ConnectionRefusedError):
        HTTPConnection(registry.host).connect()


def test_the_shared_registry_gives_each_test_a_repository(image_registry: ImageRegistry) -> None:
    """No test sees what another one pushed."""
    assert image_registry.repository() != image_registry.repository()
    assert image_registry.repository().startswith(f"{image_registry.host}/")


@pytest.mark.parametrize(
    ("in_ci", "outcome"), [(True, pytest.fail.Exception), (False, pytest.skip.Exception)], ids=["CI", "a laptop"]
)
def test_what_is_missing_fails_in_ci_and_is_named_elsewhere(
    pytestconfig: pytest.Config, monkeypatch: pytest.MonkeyPatch, outcome: type[BaseException], *, in_ci: bool
) -> None:
    """A skip in CI would be a promise that nobody checks."""
    monkeypatch.setitem(pytestconfig.stash._storage, IN_CI, in_ci)

    with pytest.raises(outcome, match="no engine, say"):
        missing(pytestconfig, "no engine, say")

"""A real Docker Engine and a real image registry, as fixtures of every test.

A test that asks for `engine` is marked `docker`. A machine without one fails it in CI, and skips it by name elsewhere;
`make test` sets one up where it can. What a test makes on the engine it removes; images that were built from our own
source stay, so that the next run finds them.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any, Final, NoReturn

import pytest
import yaml

from apps.core.images.build import BuiltImage, build
from apps.core.images.labels import REF
from apps.core.registry import Ref, load_registry
from scripts import ensure_docker, make_base_image
from tests.support.docker_host import IN_CI
from tests.support.service import wait_until

_ATTEMPTS: Final = 5  # at finding a port that nobody else takes first
_ANY_STATUS: Final = 600

Built = Callable[[str], BuiltImage]


@dataclass(frozen=True, slots=True)
class Engine:
    """The engine that tests use."""

    version: str

    def docker(self, *arguments: str, **options: Any) -> str:
        """Return what `docker <arguments>` wrote to stdout; a failure shows what it wrote to stderr."""
        done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False, **options)
        assert done.returncode == 0, done.stderr
        return str(done.stdout).strip()


@dataclass(frozen=True, slots=True)
class ImageRegistry:
    """A running image registry.

    Attributes:
        host: Where it listens, as the first part of a repository's name.
        folder: Where it keeps what it was given.
    """

    host: str
    folder: Path

    def repository(self) -> str:
        """Return the name of a repository that no other test uses."""
        return f"{self.host}/tests/{uuid.uuid4().hex}"


def missing(config: pytest.Config, reason: str) -> NoReturn:
    """Fail in CI, where everything is set up; skip on a laptop, and say why."""
    if config.stash[IN_CI]:
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def engine(pytestconfig: pytest.Config) -> Engine:
    """Return the Docker Engine of this machine."""
    version, reason = ensure_docker.asked()
    if not version:
        missing(pytestconfig, f"no Docker Engine answers ({reason}): see `make docker`")
    return Engine(version)


@pytest.fixture(scope="session")
def base_image(engine: Engine, pytestconfig: pytest.Config) -> str:
    """Return the image that ours are built on: made here, else the public one."""
    for name in (make_base_image.TAG, make_base_image.PUBLIC):
        if subprocess.run(["docker", "image", "inspect", name], capture_output=True, check=False).returncode == 0:
            return name
    pulled = subprocess.run(["docker", "pull", make_base_image.PUBLIC], capture_output=True, check=False)
    if pulled.returncode:
        missing(pytestconfig, f"engine {engine.version} has no base image and can pull none: see `make base-image`")
    return make_base_image.PUBLIC


@pytest.fixture(scope="session")
def built(engine: Engine, base_image: str) -> Built:
    """Return what gives the image of one of our processors by its ref, built if the engine has none of this source.

    Images of other source than there is now go after two days: a test host has no endless disk.
    """
    registry = load_registry()

    def image(ref: str) -> BuiltImage:
        made = asyncio.run(build(registry.find(Ref.parse(ref)), environ=os.environ, base_image=base_image))
        if not made.reused:
            engine.docker("image", "prune", "--all", "--force", "--filter=until=48h", f"--filter=label={REF}={ref}")
        return made

    return image


@pytest.fixture(scope="session")
def image_registry(
    engine: Engine, tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config
) -> Iterator[ImageRegistry]:
    """Give an image registry that the engine can push to and pull from, for as long as tests run."""
    assert engine.version
    if not shutil.which("docker-registry"):
        missing(
            pytestconfig, "there is no docker-registry: `apt-get install docker-registry`, or `make docker` as root"
        )
    with serving(tmp_path_factory.mktemp("image-registry")) as started:
        yield started
        _forget(engine, started.host)


@contextmanager
def serving(folder: Path, **settings: Mapping[str, Any]) -> Iterator[ImageRegistry]:
    """Give Debian's docker-registry on a free port of loopback, with *settings* (`auth`, say) beside our own."""
    for _ in range(_ATTEMPTS):
        with socket.create_server(("127.0.0.1", 0)) as server:
            host = f"127.0.0.1:{server.getsockname()[1]}"
        process = _started(folder, host, settings)
        try:
            if _is_up(process, host):
                yield ImageRegistry(host, folder)
                return
        finally:
            process.terminate()
            process.wait()
    pytest.fail((folder / "log").read_text("utf-8"), pytrace=False)


def _forget(engine: Engine, host: str) -> None:
    """Take the names away that images have on *host*: nobody will answer there any more."""
    rows = engine.docker("images", "--digests", "--format", "{{.Repository}}:{{.Tag}} {{.Repository}}@{{.Digest}}")
    names = [name for name in rows.split() if name.startswith(f"{host}/") and "<none>" not in name]
    for name in dict.fromkeys(names):  # one by one: with a tag its digest may be gone already
        subprocess.run(["docker", "rmi", name], capture_output=True, check=False)


def _started(folder: Path, host: str, settings: Mapping[str, Mapping[str, Any]]) -> subprocess.Popen[bytes]:
    configuration = {
        "version": 0.1,
        "log": {"level": "warn", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(folder / "data")}, "delete": {"enabled": True}},
        "http": {"addr": host, "secret": "of no use to anybody"},
        **settings,
    }
    (folder / "config.yml").write_text(yaml.safe_dump(configuration), encoding="utf-8")
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(
            ["docker-registry", "serve", folder / "config.yml"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )


def _is_up(process: subprocess.Popen[bytes], host: str) -> bool:
    wait_until(lambda: process.poll() is not None or _answers(host), lambda: "an image registry")
    return process.poll() is None


def _answers(host: str) -> bool:
    with closing(HTTPConnection(host, timeout=1)) as connection:
        try:
            connection.request("GET", "/v2/")
            return connection.getresponse().status < _ANY_STATUS
        except (OSError, HTTPException):
            return False


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test that needs the engine, so that it can be left out."""
    for item in items:
        if "engine" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.docker)

"""What tests of containers share: fixture processors as pinned images, and a look at what is left on the engine.

boxes = Boxes.made(folder, base, image_registry)     # once a session: see tests/support/boxes.py
host = boxes.host(tmp_path)
envelope = asyncio.run(execute(boxed("look"), host, story.journal))
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from apps.core.adapters.journal import Journal
from apps.core.adapters.local.adapter import LocalAdapter
from apps.core.adapters.local.control import Found, containers
from apps.core.adapters.local.engine import Engine as Door
from apps.core.adapters.local.image import host_platform
from apps.core.adapters.local.site import Site
from apps.core.executions import execute, resolve
from apps.core.host import Host
from apps.core.images.build import build
from apps.core.registry import load_registration
from apps.core.request import ExecutionRequest, new_execution_id
from tests.support.docker import Engine, ImageRegistry
from tests.support.executions import FIXTURES, Story, host_in
from tests.support.service import wait_until

JsonObject = dict[str, Any]

SOCKET: Final = "unix:///var/run/docker.sock"
_DOCKERFILE: Final = """\
ARG BASE_IMAGE=none
FROM ${BASE_IMAGE}
COPY registry.yaml /srv/fixture/
COPY app /srv/fixture/app
ENV PYTHONPATH=/srv/fixture
WORKDIR /srv/fixture
"""


def place(fixture: str, into: Path) -> Path:
    """Return a copy of a fixture processor below *into* that can be built: on an image which holds the runtime."""
    folder = into / fixture
    shutil.copytree(FIXTURES / fixture, folder, ignore=shutil.ignore_patterns("__pycache__"))
    change(folder, build={"context": "."})
    (folder / "Dockerfile").write_text(_DOCKERFILE, encoding="utf-8")
    return folder


def change(folder: Path, **changes: object) -> None:
    """Write *changes* into the registry of *folder*, as JSON: it is YAML too, and the image has no reader of YAML."""
    path = folder / "registry.yaml"
    path.write_text(json.dumps({**yaml.safe_load(path.read_text("utf-8")), **changes}), encoding="utf-8")


def pin(folder: Path, reference: str, platform: str | None = None) -> None:
    """Pin *reference* in the registry of *folder*."""
    name = platform or host_platform()
    change(folder, image={"platforms": {name: reference}, "default_platform": name})


@dataclass(frozen=True, slots=True)
class Boxes:
    """Fixture processors whose images an image registry holds.

    Attributes:
        processors: The folder of the processors, pinned.
        base: The image that they are built on.
        engine: The engine that they run on.
        registry: Where they are pushed to.
        names: What the engine calls those that were built.
    """

    processors: Path
    base: str
    engine: Engine
    registry: ImageRegistry
    names: set[str] = field(default_factory=set)

    @classmethod
    def made(cls, folder: Path, base: str, engine: Engine, registry: ImageRegistry) -> Boxes:
        """Return the fixtures of tests here, built, pushed and pinned below *folder*."""
        boxes = cls(folder, base, engine, registry)
        for fixture in ("fix_box", "fix_raw"):
            boxes.publish(place(fixture, folder))
        return boxes

    def publish(self, folder: Path) -> str:
        """Build what lies in *folder*, push it, pin it there, and return its digest."""
        reference = self.pushed(self.build(folder))
        pin(folder, reference)
        return reference.rpartition("@")[2]

    def build(self, folder: Path) -> str:
        """Return the engine's name for the image of *folder*."""
        registration = load_registration(folder)
        name = asyncio.run(build(registration, environ=os.environ, base_image=self.base)).name
        self.names.add(name)
        return name

    def pushed(self, name: str) -> str:
        """Return ``repository@sha256:…`` of the image *name*, pushed to a repository of its own."""
        repository = self.registry.repository()
        self.engine.docker("tag", name, f"{repository}:t")
        self.engine.docker("push", "--quiet", f"{repository}:t")
        references = json.loads(self.engine.docker("inspect", "--format", "{{json .RepoDigests}}", f"{repository}:t"))
        return next(str(each) for each in references if each.startswith(repository))

    def forget(self) -> None:
        """Take from the engine what was built for these tests, and pushed to their image registry."""
        form = "{{.Repository}} {{.Tag}} {{.Digest}}"
        rows = (row.split() for row in self.engine.docker("images", "--digests", "--format", form).splitlines())
        for name, tag, digest in rows:
            if name.startswith(self.registry.host):
                self.names.add(f"{name}@{digest}" if digest.startswith("sha256:") else f"{name}:{tag}")
        for name in self.names:
            self.engine.docker("rmi", "--force", name)

    def host(self, folder: Path, environ: Mapping[str, str] | None = None, **changes: Any) -> Host:
        """Return this machine with all that it writes below *folder*."""
        kept = {name: os.environ[name] for name in ("HOME", "DOCKER_HOST") if name in os.environ}
        host = host_in(folder, {**kept, "BASE_IMAGE": self.base, **(environ or {})}, processors=self.processors)
        return dataclasses.replace(host, **changes)

    def site(self, host: Host, ref: str = "fix/box@1", **changes: Any) -> Site:
        """Return where containers of *ref* run on *host*."""
        fields: JsonObject = {
            "artifacts_root": host.artifacts_root,
            "environ": host.environ,
            "start_allowance_s": host.start_allowance_s,
            **changes,
        }
        return Site(resolve(ref, host.processors), **fields)

    def adapter(self, host: Host, story: Story, ref: str = "fix/box@1", **changes: Any) -> LocalAdapter:
        """Return the local adapter of *ref* on *host*."""
        return LocalAdapter(self.site(host, ref, **changes), story.journal)


def boxed(do: str = "look", *, to: str | None = None, files: object = None, **changes: Any) -> ExecutionRequest:
    """Return a request to `fix/box@1` by the local adapter, with an id of its own and *changes* made."""
    given = {"do": do, "to": to, "files": files}
    params = {name: value for name, value in given.items() if value is not None}
    fields: JsonObject = {
        "ref": "fix/box@1",
        "adapter": "local",
        "inputs": {"schema": "v1", "params": params},
        "execution_id": new_execution_id(),
        **changes,
    }
    return ExecutionRequest(**fields)


def executed(request: ExecutionRequest, host: Host, story: Story) -> JsonObject:
    """Return the envelope of *request*."""
    return asyncio.run(execute(request, host, story.journal))


def seen(host: Host, envelope: JsonObject) -> JsonObject:
    """Return what the handler wrote to `outputs/data.json`; fails unless it is a success."""
    assert envelope["status"] == "success", envelope
    path = host.artifacts_root / "outputs" / envelope["execution_id"] / "outputs" / "data.json"
    value: JsonObject = json.loads(path.read_bytes())
    return value


def there(host: Host) -> list[Found]:
    """Return the containers that work on the artifacts of *host*."""
    found = asyncio.run(containers(Door(os.environ.get("DOCKER_HOST", SOCKET))))
    return [each for each in found if each.labels.artifacts == str(host.artifacts_root)]


def silent() -> Journal:
    """Return a journal that tells nobody."""
    return Journal(lambda _: None)


async def until(condition: Callable[[], Any], what: str) -> Any:
    """Return the first true value of *condition*, looked at in a thread."""
    return await asyncio.to_thread(wait_until, condition, lambda: what)


async def began(story: Story) -> None:
    """Return when the handler of `fix/box@1` is under way."""
    await until(lambda: story.events("handler.began"), "the handler")

"""Images: the one FROM line of a deploy, and the folder of a processor that stands for it here."""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from grpclib import GRPCError, Status
from modal_proto import api_pb2

from .ids import new_id
from .log import Line, Logs
from .rpc import Call, answers
from .secret import Secrets

_SUCCESS: Final = api_pb2.GenericResult.GENERIC_STATUS_SUCCESS
_FAILURE: Final = api_pb2.GenericResult.GENERIC_STATUS_FAILURE
_BUILD_S: Final = 60  # more than a build takes here


@dataclass(frozen=True, slots=True)
class Image:
    """What stands for an image: a processor's folder, and a Python that can run it.

    Attributes:
        folder: Holds `app/` and `registry.yaml`; it is on PYTHONPATH, as /srv/processor is in the image.
        python: Of the same minor version as this one: the SDK's packages are lent to it, after its own.
        path: More entries of PYTHONPATH, after *folder*.
        environ: What the image's ENV lines say.
        credentials: ``(user, password)`` that a registry secret must hold; ``None`` for a public image.
    """

    folder: Path
    python: Path = Path(sys.executable)
    path: tuple[Path, ...] = ()
    environ: Mapping[str, str] = field(default_factory=dict)
    credentials: tuple[str, str] | None = None


@dataclass
class Build:
    """One definition of an image, and what became of it; Modal builds in a container of an app of its own."""

    definition: api_pb2.Image
    id: str = field(default_factory=lambda: new_id("im"))
    app_id: str = field(default_factory=lambda: new_id("ap"))
    task_id: str = field(default_factory=lambda: new_id("ta"))
    began_at: float = field(default_factory=time.time)
    image: Image | None = None
    log: list[str] = field(default_factory=list)
    result: api_pb2.GenericResult = field(default_factory=api_pb2.GenericResult)


class Images:
    """All images that were asked for, and those that can be pulled.

    Attributes:
        registry: What a FROM line finds, by its image reference. A test fills it.
    """

    def __init__(self, secrets: Secrets, logs: Logs) -> None:
        self.registry: dict[str, Image] = {}
        self._logs = logs
        self._secrets = secrets
        self._builds: dict[str, Build] = {}
        self._cached: dict[str, str] = {}

    def image(self, image_id: str) -> Image:
        """Return what an image that was built stands for."""
        image = self._build(image_id).image
        if image is None:
            raise GRPCError(Status.FAILED_PRECONDITION, f"image {image_id} was never built")
        return image

    @answers("ImageGetOrCreate")
    def get_or_create(self, request: api_pb2.ImageGetOrCreateRequest, _: Call) -> api_pb2.ImageGetOrCreateResponse:
        """Return the id of an image; with a result if that definition was built before."""
        key = _key(request)
        cached = self._cached.get(key)
        if cached and not (request.force_build or request.ignore_cache):
            build = self._build(cached)
            return api_pb2.ImageGetOrCreateResponse(image_id=build.id, result=build.result, metadata=_METADATA)
        build = Build(request.image)
        self._builds[build.id] = build
        self._pull(build)
        if build.image is not None:
            self._cached[key] = build.id
        return api_pb2.ImageGetOrCreateResponse(image_id=build.id)  # no result: the SDK follows the build

    @answers("ImageJoinStreaming")
    async def join(
        self, request: api_pb2.ImageJoinStreamingRequest, _: Call
    ) -> AsyncIterator[api_pb2.ImageJoinStreamingResponse]:
        """Yield the log of a build, then its result."""
        build = self._build(request.image_id)
        logs = [
            api_pb2.TaskLogs(data=line, timestamp=time.time(), file_descriptor=api_pb2.FILE_DESCRIPTOR_STDOUT)
            for line in build.log
        ]
        yield api_pb2.ImageJoinStreamingResponse(task_logs=logs, entry_id="1-0")
        yield api_pb2.ImageJoinStreamingResponse(result=build.result, metadata=_METADATA, entry_id="2-0", eof=True)

    @answers("ImageBuildChainGet")
    def chain(self, request: api_pb2.ImageBuildChainGetRequest, _: Call) -> api_pb2.ImageBuildChainGetResponse:
        """Return who built an image and when: the SDK looks for the log there."""
        build = self._build(request.image_id)
        step = api_pb2.ImageBuildStep(image_id=build.id, builder_app_id=build.app_id, builder_task_id=build.task_id)
        step.started_at.seconds = int(build.began_at)
        step.finished_at.seconds = int(build.began_at) + _BUILD_S
        return api_pb2.ImageBuildChainGetResponse(build_steps=[step])

    @answers("ImageFromId")
    def from_id(self, request: api_pb2.ImageFromIdRequest, _: Call) -> api_pb2.ImageFromIdResponse:
        """Return a handle of an image."""
        return api_pb2.ImageFromIdResponse(image_id=self._build(request.image_id).id, metadata=_METADATA)

    def _build(self, image_id: str) -> Build:
        if image_id not in self._builds:
            raise GRPCError(Status.NOT_FOUND, f"Image {image_id} not found")
        return self._builds[image_id]

    def _pull(self, build: Build) -> None:
        commands = list(build.definition.dockerfile_commands)
        build.log += [f"=> Step {number}: {command}\n" for number, command in enumerate(commands)]
        problem = self._problem(build.definition, commands)
        if problem:
            build.log.append(f"{problem}\n")
            build.result = api_pb2.GenericResult(status=_FAILURE, exception=problem)
        else:
            build.image = self.registry[_reference(commands)]
            build.log.append("Built image\n")
            build.result = api_pb2.GenericResult(status=_SUCCESS)
        for line in build.log:
            self._logs.add(Line(build.app_id, "", build.task_id, 1, line))

    def _problem(self, definition: api_pb2.Image, commands: list[str]) -> str:
        if len(commands) != 1 or not commands[0].startswith("FROM "):
            return f"the local Modal builds one FROM line and nothing else, not {commands}"
        if definition.context_mount_id or definition.context_files or definition.build_function.definition:
            return "the local Modal builds no image that adds files or runs functions"
        reference = _reference(commands)
        image = self.registry.get(reference)
        if image is None:
            return f"Image build failed: {reference}: manifest unknown"
        if image.credentials and image.credentials != self._credentials(definition.image_registry_config):
            return f"Image build failed: {reference}: unauthorized: authentication required"
        return ""

    def _credentials(self, config: api_pb2.ImageRegistryConfig) -> tuple[str, str] | None:
        if config.registry_auth_type != api_pb2.REGISTRY_AUTH_TYPE_STATIC_CREDS:
            return None
        values = self._secrets.values(config.secret_id)
        return values.get("REGISTRY_USERNAME", ""), values.get("REGISTRY_PASSWORD", "")


_METADATA: Final = api_pb2.ImageMetadata(
    python_version_info=sys.version, libc_version_info="glibc 2.36", image_builder_version="2025.06"
)


def _reference(commands: list[str]) -> str:
    return commands[0].removeprefix("FROM ").strip()


def _key(request: api_pb2.ImageGetOrCreateRequest) -> str:
    definition = request.image.SerializeToString(deterministic=True)
    return hashlib.sha256(definition + request.builder_version.encode()).hexdigest()

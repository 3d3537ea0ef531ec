"""Environments: where names of apps, secrets and volumes live."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from grpclib import GRPCError, Status
from modal_proto import api_pb2

from .ids import new_id
from .rpc import Call, answers

# what a workspace of some age has: the SDK then adds layers to an image, unless told a newer version
OLD_BUILDER: Final = "2024.10"


@dataclass
class Environment:
    """One environment and its settings."""

    name: str
    id: str = field(default_factory=lambda: new_id("en"))
    builder_version: str = OLD_BUILDER
    web_suffix: str = ""
    created_at: float = field(default_factory=time.time)


class Environments:
    """All environments of the workspace; the first is the default one."""

    def __init__(self, names: Iterable[str]) -> None:
        self._by_name = {name: Environment(name) for name in names}
        self._default = next(iter(self._by_name))

    def __getitem__(self, name: str) -> Environment:
        found = self._by_name.get(name or self._default)
        if found is None:
            raise GRPCError(Status.NOT_FOUND, f"Environment '{name}' not found")
        return found

    def add(self, name: str) -> Environment:
        """Create the environment *name*."""
        if name in self._by_name:
            raise GRPCError(Status.ALREADY_EXISTS, f"Environment '{name}' already exists")
        return self._by_name.setdefault(name, Environment(name))

    @answers("EnvironmentGetOrCreate")
    def get_or_create(
        self, request: api_pb2.EnvironmentGetOrCreateRequest, _: Call
    ) -> api_pb2.EnvironmentGetOrCreateResponse:
        """Return an environment; the SDK asks once a process, for the builder's version."""
        name = request.deployment_name
        if (
            request.object_creation_type == api_pb2.OBJECT_CREATION_TYPE_CREATE_IF_MISSING
            and name
            and name not in self._by_name
        ):
            self.add(name)
        environment = self[name]
        settings = api_pb2.EnvironmentSettings(
            image_builder_version=environment.builder_version, webhook_suffix=environment.web_suffix
        )
        return api_pb2.EnvironmentGetOrCreateResponse(
            environment_id=environment.id,
            metadata=api_pb2.EnvironmentMetadata(name=environment.name, settings=settings),
        )

    @answers("EnvironmentCreate")
    def create(self, request: api_pb2.EnvironmentCreateRequest, _: Call) -> None:
        """Create an environment."""
        self.add(request.name)

    @answers("EnvironmentDelete")
    def delete(self, request: api_pb2.EnvironmentDeleteRequest, _: Call) -> None:
        """Delete an environment."""
        del self._by_name[self[request.name].name]

    @answers("EnvironmentList")
    def list(self, _request: Any, _: Call) -> api_pb2.EnvironmentListResponse:
        """Return all environments."""
        return api_pb2.EnvironmentListResponse(items=[self._row(environment) for environment in self._by_name.values()])

    @answers("EnvironmentUpdate")
    def update(self, request: api_pb2.EnvironmentUpdateRequest, _: Call) -> api_pb2.EnvironmentListItem:
        """Change an environment's settings."""
        environment = self[request.current_name]
        if request.HasField("name"):
            raise GRPCError(Status.UNIMPLEMENTED, "the local Modal renames no environment")
        if request.HasField("web_suffix"):
            environment.web_suffix = request.web_suffix.value
        if request.HasField("image_builder_version"):
            environment.builder_version = request.image_builder_version
        return self._row(environment)

    def _row(self, environment: Environment) -> api_pb2.EnvironmentListItem:
        return api_pb2.EnvironmentListItem(
            name=environment.name,
            webhook_suffix=environment.web_suffix,
            created_at=environment.created_at,
            default=environment.name == self._default,
            environment_id=environment.id,
            image_builder_version=environment.builder_version,
        )

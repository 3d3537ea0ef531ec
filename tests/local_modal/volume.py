"""Volumes: folders that containers share by commit and reload, and clients by upload and download."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from modal_proto import api_pb2

from .container import Container
from .environment import Environments
from .ids import new_id
from .named import Entry, Shelf
from .rpc import Call, answers
from .view import View


@dataclass
class Volume(Entry):
    """One volume.

    Attributes:
        folder: What is committed: what clients see.
    """

    folder: Path = Path()
    version: api_pb2.VolumeFsVersion.ValueType = api_pb2.VOLUME_FS_VERSION_V1

    def metadata(self) -> api_pb2.VolumeMetadata:
        """Return what the SDK learns of it."""
        return api_pb2.VolumeMetadata(version=self.version, name=self.name, creation_info=self.creation_info())


class Volumes:
    """All volumes of the workspace.

    Args:
        folder: Where their files are.

    Attributes:
        commit_reloads: Whether the SDK is told to reload after each commit, which fails while files are open.
    """

    def __init__(self, folder: Path, environments: Environments) -> None:
        self.commit_reloads = False
        self._folder = folder
        self._environments = environments
        self._shelf: Shelf[Volume] = Shelf("Volume")

    def named(self, name: str, environment: str = "") -> Volume | None:
        """Return the volume of that name: for tests, which may look into its folder."""
        return self._shelf.named(name, self._environments[environment].name)

    def __getitem__(self, volume_id: str) -> Volume:
        return self._shelf[volume_id]

    def mount(self, volume_id: str, container: Container) -> View:
        """Return what *container* sees of a volume, as its /artifacts."""

        def pids() -> list[int]:
            process = container.process
            return [process.pid] if process is not None else []

        return View(self[volume_id].folder, container.artifacts, pids, lambda: self.commit_reloads)

    @answers("VolumeGetOrCreate")
    def get_or_create(self, request: api_pb2.VolumeGetOrCreateRequest, _: Call) -> api_pb2.VolumeGetOrCreateResponse:
        """Return a volume, a new one if the request says so."""
        environment = self._environments[request.environment_name].name

        def make() -> Volume:
            volume = Volume(new_id("vo"), request.deployment_name, environment)
            volume.version = request.version or volume.version
            volume.folder = self._folder / volume.id
            volume.folder.mkdir(parents=True)
            return volume

        volume = self._shelf.get_or_create(request.deployment_name, environment, request.object_creation_type, make)
        return api_pb2.VolumeGetOrCreateResponse(
            volume_id=volume.id, version=volume.version, metadata=volume.metadata()
        )

    @answers("VolumeGetById")
    def get_by_id(self, request: api_pb2.VolumeGetByIdRequest, _: Call) -> api_pb2.VolumeGetByIdResponse:
        """Return a volume by its id."""
        volume = self[request.volume_id]
        return api_pb2.VolumeGetByIdResponse(volume_id=volume.id, metadata=volume.metadata())

    @answers("VolumeList")
    def list(self, request: api_pb2.VolumeListRequest, _: Call) -> api_pb2.VolumeListResponse:
        """Return a page of an environment's volumes."""
        environment = self._environments[request.environment_name].name
        return api_pb2.VolumeListResponse(
            environment_name=environment,
            items=[
                api_pb2.VolumeListItem(
                    label=volume.name, volume_id=volume.id, created_at=volume.created_at, metadata=volume.metadata()
                )
                for volume in self._shelf.page(environment, request.pagination)
            ],
        )

    @answers("VolumeDelete")
    def delete(self, request: api_pb2.VolumeDeleteRequest, _: Call) -> None:
        """Delete a volume and its files."""
        shutil.rmtree(self._shelf.delete(request.volume_id).folder)

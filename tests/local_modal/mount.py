"""Mounts: the source files that the SDK uploads, by their hash; containers run these very bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from grpclib import GRPCError, Status
from modal_proto import api_pb2

from .blob import Blobs
from .ids import new_id
from .rpc import Call, answers

_ROOT: Final = PurePosixPath("/root")  # where Modal mounts a function's source


@dataclass(frozen=True, slots=True)
class Mount:
    """Uploaded files, by their path in the container; none for one that Modal itself provides."""

    id: str
    files: dict[str, str]


class Mounts:
    """All uploaded files and the mounts that name them."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs
        self._contents: dict[str, bytes] = {}
        self._mounts: dict[str, Mount] = {}

    def content(self, sha256_hex: str) -> bytes:
        """Return an uploaded file's bytes."""
        if sha256_hex not in self._contents:
            raise GRPCError(Status.FAILED_PRECONDITION, f"no file with SHA-256 {sha256_hex} was uploaded")
        return self._contents[sha256_hex]

    def uploaded(self) -> dict[str, bytes]:
        """Return every file of every mount by its path in the container: for tests."""
        return {
            path: self.content(sha256_hex)
            for mount in self._mounts.values()
            for path, sha256_hex in mount.files.items()
        }

    def write(self, ids: Iterable[str], root: Path) -> None:
        """Write the files of the mounts *ids* below *root*, which stands for the container's /root.

        Raises:
            GRPCError: a file lies elsewhere; this container has no such place.
        """
        for mount_id in ids:
            for path, sha256_hex in self._mount(mount_id).files.items():
                relative = PurePosixPath(path)
                if not relative.is_relative_to(_ROOT) or ".." in relative.parts:
                    raise GRPCError(Status.FAILED_PRECONDITION, f"the local Modal mounts only below /root, not {path}")
                target = root / relative.relative_to(_ROOT)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(self.content(sha256_hex))

    def _mount(self, mount_id: str) -> Mount:
        if mount_id not in self._mounts:
            raise GRPCError(Status.NOT_FOUND, f"Mount {mount_id} not found")
        return self._mounts[mount_id]

    @answers("MountBatchedCheckExistence")
    def check(
        self, request: api_pb2.MountBatchedCheckExistenceRequest, _: Call
    ) -> api_pb2.MountBatchedCheckExistenceResponse:
        """Return which files are still to be uploaded."""
        missing = [sha256_hex for sha256_hex in request.sha256_hex_hashes if sha256_hex not in self._contents]
        return api_pb2.MountBatchedCheckExistenceResponse(missing_sha256_hex_hashes=missing)

    @answers("MountPutFile")
    def put(self, request: api_pb2.MountPutFileRequest, _: Call) -> api_pb2.MountPutFileResponse:
        """Take a file, or say whether it is there. The SDK repeats for minutes until it is."""
        which = request.WhichOneof("data_oneof")
        if which:
            data = request.data if which == "data" else self._blobs.content(request.data_blob_id)
            if hashlib.sha256(data).hexdigest() != request.sha256_hex:
                raise GRPCError(Status.INVALID_ARGUMENT, "uploaded bytes do not have the hash that the request names")
            self._contents[request.sha256_hex] = data
        return api_pb2.MountPutFileResponse(exists=request.sha256_hex in self._contents)

    @answers("MountGetOrCreate")
    def get_or_create(self, request: api_pb2.MountGetOrCreateRequest, _: Call) -> api_pb2.MountGetOrCreateResponse:
        """Return the id of a mount of uploaded files, or of one that Modal provides (the SDK itself)."""
        files = {file.filename: file.sha256_hex for file in request.files}
        for sha256_hex in files.values():
            self.content(sha256_hex)
        mount = Mount(new_id("mo"), files)
        self._mounts[mount.id] = mount
        checksum = hashlib.sha256(repr(sorted(files.items())).encode()).hexdigest()
        metadata = api_pb2.MountHandleMetadata(content_checksum_sha256_hex=checksum)
        return api_pb2.MountGetOrCreateResponse(mount_id=mount.id, handle_metadata=metadata)

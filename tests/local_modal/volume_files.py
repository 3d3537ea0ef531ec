"""A volume's files, as clients list, read, upload and remove them: they see what is committed."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path, PurePosixPath
from typing import Final

from grpclib import GRPCError, Status
from modal_proto import api_pb2

from .blob import Blobs
from .ids import new_id
from .mount import Mounts
from .rpc import Call, answers
from .volume import Volumes

_BLOCK_BYTES: Final = 8 * 1024 * 1024  # the SDK's own BLOCK_SIZE

_Put2 = api_pb2.VolumePutFiles2Request


class VolumeFiles:
    """Answers for both versions of volumes.

    Args:
        volumes: Where files are.
        blobs: Where blocks are put and got.
        mounts: Where files of version 1 are uploaded to first.
    """

    def __init__(self, volumes: Volumes, blobs: Blobs, mounts: Mounts) -> None:
        self._volumes = volumes
        self._blobs = blobs
        self._mounts = mounts

    # --- list and read

    @answers("VolumeListFiles")
    async def list_1(
        self, request: api_pb2.VolumeListFilesRequest, _: Call
    ) -> AsyncIterator[api_pb2.VolumeListFilesResponse]:
        """Yield what is below a path."""
        yield api_pb2.VolumeListFilesResponse(entries=self._entries(request.volume_id, request.path, request.recursive))

    @answers("VolumeListFiles2")
    async def list_2(
        self, request: api_pb2.VolumeListFiles2Request, _: Call
    ) -> AsyncIterator[api_pb2.VolumeListFiles2Response]:
        """Yield what is below a path."""
        entries = self._entries(request.volume_id, request.path, request.recursive)
        yield api_pb2.VolumeListFiles2Response(entries=entries)

    @answers("VolumeGetFile2")
    def get(self, request: api_pb2.VolumeGetFile2Request, _: Call) -> api_pb2.VolumeGetFile2Response:
        """Return where the blocks of a whole file are got."""
        if request.start or request.len:
            raise GRPCError(Status.UNIMPLEMENTED, "the local Modal reads whole files only")
        path = self._existing(request.volume_id, request.path)
        if not path.is_file():
            raise GRPCError(Status.NOT_FOUND, f"{request.path} is not a file")
        data = path.read_bytes()
        blocks = [data[start : start + _BLOCK_BYTES] for start in range(0, len(data), _BLOCK_BYTES)]
        return api_pb2.VolumeGetFile2Response(
            get_urls=[self._blobs.add(block) for block in blocks], size=len(data), start=0, len=len(data)
        )

    # --- write

    @answers("VolumePutFiles")
    def put_1(self, request: api_pb2.VolumePutFilesRequest, _: Call) -> None:
        """Take files that were uploaded before, by their hashes."""
        targets = [self._path(request.volume_id, file.filename) for file in request.files]
        if request.disallow_overwrite_existing_files:
            _refuse_existing(targets)
        for file, target in zip(request.files, targets, strict=True):
            _write(target, self._mounts.content(file.sha256_hex))

    @answers("VolumePutFiles2")
    def put_2(self, request: _Put2, _: Call) -> api_pb2.VolumePutFiles2Response:
        """Take files by the hashes of their blocks, or say where the missing ones are to be put."""
        targets = [self._path(request.volume_id, file.path) for file in request.files]
        if request.disallow_overwrite_existing_files:
            _refuse_existing(targets)
        missing = [
            api_pb2.VolumePutFiles2Response.MissingBlock(
                file_index=file_index,
                block_index=block_index,
                put_url=self._blobs.address(block.contents_sha256.hex()),
            )
            for file_index, file in enumerate(request.files)
            for block_index, block in enumerate(file.blocks)
            if not self._blobs.has(block.contents_sha256.hex())
        ]
        if not missing:
            for file, target in zip(request.files, targets, strict=True):
                _write(target, self._assembled(file))
        return api_pb2.VolumePutFiles2Response(missing_blocks=missing)

    @answers("VolumeRemoveFile")
    def remove_1(self, request: api_pb2.VolumeRemoveFileRequest, _: Call) -> None:
        """Remove a file, or a folder with all that it holds."""
        self._remove(self._existing(request.volume_id, request.path), recursive=request.recursive)

    @answers("VolumeRemoveFile2")
    def remove_2(self, request: api_pb2.VolumeRemoveFile2Request, _: Call) -> None:
        """Remove a file, or a folder with all that it holds."""
        self._remove(self._existing(request.volume_id, request.path), recursive=request.recursive)

    # --- paths

    def _path(self, volume_id: str, path: str) -> Path:
        relative = PurePosixPath("/", path).relative_to("/")
        if ".." in relative.parts:
            raise GRPCError(Status.INVALID_ARGUMENT, f"{path} leads out of the volume")
        return self._volumes[volume_id].folder / relative

    def _existing(self, volume_id: str, path: str) -> Path:
        found = self._path(volume_id, path)
        if not found.exists():
            raise GRPCError(Status.NOT_FOUND, f"No such file or directory: {path}")
        return found

    def _entries(self, volume_id: str, path: str, recursive: bool) -> list[api_pb2.FileEntry]:  # noqa: FBT001
        top = self._existing(volume_id, path)
        paths = [top] if top.is_file() else sorted(top.rglob("*") if recursive else top.iterdir())
        return list(_listed(paths, self._volumes[volume_id].folder))

    def _remove(self, path: Path, *, recursive: bool) -> None:
        if path.is_file():
            path.unlink()
        elif recursive:
            shutil.rmtree(path)
        else:
            raise GRPCError(Status.INVALID_ARGUMENT, f"{path.name} is a directory; remove it recursively")

    def _assembled(self, file: _Put2.File) -> bytes:
        """Return a file's bytes. The SDK leaves out the zeros that end a block."""
        data = bytearray()
        for number, block in enumerate(file.blocks, 1):
            content = self._blobs.content(block.contents_sha256.hex())
            if hashlib.sha256(content).digest() != block.contents_sha256:
                raise GRPCError(Status.INVALID_ARGUMENT, "an uploaded block does not have the hash that it is named by")
            data += content
            data += bytes(min(number * _BLOCK_BYTES, file.size) - len(data))
        return bytes(data)


def _listed(paths: list[Path], folder: Path) -> Iterator[api_pb2.FileEntry]:
    for path in paths:
        stat = path.stat()
        yield api_pb2.FileEntry(
            path=path.relative_to(folder).as_posix(),
            type=api_pb2.FileEntry.DIRECTORY if path.is_dir() else api_pb2.FileEntry.FILE,
            mtime=int(stat.st_mtime),
            size=stat.st_size if path.is_file() else 0,
        )


def _refuse_existing(targets: list[Path]) -> None:
    for target in targets:
        if target.exists():
            raise GRPCError(Status.ALREADY_EXISTS, f"{target.name} already exists")


def _write(target: Path, data: bytes) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.parent / f".{new_id('part')}"
    part.write_bytes(data)
    part.replace(target)

"""Bytes that do not fit into a message: by plain HTTP, from addresses that only the protocol gives out."""

from __future__ import annotations

import hashlib

from aiohttp import web
from grpclib import GRPCError, Status
from modal_proto import api_pb2

from .ids import new_id
from .listener import Listener
from .rpc import Call, answers


class Blobs:
    """A store of bytes: ``PUT`` and ``GET`` of an address.

    Attributes:
        requests: What was asked, as ``(method, key)``.
    """

    def __init__(self) -> None:
        self.requests: list[tuple[str, str]] = []
        self._contents: dict[str, bytes] = {}
        self._listener = Listener(self._serve)

    async def start(self) -> None:
        """Begin to serve."""
        await self._listener.start()

    async def stop(self) -> None:
        """Serve no longer."""
        await self._listener.stop()

    def address(self, key: str) -> str:
        """Return where *key* is put and got."""
        return f"{self._listener.url}/{key}"

    def add(self, data: bytes) -> str:
        """Return the address of *data*."""
        key = hashlib.sha256(data).hexdigest()
        self._contents[key] = data
        return self.address(key)

    def has(self, key: str) -> bool:
        """Whether something was put under *key*."""
        return key in self._contents

    def content(self, key: str) -> bytes:
        """Return what was put under *key*."""
        if key not in self._contents:
            raise GRPCError(Status.NOT_FOUND, f"nothing was uploaded as {key}")
        return self._contents[key]

    @answers("BlobCreate")
    def create(self, _request: api_pb2.BlobCreateRequest, _: Call) -> api_pb2.BlobCreateResponse:
        """Return where a large message or file is to be put; its blob id is the key."""
        blob_id = new_id("bl")
        urls = api_pb2.UploadUrlList(items=[self.address(blob_id)])
        return api_pb2.BlobCreateResponse(blob_id=blob_id, blob_ids=[blob_id], upload_urls=urls)

    @answers("BlobGet")
    def get(self, request: api_pb2.BlobGetRequest, _: Call) -> api_pb2.BlobGetResponse:
        """Return where a blob is got."""
        self.content(request.blob_id)
        return api_pb2.BlobGetResponse(download_url=self.address(request.blob_id))

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        key = request.path.removeprefix("/")
        self.requests.append((request.method, key))
        if request.method == "PUT":
            data = await request.content.read()
            self._contents[key] = data
            etag = hashlib.md5(data, usedforsecurity=False).hexdigest()
            return web.Response(body=key.encode(), headers={"ETag": f'"{etag}"'})
        if key not in self._contents:
            return web.Response(status=404, text="no such key")
        return web.Response(body=self._contents[key])

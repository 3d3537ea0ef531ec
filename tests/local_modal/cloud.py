"""`LocalModal`: everything together, in a thread of its own."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import threading
from collections.abc import Coroutine, Iterable
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Final, Self, TypeVar

from grpclib import GRPCError, Status

from . import faults
from .app import App, Apps
from .blob import Blobs
from .deploy import Deploys
from .environment import Environments
from .faults import Fault
from .fleet import Fleet
from .function import Functions
from .hello import Hello
from .image import Image, Images
from .listener import loopback_socket
from .log import Logs
from .lookup import Lookups
from .mount import Mounts
from .pool import Pool
from .proxy_token import ProxyTokens
from .rpc import Call, Servicer, collect
from .secret import Secrets
from .server import ApiServer
from .volume import Volumes
from .volume_files import VolumeFiles
from .web import Web

_T = TypeVar("_T")

TOKEN: Final = ("ak-local0000000000000000", "as-local0000000000000000")
PROXY_TOKEN: Final = ("wk-local0000000000000000", "ws-local0000000000000000")


class LocalModal:
    """A Modal workspace on this machine, for as long as the `with` lasts.

    Args:
        environments: The environments that it has; the first is the default one.

    Attributes:
        calls: What clients asked, in order.
        container_calls: What containers asked.
        broken: Exceptions that are bugs of the local Modal itself.
        faults: What goes wrong, by the name of a call; `faults.EVERY` stands for all.
        images: What a FROM line finds: image references of `Image`s.
        web: The web half.
    """

    token = TOKEN
    proxy_token = PROXY_TOKEN

    def __init__(self, environments: Iterable[str] = ("main", "dev", "staging", "prod")) -> None:
        self.calls: list[Call] = []
        self.container_calls: list[Call] = []
        self.faults: dict[str, Fault] = {}
        self.broken: list[BaseException] = []
        # short: a container's socket lies in it, and the path of one has at most 108 bytes
        self.folder = Path(tempfile.mkdtemp(prefix="lm-"))
        self.environments = Environments(environments)
        self.secrets = Secrets(self.environments)
        self.blobs = Blobs()
        self.mounts = Mounts(self.blobs)
        self.volumes = Volumes(self.folder, self.environments)
        self.apps = Apps(self.environments)
        self.logs = Logs(self.apps)
        self._images = Images(self.secrets, self.logs)
        self.fleet = Fleet(
            self.folder,
            self._worker,
            images=self._images,
            mounts=self.mounts,
            secrets=self.secrets,
            volumes=self.volumes,
            logs=self.logs,
        )
        proxy_tokens = ProxyTokens(self.environments, PROXY_TOKEN)
        self.web = Web(self.apps, self.fleet, proxy_tokens)
        self.functions = Functions(self.web.address)
        self.apps.functions = self.functions
        self._services = (
            *(Hello(), Deploys(self.apps, self._changed), Lookups(self.apps, self.fleet.running)),
            *(self.functions, self._images, self.mounts, self.blobs, self.fleet, self.logs),
            *(self.environments, self.secrets, self.volumes, VolumeFiles(self.volumes, self.blobs, self.mounts)),
            proxy_tokens,
        )
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="local-modal", daemon=True)
        self._server: ApiServer | None = None
        self._port = 0

    # --- for tests

    @property
    def images(self) -> dict[str, Image]:
        """What a FROM line finds."""
        return self._images.registry

    @property
    def server_url(self) -> str:
        """What MODAL_SERVER_URL has to be."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def environ(self) -> dict[str, str]:
        """The environment in which the SDK and its command line talk to this and to nothing else."""
        return {
            "MODAL_SERVER_URL": self.server_url,
            "MODAL_TOKEN_ID": TOKEN[0],
            "MODAL_TOKEN_SECRET": TOKEN[1],
            "MODAL_CONFIG_PATH": "/nonexistent",  # else a developer's own ~/.modal.toml is read
            "MODAL_DISABLE_API_PROXY": "1",
        }

    def sent(self, rpc: str) -> list[Any]:
        """Return the requests of every call of *rpc* by a client, in order."""
        return [call.message for call in self.calls if call.rpc == rpc]

    def run(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Return the result of a coroutine of the local Modal, such as ``cloud.fleet.scale_down()``."""
        return self._submit(work).result()

    def go_down(self) -> None:
        """Refuse connections, and break those that there are, until `come_back`."""
        self.run(self._close_server())

    def come_back(self) -> None:
        """Listen again, at the same address."""
        self.run(self._open_server())

    # --- its life

    def __enter__(self) -> Self:
        self._thread.start()
        self.run(self.blobs.start())
        self.run(self._open_server())
        return self

    def __exit__(self, *_: object) -> None:
        self.run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    async def _open_server(self) -> None:
        if self._server is None:
            sock = loopback_socket(self._port)
            self._port = sock.getsockname()[1]
            methods = collect(self._services)
            self._server = ApiServer(Servicer(methods, self._hear, self.broken.append))
            await self._server.start(sock=sock)

    async def _close_server(self) -> None:
        if self._server is not None:
            server, self._server = self._server, None
            await server.stop()

    async def _close(self) -> None:
        await self._close_server()
        await self.web.close()
        await self.fleet.close()
        await self.blobs.stop()

    async def _changed(self, app: App) -> None:
        await self.fleet.changed(app)
        self.logs.tell()

    async def _hear(self, call: Call) -> None:
        self.calls.append(call)
        await faults.play(self.faults.get(call.rpc) or self.faults.get(faults.EVERY))
        given = call.metadata.get("x-modal-token-id"), call.metadata.get("x-modal-token-secret")
        if given != TOKEN:
            raise GRPCError(Status.UNAUTHENTICATED, "Token ID or secret is invalid")

    def _worker(self, pool: Pool, task_id: str) -> ApiServer:
        """Return the server that one container talks to: it needs no token, and cannot deploy."""
        methods = collect([pool, self.blobs, self.environments, self.volumes])
        servicer = Servicer(methods, self.container_calls.append, self.broken.append, task_id)
        return ApiServer(servicer)

    def _submit(self, work: Coroutine[Any, Any, _T]) -> Future[_T]:
        return asyncio.run_coroutine_threadsafe(work, self._loop)

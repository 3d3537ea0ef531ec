"""The containers of all functions: started when called, replaced when their function is, gone when it is stopped."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Final

from grpclib import GRPCError, Status
from modal_proto import api_pb2

from .app import App
from .container import Container
from .function import Definition, Function
from .image import Images
from .invocation import Invocation
from .log import Line, Logs
from .mount import Mounts
from .pool import Pool
from .rpc import Call, answers
from .secret import Secrets
from .server import ApiServer
from .volume import Volumes

_Result = api_pb2.GenericResult
_ARTIFACTS: Final = "/artifacts"

Worker = Callable[[Pool, str], ApiServer]


class Fleet:
    """Every container that runs.

    Args:
        folder: Where containers have their files.
        worker: Returns the server that a container of a pool talks to.
    """

    def __init__(
        self,
        folder: Path,
        worker: Worker,
        *,
        images: Images,
        mounts: Mounts,
        secrets: Secrets,
        volumes: Volumes,
        logs: Logs,
    ) -> None:
        self._folder = folder
        self._worker = worker
        self._images = images
        self._mounts = mounts
        self._secrets = secrets
        self._volumes = volumes
        self._logs = logs
        self._pools: dict[str, Pool] = {}
        self._lives: dict[Pool, asyncio.Task[None]] = {}

    def invoke(self, app: App, function: Function, definition: Definition, invocation: Invocation) -> None:
        """Hand *invocation* to the container of *definition*, which is started if there is none."""
        pool = self._pools.setdefault(definition.id, Pool(app, function, definition))
        pool.submit(invocation)
        if pool not in self._lives:
            self._lives[pool] = asyncio.create_task(self._live(pool))

    async def changed(self, app: App) -> None:
        """Let containers end that no longer serve: at once if *app* was stopped, else after what they do."""
        serving = app.version(0).definitions.values() if app.deployed else ()
        for definition_id, pool in list(self._pools.items()):
            if pool.app is app and definition_id not in serving:
                del self._pools[definition_id]
                pool.drain()
                if not app.deployed:
                    pool.fail(_Result.GENERIC_STATUS_TERMINATED, "app was stopped")
                    await self._stop(pool)

    def running(self, app: App) -> int:
        """Return how many containers of *app* run."""
        return sum(pool.app is app for pool in self._lives)

    async def scale_down(self) -> None:
        """Let every container end after what it does, as Modal does with idle ones; return once they are gone."""
        self._pools.clear()
        lives = dict(self._lives)
        for pool in lives:
            pool.drain()
        await asyncio.gather(*lives.values())

    async def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """Send every container a signal: a crash, if it is not the app that says when."""
        for pool in list(self._lives):
            if pool.container is not None:
                await pool.container.stop(number)

    async def close(self) -> None:
        """End every container, and return once they are gone."""
        for pool in list(self._lives):
            await self._stop(pool)
        await asyncio.gather(*self._lives.values())

    # --- what clients ask

    @answers("TaskList")
    def list(self, request: api_pb2.TaskListRequest, _: Call) -> api_pb2.TaskListResponse:
        """Return the containers that run."""
        return api_pb2.TaskListResponse(
            tasks=[
                api_pb2.TaskStats(
                    task_id=pool.container.id,
                    app_id=pool.app.id,
                    app_description=pool.app.name,
                    started_at=pool.container.began_at,
                    enqueued_at=pool.container.began_at,
                )
                for pool in self._lives
                if pool.container is not None and request.app_id in ("", pool.app.id)
            ]
        )

    @answers("ContainerStop")
    async def stop(self, request: api_pb2.ContainerStopRequest, _: Call) -> api_pb2.ContainerStopResponse:
        """End one container, whatever it does."""
        for pool in list(self._lives):
            if pool.container is not None and pool.container.id == request.task_id:
                self._pools.pop(pool.definition.id, None)
                await self._stop(pool)
                return api_pb2.ContainerStopResponse()
        raise GRPCError(Status.NOT_FOUND, f"Container {request.task_id} not found")

    # --- a container's life

    async def _live(self, pool: Pool) -> None:
        """Run containers of *pool* until it is to have none; one that ends by itself fails what it had."""
        try:
            status = await self._run(pool)
            reason = pool.failure or f"container ended with exit status {status}"
            crashed = status < 0  # by a signal
            pool.fail(_Result.GENERIC_STATUS_TERMINATED if crashed else _Result.GENERIC_STATUS_FAILURE, reason)
        except GRPCError as exc:
            pool.fail(_Result.GENERIC_STATUS_INIT_FAILURE, str(exc.message))
        finally:
            if self._pools.get(pool.definition.id) is pool:
                del self._pools[pool.definition.id]
            del self._lives[pool]

    async def _run(self, pool: Pool) -> int:
        """Start a container, and return its exit status."""
        function = pool.definition.function
        container = Container(_arguments(pool, function), self._folder)
        for folder in (container.root, container.artifacts):
            folder.mkdir(parents=True)
        self._mounts.write(function.mount_ids, container.root)
        for mount in function.volume_mounts:
            if mount.mount_path != _ARTIFACTS or mount.read_only or mount.sub_path:
                raise GRPCError(Status.UNIMPLEMENTED, "the local Modal mounts one volume, whole, at /artifacts")
            pool.views[mount.volume_id] = self._volumes.mount(mount.volume_id, container)
        pool.container = container

        def hear(container: Container, number: int, line: str) -> None:
            self._logs.add(Line(pool.app.id, pool.function.id, container.id, number, line))

        secrets = self._secrets.environ(function.secret_ids)
        image = self._images.image(function.image_id)
        try:
            await container.start(self._worker(pool, container.id), image, secrets, hear)
            limit = asyncio.create_task(_limit_start(pool, container))
            try:
                return await container.ended()
            finally:
                limit.cancel()
        finally:
            await container.close()

    async def _stop(self, pool: Pool) -> None:
        pool.drain()
        if pool.container is not None:
            await pool.container.stop()


async def _limit_start(pool: Pool, container: Container) -> None:
    """End *container* if it has asked for no input when the function's time to start is over."""
    function = pool.definition.function
    try:
        await asyncio.wait_for(pool.started.wait(), function.startup_timeout_secs or function.timeout_secs)
    except TimeoutError:
        pool.fail(_Result.GENERIC_STATUS_TIMEOUT, "container did not start in time")
        await container.stop()


def _arguments(pool: Pool, function: api_pb2.Function) -> api_pb2.ContainerArguments:
    layout = api_pb2.AppLayout(function_ids={pool.function.name: pool.function.id})
    metadata = pool.function.metadata(pool.definition.id)
    layout.objects.append(api_pb2.Object(object_id=pool.function.id, function_handle_metadata=metadata))
    return api_pb2.ContainerArguments(
        function_id=pool.function.id,
        app_id=pool.app.id,
        function_def=function,
        environment_name=pool.app.environment,
        app_layout=layout,
    )

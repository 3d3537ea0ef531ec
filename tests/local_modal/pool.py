"""The container of one definition of a function, what waits for it, and what it asks its worker."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator
from itertools import count
from typing import Any, Final

from grpclib import GRPCError, Status
from modal_proto import api_pb2

from .app import App
from .container import Container
from .function import Definition, Function
from .invocation import Invocation
from .news import News
from .rpc import Call, answers
from .view import View

_Result = api_pb2.GenericResult
_CANCELLING_S: Final = 2.0  # an input past its deadline has this long to notice, then its container ends
_HEARTBEAT_S: Final = 10.0  # below the SDK's interval, 15 s


class Pool:
    """One container at most; it serves as many inputs at once as the function allows, the rest waits.

    Attributes:
        started: Whether the container has asked for an input.
        views: The volumes that the container sees, by their ids.
        draining: Ends the container after what waits now.
    """

    def __init__(self, app: App, function: Function, definition: Definition) -> None:
        self.app = app
        self.function = function
        self.definition = definition
        self.container: Container | None = None
        self.views: dict[str, View] = {}
        self.started = asyncio.Event()
        self.draining = False
        self.failure = ""
        self._waiting: deque[Invocation] = deque()
        self._running: dict[str, Invocation] = {}
        self._by_call: dict[str, Invocation] = {}
        self._overdue: list[str] = []
        self._limits: set[asyncio.Task[None]] = set()
        self._news = News()

    def submit(self, invocation: Invocation) -> None:
        """Let *invocation* wait for a place."""
        self._waiting.append(invocation)
        self._by_call[invocation.id] = invocation
        self._news.tell()

    def drain(self) -> None:
        """Let the container end once nothing waits and nothing runs."""
        self.draining = True
        self._news.tell()

    def fail(self, status: _Result.GenericStatus.ValueType, exception: str) -> None:
        """End every input that runs or waits."""
        for invocation in (*self._running.values(), *self._waiting):
            invocation.settle(status, exception)
        self._running.clear()
        self._waiting.clear()

    # --- what the container asks

    @answers("ContainerHello")
    def hello(self, _request: Any, _: Call) -> None:
        """Hear that the container lives."""

    @answers("ContainerHeartbeat")
    async def heartbeat(self, _request: Any, _: Call) -> api_pb2.ContainerHeartbeatResponse:
        """Return the inputs that are past their deadline; or nothing, after a while."""
        try:
            async with asyncio.timeout(_HEARTBEAT_S):
                await self._news.until(lambda: bool(self._overdue))
        except TimeoutError:
            return api_pb2.ContainerHeartbeatResponse()
        overdue, self._overdue = self._overdue, []
        return api_pb2.ContainerHeartbeatResponse(cancel_input_event=api_pb2.CancelInputEvent(input_ids=overdue))

    @answers("FunctionGetInputs")
    async def get_inputs(self, _request: Any, _: Call) -> api_pb2.FunctionGetInputsResponse:
        """Return the next input, once there is one; or the word to end."""
        self.started.set()
        await self._news.until(lambda: bool(self._waiting) or self.draining)
        if not self._waiting:
            return api_pb2.FunctionGetInputsResponse(inputs=[api_pb2.FunctionGetInputsItem(kill_switch=True)])
        invocation = self._waiting.popleft()
        self._running[invocation.input_id] = invocation
        limit = asyncio.create_task(self._limit(invocation))
        self._limits.add(limit)
        limit.add_done_callback(self._limits.discard)
        item = api_pb2.FunctionGetInputsItem(
            input_id=invocation.input_id,
            function_call_id=invocation.id,
            input=invocation.input(),
            function_call_invocation_type=api_pb2.FUNCTION_CALL_INVOCATION_TYPE_SYNC,
        )
        return api_pb2.FunctionGetInputsResponse(inputs=[item])

    @answers("FunctionCallGetDataIn")
    async def get_data_in(
        self, request: api_pb2.FunctionCallGetDataRequest, _: Call
    ) -> AsyncIterator[api_pb2.DataChunk]:
        """Yield what the client sends. It never ends by itself: the container would ask again at once."""
        invocation = self._by_call[request.function_call_id]
        for index in count(request.last_index):
            data = (await invocation.message_in(index)).SerializeToString()
            yield api_pb2.DataChunk(data_format=api_pb2.DATA_FORMAT_ASGI, data=data, index=index + 1)

    @answers("FunctionCallPutDataOut")
    def put_data_out(self, request: api_pb2.FunctionCallPutDataRequest, _: Call) -> None:
        """Take what the app sends."""
        invocation = self._by_call[request.function_call_id]
        for chunk in request.data_chunks:
            if chunk.index != len(invocation.data_out) + 1 or chunk.data_blob_id:
                raise GRPCError(Status.UNIMPLEMENTED, "the local Modal takes chunks in order, none of them as a blob")
            invocation.receive(api_pb2.Asgi.FromString(chunk.data))

    @answers("FunctionPutOutputs")
    def put_outputs(self, request: api_pb2.FunctionPutOutputsRequest, _: Call) -> None:
        """Take the ends of inputs."""
        for item in request.outputs:
            if invocation := self._running.pop(item.input_id, None):
                invocation.settle(item.result.status, item.result.exception)
        self._news.tell()

    @answers("TaskResult")
    def task_result(self, request: api_pb2.TaskResultRequest, _: Call) -> None:
        """Hear why the container gives up before it could take an input."""
        self.failure = request.result.exception

    @answers("VolumeCommit")
    def commit(self, request: api_pb2.VolumeCommitRequest, _: Call) -> api_pb2.VolumeCommitResponse:
        """Let others see what the container wrote."""
        view = self._view(request.volume_id)
        view.commit()
        return api_pb2.VolumeCommitResponse(skip_reload=not view.reload_follows())

    @answers("VolumeReload")
    def reload(self, request: api_pb2.VolumeReloadRequest, _: Call) -> None:
        """Let the container see what others committed or uploaded."""
        self._view(request.volume_id).reload()

    def _view(self, volume_id: str) -> View:
        if volume_id not in self.views:
            raise GRPCError(Status.NOT_FOUND, f"Volume {volume_id} is not mounted in this container")
        return self.views[volume_id]

    async def _limit(self, invocation: Invocation) -> None:
        """End *invocation* when the function's time is over, and the container if it does not notice."""
        settled = invocation.news.until(lambda: invocation.result is not None)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(settled, self.definition.function.timeout_secs)
            return
        invocation.settle(_Result.GENERIC_STATUS_TIMEOUT, "function execution timed out")
        self._overdue.append(invocation.input_id)
        self._news.tell()
        ended = self._news.until(lambda: invocation.input_id not in self._running)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(ended, _CANCELLING_S)
            return
        if self.container is not None:
            await self.container.stop()

"""The protocol, by reflection: every RPC of `ModalClient` is recorded, and answered by whoever says `@answers` it.

The SDK's own base class has a method per RPC, 285 of them abstract. Here a call
without an answer is refused by its name, so that a test never passes on silence.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from google.protobuf.message import Message  # type: ignore[import-untyped]  # it ships no types
from google.protobuf.message_factory import GetMessageClass  # type: ignore[import-untyped]  # the same
from grpclib import GRPCError, Status
from grpclib.const import Cardinality, Handler
from grpclib.server import Stream
from modal_proto import api_pb2

_SERVICE: Final = api_pb2.DESCRIPTOR.services_by_name["ModalClient"]
_RPC: Final = "__rpc__"

Answer = TypeVar("Answer", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Call:
    """One call as it arrived.

    Attributes:
        rpc: Its name, such as ``AppPublish``.
        message: The request.
        metadata: Its gRPC metadata; the token is ``x-modal-token-id`` and ``x-modal-token-secret``.
        task_id: The container that calls, or ``""`` for a client.
    """

    rpc: str
    message: Message
    metadata: Mapping[str, str]
    task_id: str = ""


Hear = Callable[[Call], Any]


def answers(rpc: str) -> Callable[[Answer], Answer]:
    """Mark a method as the answer to *rpc*: ``(request, call) -> reply``, plain, async, or an async generator.

    ``None`` stands for an empty reply.

    Raises:
        KeyError: the protocol has no such call.
    """
    _ = _SERVICE.methods_by_name[rpc]

    def mark(method: Answer) -> Answer:
        setattr(method, _RPC, rpc)
        return method

    return mark


def collect(services: Iterable[object]) -> dict[str, Callable[..., Any]]:
    """Return what *services* answer, by RPC.

    Raises:
        ValueError: two of them answer the same.
    """
    methods: dict[str, Callable[..., Any]] = {}
    for service in services:
        for _, method in inspect.getmembers(service, inspect.ismethod):
            if rpc := getattr(method, _RPC, None):
                if rpc in methods:
                    raise ValueError(f"{rpc} is answered twice")
                methods[rpc] = method
    return methods


class Servicer:
    """What grpclib serves: every RPC of the protocol.

    Args:
        methods: The answers, by RPC.
        hear: Called, and awaited if it returns an awaitable, before a call is answered: it records,
            plants faults and checks the token; what it raises is the answer.
        broken: Told of an exception that is a bug of ours.
        task_id: The container that this servicer is for, if it is for one.
    """

    def __init__(
        self,
        methods: Mapping[str, Callable[..., Any]],
        hear: Hear,
        broken: Callable[[BaseException], None],
        task_id: str = "",
    ) -> None:
        self._methods = methods
        self._hear = hear
        self._broken = broken
        self._task_id = task_id

    def __mapping__(self) -> dict[str, Handler]:
        """Return a handler for each RPC (grpclib's protocol for services)."""
        return {f"/{_SERVICE.full_name}/{method.name}": self._handler(method) for method in _SERVICE.methods}

    def _handler(self, method: Any) -> Handler:
        empty = GetMessageClass(method.output_type)

        async def serve(stream: Stream[Any, Any]) -> None:
            await self._serve(method.name, empty, stream)

        cardinality = {
            (False, False): Cardinality.UNARY_UNARY,
            (False, True): Cardinality.UNARY_STREAM,
            (True, False): Cardinality.STREAM_UNARY,
            (True, True): Cardinality.STREAM_STREAM,
        }[method.client_streaming, method.server_streaming]
        return Handler(serve, cardinality, GetMessageClass(method.input_type), empty)

    async def _serve(self, rpc: str, empty: Callable[[], Message], stream: Stream[Any, Any]) -> None:
        request = await stream.recv_message()
        if request is None:
            return  # the client left before it had said anything
        metadata = {str(name): value for name, value in (stream.metadata or {}).items() if isinstance(value, str)}
        call = Call(rpc, request, metadata, self._task_id)
        try:
            heard = self._hear(call)
            if inspect.isawaitable(heard):
                await heard
            async for reply in self._replies(call):
                await stream.send_message(empty() if reply is None else reply)
        except GRPCError:
            raise
        except Exception as exc:
            # UNKNOWN, which grpclib would answer, is retried by the SDK; DATA_LOSS ends the call at once
            self._broken(exc)
            raise GRPCError(Status.DATA_LOSS, f"the local Modal broke in {rpc}: {exc!r}") from exc

    async def _replies(self, call: Call) -> AsyncIterator[Message | None]:
        method = self._methods.get(call.rpc)
        if method is None:
            raise GRPCError(Status.UNIMPLEMENTED, f"rpc {call.rpc} is not known to the local Modal")
        answer = method(call.message, call)
        if inspect.isasyncgen(answer):
            async for reply in answer:
                yield reply
        else:
            yield await answer if inspect.isawaitable(answer) else answer

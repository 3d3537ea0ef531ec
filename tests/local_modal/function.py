"""Functions: what a deploy defines, and what a look-up finds."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

from grpclib import GRPCError, Status
from modal_proto import api_pb2

from .ids import new_id
from .rpc import Call, answers

_SHARED: Final = [
    name
    for name, field in api_pb2.Function.DESCRIPTOR.fields_by_name.items()
    if (other := api_pb2.FunctionData.DESCRIPTOR.fields_by_name.get(name)) and other.type == field.type
]

Address = Callable[[str, str], Awaitable[str]]


@dataclass(frozen=True, slots=True)
class Definition:
    """One definition of a function: immutable, so that a deployment can go back to it."""

    id: str
    data: api_pb2.FunctionData

    @property
    def function(self) -> api_pb2.Function:
        """What a container is told."""
        function = api_pb2.Function()
        _copy(self.data, function)
        function.MergeFrom(self.data.ranked_functions[0].function)
        return function


@dataclass
class Function:
    """A function of an app, and all its definitions by their ids."""

    app_id: str
    name: str
    kind: api_pb2.FunctionPrecreateRequest
    id: str = field(default_factory=lambda: new_id("fu"))
    url: str = ""
    definitions: dict[str, Definition] = field(default_factory=dict)

    def metadata(self, definition_id: str = "") -> api_pb2.FunctionHandleMetadata:
        """Return what the SDK's handle learns of it."""
        return api_pb2.FunctionHandleMetadata(
            app_id=self.app_id,
            function_name=self.name,
            function_type=self.kind.function_type,
            web_url=self.url,
            definition_id=definition_id,
            function_schema=self.kind.function_schema,
            supported_input_formats=self.kind.supported_input_formats,
            supported_output_formats=self.kind.supported_output_formats,
        )


class Functions:
    """All functions of all apps.

    Args:
        address: Returns the web address of a function of an app, given the app's id and its name.
    """

    def __init__(self, address: Address) -> None:
        self._address = address
        self._functions: dict[str, Function] = {}

    def __getitem__(self, function_id: str) -> Function:
        if function_id not in self._functions:
            raise GRPCError(Status.NOT_FOUND, f"Function {function_id} not found")
        return self._functions[function_id]

    @answers("FunctionPrecreate")
    async def precreate(self, request: api_pb2.FunctionPrecreateRequest, _: Call) -> api_pb2.FunctionPrecreateResponse:
        """Return the id that the function will have, the former deployment's if there is one."""
        if request.existing_function_id:
            function = self[request.existing_function_id]
            function.kind = request
        else:
            function = Function(request.app_id, request.function_name, request)
            self._functions[function.id] = function
        if request.webhook_config.type:
            function.url = await self._address(request.app_id, request.function_name)
        return api_pb2.FunctionPrecreateResponse(function_id=function.id, handle_metadata=function.metadata())

    @answers("FunctionCreate")
    def create(self, request: api_pb2.FunctionCreateRequest, _: Call) -> api_pb2.FunctionCreateResponse:
        """Take a definition; it serves nobody before the app is published."""
        function = self[request.existing_function_id]
        data = api_pb2.FunctionData()
        if request.HasField("function_data"):
            data.CopyFrom(request.function_data)
        else:
            _copy(request.function, data)
            ranked = api_pb2.FunctionData.RankedFunction(rank=0, function=request.function)
            data.ranked_functions.append(ranked)
        data.web_url = function.url
        definition = Definition(new_id("de"), data)
        function.definitions[definition.id] = definition
        return api_pb2.FunctionCreateResponse(
            function_id=function.id,
            function=definition.function,
            function_data=data,
            handle_metadata=function.metadata(definition.id),
        )


def _copy(source: api_pb2.Function | api_pb2.FunctionData, target: api_pb2.Function | api_pb2.FunctionData) -> None:
    """Copy what the two kinds of definition have in common."""
    for descriptor, value in source.ListFields():
        if descriptor.name not in _SHARED:
            continue
        if descriptor.is_repeated:
            getattr(target, descriptor.name).MergeFrom(value)
        elif descriptor.message_type is not None:
            getattr(target, descriptor.name).CopyFrom(value)
        else:
            setattr(target, descriptor.name, value)

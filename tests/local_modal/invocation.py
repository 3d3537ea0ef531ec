"""One web request on its way through a function: what goes into the container, and what has come out."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, field
from typing import Final

from modal_proto import api_pb2

from .ids import new_id
from .news import News

CHUNK: Final = 1024 * 1024

_Result = api_pb2.GenericResult


@dataclass
class Invocation:
    """A call of a web function; it lives on when the request that began it is redirected or gone.

    Attributes:
        id: The function call's, which the address of its result carries.
        input_id: What the container knows it by.
        data_in: ASGI messages for the app, in order.
        data_out: ASGI messages of the app, in order.
        result: How the input ended; unset while it runs.
    """

    scope: api_pb2.Asgi.Http
    id: str = field(default_factory=lambda: new_id("fc"))
    input_id: str = field(default_factory=lambda: new_id("in"))
    data_in: list[api_pb2.Asgi] = field(default_factory=list)
    data_out: list[api_pb2.Asgi] = field(default_factory=list)
    result: api_pb2.GenericResult | None = None
    news: News = field(default_factory=News)

    def send(self, body: bytes) -> None:
        """Give the app the whole request body."""
        chunks = [body[start : start + CHUNK] for start in range(0, len(body), CHUNK)] or [b""]
        for number, chunk in enumerate(chunks, 1):
            request = api_pb2.Asgi.HttpRequest(body=chunk, more_body=number < len(chunks))
            self.data_in.append(api_pb2.Asgi(http_request=request))
        self.news.tell()

    def disconnect(self) -> None:
        """Tell the app that its client went away."""
        self.data_in.append(api_pb2.Asgi(http_disconnect=api_pb2.Asgi.HttpDisconnect()))
        self.news.tell()

    def input(self) -> api_pb2.FunctionInput:
        """Return what the container is called with: an ASGI scope. The messages follow by themselves."""
        http = self.scope
        scope = {
            "type": "http",
            "http_version": http.http_version,
            "method": http.method,
            "scheme": http.scheme,
            "path": http.path,
            "query_string": http.query_string,
            "headers": list(zip(http.headers[::2], http.headers[1::2], strict=True)),
            "client": (http.client_host, http.client_port),
            "extensions": {"http.response.trailers": {}},
        }
        return api_pb2.FunctionInput(args=pickle.dumps(((scope,), {})), data_format=api_pb2.DATA_FORMAT_PICKLE)

    def receive(self, message: api_pb2.Asgi) -> None:
        """Take a message of the app."""
        self.data_out.append(message)
        self.news.tell()

    def settle(self, status: _Result.GenericStatus.ValueType, exception: str = "") -> None:
        """Note how it ended; only the first word counts."""
        if self.result is None:
            self.result = _Result(status=status, exception=exception)
            self.news.tell()

    async def message_in(self, index: int) -> api_pb2.Asgi:
        """Return the message number *index* for the app, once there is one."""
        await self.news.until(lambda: len(self.data_in) > index)
        return self.data_in[index]

    async def message_out(self, index: int) -> api_pb2.Asgi | None:
        """Return the app's message number *index*, once there is one; ``None`` if it ended without."""
        await self.news.until(lambda: len(self.data_out) > index or self.result is not None)
        return self.data_out[index] if len(self.data_out) > index else None

    @property
    def start(self) -> api_pb2.Asgi.HttpResponseStart | None:
        """The status and headers of the answer, once there are some."""
        if self.data_out and self.data_out[0].WhichOneof("type") == "http_response_start":
            return self.data_out[0].http_response_start
        return None

    @property
    def answered(self) -> bool:
        """Whether there is something to tell: the beginning of an answer, or an end without one."""
        return self.start is not None or self.result is not None

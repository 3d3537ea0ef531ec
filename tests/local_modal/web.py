"""The web half: an origin for each web function, as *.modal.run has, and what Modal's proxy does on the way.

A request is handed to the function's container. If no answer has begun after the
request limit, the client is sent to the result's address, where it waits again.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count
from typing import Final

from aiohttp import web
from modal_proto import api_pb2

from .app import App, Apps
from .fleet import Fleet
from .function import Definition, Function
from .invocation import Invocation
from .listener import Listener
from .proxy_token import ProxyTokens
from .reply import Play, cut

CALL_ID: Final = "__modal_function_call_id"
REQUEST_LIMIT_S: Final = 150.0  # the cloud's

_Result = api_pb2.GenericResult
_HOP_BY_HOP: Final = {b"connection", b"keep-alive", b"transfer-encoding", b"upgrade"}


@dataclass(frozen=True, slots=True)
class WebRequest:
    """One request as it arrived; header names in lower case."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Target:
    """What an address leads to."""

    app: App
    function: Function
    definition: Definition


class Web:
    """All web functions.

    Attributes:
        requests: What arrived, in order.
        request_limit_s: After so long without an answer a client is redirected; 150 s in the cloud.
    """

    def __init__(self, apps: Apps, fleet: Fleet, proxy_tokens: ProxyTokens) -> None:
        self.requests: list[WebRequest] = []
        self.request_limit_s = REQUEST_LIMIT_S
        self._proxy_tokens = proxy_tokens
        self._apps = apps
        self._fleet = fleet
        self._script: deque[Play] = deque()
        self._always: Play | None = None
        self._arrived = threading.Condition()
        self._listeners: dict[tuple[str, str, str], Listener] = {}
        self._invocations: dict[str, Invocation] = {}

    def play(self, *replies: Play) -> None:
        """Answer the next requests by *replies*, one each, instead of asking the function."""
        self._script.extend(replies)

    def always(self, reply: Play | None) -> None:
        """Answer every request by *reply*, until it is ``None`` again."""
        self._always = reply

    def wait_for_requests(self, count: int, *, timeout_s: float = 20) -> None:
        """Return once *count* requests have arrived; fails after *timeout_s*. For other threads."""
        with self._arrived:
            if not self._arrived.wait_for(lambda: len(self.requests) >= count, timeout_s):
                raise TimeoutError(f"waited {timeout_s} s for {count} requests; saw {len(self.requests)}")

    async def address(self, app_id: str, name: str) -> str:
        """Return the address of a function: the same one for all deployments of its app's name."""
        app = self._apps[app_id]
        key = (app.environment, app.name, name)
        if key not in self._listeners:

            async def serve(request: web.BaseRequest) -> web.StreamResponse:
                return await self._serve(key, request)

            self._listeners[key] = Listener(serve)
            await self._listeners[key].start()
        return self._listeners[key].url

    async def close(self) -> None:
        """Close every address."""
        for listener in self._listeners.values():
            await listener.stop()

    async def _serve(self, key: tuple[str, str, str], request: web.BaseRequest) -> web.StreamResponse:
        body = await request.content.read()
        headers = {name.lower(): value for name, value in request.headers.items()}
        with self._arrived:
            self.requests.append(WebRequest(request.method, str(request.url), headers, body))
            self._arrived.notify_all()
        planted = self._script.popleft() if self._script else self._always
        if planted is not None:
            return await planted(request)
        target = self._target(key)
        if isinstance(target, str):
            return refusal(404, target)
        if target.definition.data.webhook_config.requires_proxy_auth and (
            problem := self._unauthorized(headers, target)
        ):
            return refusal(401, problem)
        if call_id := request.query.get(CALL_ID):
            invocation = self._invocations.get(call_id)
            if invocation is None:
                return refusal(404, "invalid function call")
            if request.method != "GET":
                return refusal(400, "bad redirect method")
        else:
            invocation = Invocation(_scope(request))
            invocation.send(body)
            self._invocations[invocation.id] = invocation
            self._fleet.invoke(target.app, target.function, target.definition, invocation)
        return await self._answer(request, invocation)

    def _target(self, key: tuple[str, str, str]) -> Target | str:
        """Return what an address leads to now, or why it leads nowhere."""
        environment, app_name, name = key
        app = self._apps.last(app_name, environment)
        if app is None:
            return "invalid function call"
        if not app.deployed:
            return "app for invoked web endpoint is stopped"
        for function, definition in self._apps.serving(app):
            if function.name == name:
                return Target(app, function, definition)
        return "invalid function call"

    def _unauthorized(self, headers: Mapping[str, str], target: Target) -> str:
        if not target.definition.data.webhook_config.requires_proxy_auth:
            return ""
        pair = (headers.get("modal-key", ""), headers.get("modal-secret", ""))
        if "" in pair:
            return "missing credentials for proxy authorization"
        return (
            ""
            if self._proxy_tokens.open(*pair, target.app.environment)
            else "invalid credentials for proxy authorization"
        )

    async def _answer(self, request: web.BaseRequest, invocation: Invocation) -> web.StreamResponse:
        """Return the answer of *invocation*; it goes on when the client is redirected, and when it leaves."""
        try:
            async with asyncio.timeout(self.request_limit_s):
                await invocation.news.until(lambda: invocation.answered)
        except TimeoutError:
            location = request.url.update_query({CALL_ID: invocation.id})
            return web.Response(status=303, headers={"Location": str(location)})
        except asyncio.CancelledError:
            invocation.disconnect()
            raise
        start = invocation.start
        if start is None:
            assert invocation.result is not None
            return _failed(invocation.result)
        try:
            return await _relay(request, invocation, start)
        except (asyncio.CancelledError, ConnectionError):
            invocation.disconnect()
            raise


def refusal(status: int, text: str) -> web.Response:
    """Return an answer of Modal's proxy itself: plain text."""
    return web.Response(status=status, text=f"modal-http: {text}")


def _failed(result: _Result) -> web.Response:
    match result.status:
        case _Result.GENERIC_STATUS_TIMEOUT:
            return refusal(500, "internal error: function execution timed out")
        case _Result.GENERIC_STATUS_TERMINATED:
            return refusal(500, "internal error: function was terminated by signal")
    return refusal(500, f"internal error: status Failure: {result.exception}")


def _scope(request: web.BaseRequest) -> api_pb2.Asgi.Http:
    host, port = (request.transport.get_extra_info("peername") if request.transport else None) or ("", 0)
    return api_pb2.Asgi.Http(
        http_version="1.1",
        method=request.method,
        scheme="https",
        path=request.path,
        query_string=request.query_string.encode(),
        headers=[part for name, value in request.raw_headers for part in (name.lower(), value)],
        client_host=host,
        client_port=port,
    )


async def _relay(
    request: web.BaseRequest, invocation: Invocation, start: api_pb2.Asgi.HttpResponseStart
) -> web.StreamResponse:
    """Send on what the app sends, chunk by chunk; a stream whose app dies is cut off."""
    response = web.StreamResponse(status=start.status)
    for name, value in zip(start.headers[::2], start.headers[1::2], strict=True):
        if name.lower() not in _HOP_BY_HOP:
            response.headers.add(name.decode("latin-1"), value.decode("latin-1"))
    await response.prepare(request)
    for index in count(1):
        message = await invocation.message_out(index)
        if message is None:
            cut(request)
            return response
        body = message.http_response_body
        if body.body:
            await response.write(body.body)
        if not body.more_body:
            break
    await response.write_eof()
    return response

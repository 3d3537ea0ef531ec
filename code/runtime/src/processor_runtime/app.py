"""`create_app`: the one contract over HTTP, on FastAPI (CONTRACT §1, §6).

The routes are ordinary ones, so that FastAPI knows and documents them. `/run`
and `/healthz` are answered ahead of the middleware and the router, which cost
more than the whole contract (see docs/adr).
"""

import asyncio
import contextlib
import gc
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any, Final

import orjson
from fastapi import FastAPI
from fastapi.sse import EventSourceResponse
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from . import capture, http_input, openapi, shutdown
from .envelopes import REPLAYED_HEADER
from .errors import InternalError, MethodError, NotFoundError, ProcessorError, UnauthorizedError
from .execution import Answer, Caller
from .handler import Processor
from .loops import Handback
from .service import Service
from .stream import Stream

# how long a handler that computes in Python may keep the interpreter: with n of them `/healthz` waits n times as long
_SWITCH_S: Final = 0.0005
# how many new objects, of which a run leaves some hundred, before the collector looks for cycles among them
_NEW_OBJECTS: Final = 10_000
# how long a client may go on to send what was refused
_LINGER_S: Final = 5.0
_OK: Final = b'{"ok":true}'
_JSON: Final = "application/json"
_STREAM_HEADERS: Final = {"cache-control": "no-cache", "x-accel-buffering": "no"}

Hook = Callable[[], None]
_Arrived = tuple[bytes, Caller, str | None, asyncio.Future[Answer]]


def create_app(processor: Processor, *, publish: Hook | None = None, refresh: Hook | None = None) -> FastAPI:
    """Return the ASGI app of one processor. Settings come from the environment, once, here.

    Args:
        processor: What `@processor` made.
        publish: Called after a run's receipt is written and before its answer
            leaves; makes files visible to other machines (a Modal Volume).
        refresh: Called when a file or receipt is not found here.

    Raises:
        SystemExit: a malformed setting or registry; one `http.boot.error` line
            names it.
    """
    service = Service.from_env(processor, os.environ, publish=publish, refresh=refresh)
    for name in (*service.declaration.secrets, "PROCESSOR_TOKEN"):
        os.environ.pop(name, None)  # a mock run must not find them; `Run.secrets` has them
    return ProcessorApp(service)


class ProcessorApp(FastAPI):
    """A FastAPI app whose answers are envelopes, whatever was asked."""

    def __init__(self, service: Service) -> None:
        super().__init__(
            title=str(service.declaration.ref),
            version="v1",
            docs_url=None,
            redoc_url=None,
            redirect_slashes=False,
            lifespan=_lifespan,
        )
        self.service = service
        self._expected = f"Bearer {service.settings.token}".encode() if service.settings.token else b""
        self._handback: Handback | None = None
        self._arrived: list[_Arrived] = []
        self._hot = {
            ("POST", "/run"): self._run,
            ("POST", "/run-stream"): self._run_stream,
            ("GET", "/healthz"): self._healthz,
        }
        self.router.routes.extend(
            [
                Route("/healthz", self._health, methods=["GET"]),
                Route("/contract", self._contract, methods=["GET"]),
                Route("/run", _Endpoint(self._run), methods=["POST"]),
                Route("/run-stream", _Endpoint(self._run_stream), methods=["POST"]),
                Route("/run/{execution_id}", self._cancel, methods=["DELETE"]),
            ]
        )
        self.add_exception_handler(HTTPException, self._http_error)
        self.add_exception_handler(ProcessorError, self._refused)
        self.add_exception_handler(Exception, self._crashed)

    def openapi(self) -> dict[str, Any]:
        """Return the OpenAPI document: the real request, and every status that a run can have."""
        if self.openapi_schema is None:
            self.openapi_schema = openapi.document(
                self.service.contract(), token=bool(self._expected), roots=self.service.settings.roots.write
            )
        return self.openapi_schema

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection: the token first, then the hot routes, then FastAPI."""
        if scope["type"] != "http":
            await super().__call__(scope, receive, send)
            return
        path = scope["path"]
        if self._expected and path != "/healthz" and not http_input.authorized(scope, self._expected):
            answer = self.service.refusal(UnauthorizedError())
            await _send_early(send, http_input.Incoming(receive), answer, (b"www-authenticate", b"Bearer"))
            return
        hot = self._hot.get((scope["method"], path))
        if hot is None:
            await super().__call__(scope, receive, send)
        else:
            await hot(scope, receive, send)

    # --- endpoints

    async def _healthz(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002  # an ASGI app
        state = self.service.health()
        if state == "ok":
            await _send(send, Answer(200, _OK))
        else:
            await _send(send, Answer(503, orjson.dumps({"ok": False, "state": state})))

    async def _health(self, request: Request) -> Response:  # noqa: ARG002  # HEAD comes here; GET is answered ahead
        state = self.service.health()
        if state == "ok":
            return Response(_OK, media_type=_JSON)
        return Response(orjson.dumps({"ok": False, "state": state}), 503, media_type=_JSON)

    async def _contract(self, request: Request) -> Response:  # noqa: ARG002  # a route's signature
        return Response(orjson.dumps(self.service.contract()), media_type=_JSON)

    async def _run(self, scope: Scope, receive: Receive, send: Send) -> None:
        raw = await self._body(scope, receive, send)
        if raw is None:
            return
        loop = asyncio.get_running_loop()
        answered: asyncio.Future[Answer] = loop.create_future()
        caller = Caller(partial(_reply, self._back(), answered))
        # with all others of this turn of the loop: the first one wakes who then wants the interpreter
        self._arrived.append((raw, caller, http_input.trace_id(scope), answered))
        if len(self._arrived) == 1:
            loop.call_soon(self._submit)
        await _send(send, await answered)

    def _submit(self) -> None:
        arrived, self._arrived = self._arrived, []
        for raw, caller, trace_id, answered in arrived:
            try:
                self.service.call(raw, caller, trace_id)
            except Exception as exc:  # noqa: BLE001  # it must not cost the others their answers
                if not answered.done():
                    answered.set_exception(exc)

    async def _run_stream(self, scope: Scope, receive: Receive, send: Send) -> None:
        raw = await self._body(scope, receive, send)
        if raw is None:
            return
        stream = Stream(self._back())
        caller = Caller(stream.reply, stream.accepted, stream.events)
        self.service.call(raw, caller, http_input.trace_id(scope))
        answer = await stream.begun()
        if answer is not None and answer.refused:
            await _send(send, answer)
            return
        replayed = caller.joined or (answer is not None and answer.replayed)
        headers = _STREAM_HEADERS | ({REPLAYED_HEADER: "true"} if replayed else {})
        await EventSourceResponse(stream.read(self.service.mask.dumps), headers=headers)(scope, receive, send)

    async def _cancel(self, request: Request) -> Response:
        execution_id = request.path_params["execution_id"]
        if not self.service.cancel(execution_id):
            return _response(self.service.refusal(NotFoundError()))
        return Response(orjson.dumps({"execution_id": execution_id, "state": "cancelling"}), 202, media_type=_JSON)

    async def _body(self, scope: Scope, receive: Receive, send: Send) -> bytes | None:
        """Return the whole body; ``None`` where it was refused, which is answered, or nobody waits any more."""
        incoming = http_input.Incoming(receive)
        try:
            return await http_input.body(scope, incoming, self.service.settings.max_body_bytes)
        except http_input.ClientLeftError:
            return None
        except ProcessorError as exc:
            await _send_early(send, incoming, self.service.refusal(exc))
            return None

    # --- what goes wrong outside a run

    async def _http_error(self, request: Request, exc: Exception) -> Response:  # noqa: ARG002  # FastAPI's signature
        status = exc.status_code if isinstance(exc, HTTPException) else 500
        error = {404: NotFoundError, 405: MethodError}.get(status, InternalError)()
        headers = dict(exc.headers or {}) if isinstance(exc, HTTPException) else {}
        return _response(self.service.refusal(error), headers)

    async def _refused(self, request: Request, exc: Exception) -> Response:  # noqa: ARG002  # FastAPI's signature
        return _response(self.service.refusal(exc if isinstance(exc, ProcessorError) else InternalError()))

    async def _crashed(self, request: Request, exc: Exception) -> Response:  # noqa: ARG002  # Starlette logs *exc*
        return _response(self.service.refusal(InternalError()))

    def _back(self) -> Handback:
        if self._handback is None:
            self._handback = Handback(asyncio.get_running_loop(), self.service.at_pause)
        return self._handback


class _Endpoint:
    """An ASGI callable as a route's endpoint; Starlette takes plain functions for request handlers."""

    def __init__(self, app: Callable[[Scope, Receive, Send], Awaitable[None]]) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)


@contextlib.asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    assert isinstance(app, ProcessorApp)  # noqa: S101  # it is this module's own
    with shutdown.draining(app.service.drain):
        app.service.start()
        if app.service.side_by_side:
            sys.setswitchinterval(_SWITCH_S)
        # what is there by now stays, and need not be looked at again once in a few runs
        gc.freeze()
        gc.set_threshold(_NEW_OBJECTS, *gc.get_threshold()[1:])
        yield
    capture.flush()


def _reply(handback: Handback, answered: asyncio.Future[Answer], answer: Answer) -> None:
    """Give *answer*, from any thread, to who waits on the server's loop."""
    handback.later(partial(_settle, answered, answer))


def _settle(answered: asyncio.Future[Answer], answer: Answer) -> None:
    if not answered.done():  # its reader has not gone
        answered.set_result(answer)


def _headers(answer: Answer) -> list[tuple[bytes, bytes]]:
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(answer.body))]
    if answer.replayed:
        headers.append((REPLAYED_HEADER.encode(), b"true"))
    if answer.retry_after_s is not None:
        headers.append((b"retry-after", b"%d" % answer.retry_after_s))
    return headers


async def _send(send: Send, answer: Answer, *more: tuple[bytes, bytes]) -> None:
    headers = _headers(answer)
    headers.extend(more)
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})


async def _send_early(send: Send, incoming: http_input.Incoming, answer: Answer, *more: tuple[bytes, bytes]) -> None:
    """Send *answer* to a request that is still coming, and read on for a while.

    To close a connection while its client sends resets it, and the answer is
    lost with it (RFC 9112 §9.6).
    """
    await send({"type": "http.response.start", "status": answer.status, "headers": [*_headers(answer), *more]})
    await send({"type": "http.response.body", "body": answer.body, "more_body": True})
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_LINGER_S):
            while incoming.more:
                await incoming()
    await send({"type": "http.response.body", "body": b""})


def _response(answer: Answer, headers: dict[str, str] | None = None) -> Response:
    response = Response(answer.body, answer.status, headers=headers)
    for name, value in _headers(answer):
        response.headers[name.decode()] = value.decode()
    return response

"""The HTTP half of adapters: ask for health, ask once, translate what httpx2 raises.

Import it late: httpx2 takes longer to import than a processor needs to answer.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import aclosing, asynccontextmanager
from functools import lru_cache
from typing import Final

import httpx2
import orjson

from processor_runtime.envelopes import Envelope
from processor_runtime.errors import DeadlineError, Detail, InternalError, ProcessorError

from . import answers
from .base import DONE, Event, Payload
from .errors import BadResponseError, NetworkError
from .wire import Wire

PROBE_TIMEOUT_S: Final = 5.0  # a processor answers within 250 ms (CONTRACT §1); a loaded machine may take longer
STARTING_WAIT_S: Final = 0.1
_FIRST_WAITS_S: Final = (0.05, 0.04, 0.03, 0.02)
_SHORTEST_WAIT_S: Final = 0.01
_JSON: Final = (b"content-type", b"application/json")
_WITHOUT_END: Final = httpx2.Timeout(None).as_dict()

# Each exception that httpx2 has, by name, so that a new one is noticed by the test and not by a user.
FAILURES: Final[Mapping[type[Exception], type[ProcessorError]]] = {
    # nobody there, or gone
    httpx2.ConnectError: NetworkError,
    httpx2.ConnectTimeout: NetworkError,
    httpx2.ReadError: NetworkError,
    httpx2.WriteError: NetworkError,
    httpx2.CloseError: NetworkError,
    httpx2.NetworkError: NetworkError,
    httpx2.WriteTimeout: NetworkError,
    httpx2.PoolTimeout: NetworkError,
    httpx2.ProxyError: NetworkError,
    httpx2.RemoteProtocolError: NetworkError,  # mostly: closed without an answer
    httpx2.TransportError: NetworkError,
    httpx2.RequestError: NetworkError,
    httpx2.HTTPError: NetworkError,
    # too late
    httpx2.ReadTimeout: DeadlineError,
    httpx2.TimeoutException: DeadlineError,
    # an answer, and no envelope
    httpx2.DecodingError: BadResponseError,
    httpx2.TooManyRedirects: BadResponseError,
    httpx2.HTTPStatusError: BadResponseError,
    httpx2.SSEError: BadResponseError,
    # our own doing
    httpx2.LocalProtocolError: InternalError,
    httpx2.ProtocolError: InternalError,
    httpx2.UnsupportedProtocol: InternalError,
    httpx2.InvalidURL: InternalError,
    httpx2.CookieConflict: InternalError,
    httpx2.StreamError: InternalError,
    httpx2.StreamConsumed: InternalError,
    httpx2.StreamClosed: InternalError,
    httpx2.ResponseNotRead: InternalError,
    httpx2.RequestNotRead: InternalError,
}


def translated(exc: Exception) -> ProcessorError:
    """Return what *exc*, raised by httpx2, means to whoever asked. Its text is logged and never sent."""
    kind = next((FAILURES[base] for base in type(exc).__mro__ if base in FAILURES), InternalError)
    return kind(Detail(path="http", message=type(exc).__name__), reason=str(exc))


def unix_client(socket: str, token: str) -> httpx2.AsyncClient:
    """Return a client of the service on the Unix socket at *socket*; it reads no settings from the environment."""
    return _client(Wire(lambda: asyncio.open_unix_connection(socket)), "http://processor", token)


def tcp_client(url: str, token: str) -> httpx2.AsyncClient:
    """Return a client of the service at *url*, plain HTTP; it reads no settings from the environment."""
    at = httpx2.URL(url)
    return _client(Wire(lambda: asyncio.open_connection(at.host, at.port or 80)), url, token)


def _client(wire: Wire, url: str, token: str) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(
        transport=wire,
        base_url=url,
        headers={"authorization": f"Bearer {token}"},
        timeout=PROBE_TIMEOUT_S,
        trust_env=False,
    )


async def until_healthy(client: httpx2.AsyncClient, exited: asyncio.Task[int], *, within_s: float) -> str:
    """Return ``""`` when a run would be accepted, or in words why none will be: its end, failed set-up, no answer.

    Args:
        client: A client of one processor that was just started.
        exited: Done when that processor has ended.
        within_s: Seconds that it may take, set-up included.
    """
    settled = asyncio.create_task(_settled(client))
    try:
        await asyncio.wait({settled, exited}, timeout=within_s, return_when=asyncio.FIRST_COMPLETED)
        if settled.done():
            return settled.result()
        return "ended" if exited.done() else f"not healthy after {within_s:g} s"
    finally:
        settled.cancel()
        await asyncio.wait([settled])


async def _settled(client: httpx2.AsyncClient) -> str:
    """Return ``""`` when a run would be accepted, or that set-up failed. Waits without end."""
    waits = _waits()
    while True:
        state = await _health(client)
        if state in {"ok", "failed"}:
            return "" if state == "ok" else "set-up failed"
        # Who loads a model is asked less often: each question costs it time
        await asyncio.sleep(STARTING_WAIT_S if state == "starting" else next(waits))


def _waits() -> Iterator[float]:
    # No interpreter starts in an instant; then each moment counts
    yield from _FIRST_WAITS_S
    while True:
        yield _SHORTEST_WAIT_S


async def _health(client: httpx2.AsyncClient) -> str:
    """Return the state that `/healthz` reports, or ``""`` where nobody answers, or not by the contract."""
    try:
        response = await client.get("/healthz")
        body = orjson.loads(response.content)
    except (httpx2.HTTPError, orjson.JSONDecodeError):
        return ""
    if not isinstance(body, dict):
        return ""
    return "ok" if response.is_success and body.get("ok") is True else str(body.get("state", ""))


async def ask(client: httpx2.AsyncClient, payload: Payload, *, deadline_s: float) -> Envelope:
    """Return the envelope that answers *payload*; it is sent once.

    Args:
        client: A client of one healthy processor.
        payload: The body of `POST /run`.
        deadline_s: Seconds until the whole answer must be there.

    Raises:
        DeadlineError: it was not.
        BadResponseError: the answer is not the envelope of this execution.
        NetworkError: the connection was refused or lost.
    """
    async with answering(deadline_s):
        response = await client.send(post(client, "/run", payload), stream=True)
        try:
            return await envelope(response, payload)
        finally:
            await response.aclose()


async def stream(client: httpx2.AsyncClient, payload: Payload, *, deadline_s: float) -> AsyncGenerator[Event, None]:
    """Yield the events that answer *payload*, ``done`` last; a refusal is ``done`` alone.

    Args:
        client: A client of one healthy processor.
        payload: The body of `POST /run-stream`.
        deadline_s: Seconds until ``done`` must be there.

    Raises:
        ProcessorError: as `ask`. A stream that ends without ``done`` is a `NetworkError`.
    """
    async with answering(deadline_s):
        response = await client.send(post(client, "/run-stream", payload), stream=True)
        try:
            async with aclosing(events(response, payload)) as told:
                async for event in told:
                    yield event
        finally:
            await response.aclose()


@asynccontextmanager
async def answering(deadline_s: float) -> AsyncIterator[None]:
    """Translate what httpx2 raises within, and end it after *deadline_s* seconds.

    Raises:
        ProcessorError: as `ask`.
    """
    try:
        async with asyncio.timeout(deadline_s):
            yield
    except TimeoutError:
        raise DeadlineError(Detail(path="/timeout_s", message=f"no answer within {deadline_s:g} s")) from None
    except (httpx2.HTTPError, httpx2.StreamError) as exc:
        raise translated(exc) from exc


def post(client: httpx2.AsyncClient, path: str, payload: Payload) -> httpx2.Request:
    """Return the request that asks *path* with *payload*; it waits for its answer without end."""
    # As `client.build_request` makes it, which takes longer than all else that is done for a run here: it merges URLs,
    # headers, cookies and parameters one by one
    return httpx2.Request(
        "POST",
        _url(str(client.base_url).rstrip("/") + path),
        headers=[*client.headers.raw, _JSON],
        content=orjson.dumps(payload),
        extensions={"timeout": _WITHOUT_END},
    )


_url = lru_cache(maxsize=64)(httpx2.URL)


async def envelope(response: httpx2.Response, payload: Payload) -> Envelope:
    """Return the envelope in *response*, which is still to be read.

    Raises:
        BadResponseError: it is not the envelope of this execution.
        httpx2.HTTPError: the connection was lost.
    """
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > answers.MAX_BYTES:
            raise BadResponseError(Detail(path="", message=f"must be at most {answers.MAX_BYTES} bytes"))
    content_type = response.headers.get("content-type", "")
    return answers.parse(bytes(body), status=response.status_code, content_type=content_type, payload=payload)


async def events(response: httpx2.Response, payload: Payload) -> AsyncGenerator[Event, None]:
    """Yield the events in *response*, which is still to be read, ``done`` last; a refusal is ``done`` alone.

    Raises:
        BadResponseError: not an event of this execution, or no event.
        NetworkError: it ended without ``done``.
        httpx2.HTTPError: the connection was lost.
    """
    if not response.headers.get("content-type", "").startswith("text/event-stream"):
        yield Event(DONE, await envelope(response, payload))
        return
    async for sent in httpx2.EventSource(response, max_event_size=answers.MAX_BYTES):
        event = answers.event(sent.event, sent.data.encode(), payload=payload)
        yield event
        if event.name == DONE:
            return
    raise NetworkError(Detail(path="http", message="the stream ended without done"))

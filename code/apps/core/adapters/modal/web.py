"""Modal's web server: asked once, followed to where the result waits.

A request that takes longer than 150 s is answered by a 303 to an address that
waits for the same call; so is a request for that address. Import it late, as
`adapters.http`.
"""

import asyncio
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing, contextmanager, suppress
from dataclasses import dataclass
from typing import Final

import httpx2

from apps.core.adapters import http
from apps.core.adapters.base import Event, Payload
from apps.core.adapters.errors import BadResponseError, NetworkError
from apps.core.adapters.journal import Journal
from processor_runtime.envelopes import Envelope
from processor_runtime.errors import Detail, ProcessorError

from . import replies
from .limits import Limits
from .results import Kept

CALL_ID: Final = "__modal_function_call_id"
_SEE_OTHER: Final = 303
_NOT_FOUND: Final = 404
_TEXT_BYTES: Final = 2048


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One deployed processor, by its address.

    Attributes:
        client: Made by `client`.
        kept: Where the address of the result is kept.
        limits: How long each step may take.
        deadline_s: Seconds until the whole answer must be there.
        journal: Told of each step.
    """

    client: httpx2.AsyncClient
    kept: Kept
    limits: Limits
    deadline_s: float
    journal: Journal

    async def run(self, payload: Payload, *, timeout_s: float) -> Envelope:  # noqa: ARG002  # an adapter's signature
        """Return the envelope that answers *payload*; it is sent once, or not at all where its result is kept.

        Raises:
            ProcessorError: there is no envelope. After a `DeadlineError` the result stays to be collected.
        """
        async with http.answering(self.deadline_s):
            with self._collecting():
                response = await self._first("/run", payload)
                while True:
                    try:
                        async with aclosing(response):
                            await _refuse_foreign(response)
                            return await http.envelope(response, payload)
                    except httpx2.TransportError as exc:
                        response = await self._settled(await self._again(response.request, exc))

    async def stream(self, payload: Payload, *, timeout_s: float) -> AsyncGenerator[Event, None]:  # noqa: ARG002  # the same
        """Yield the events that answer *payload*, ``done`` last; sent once, as by `run`.

        Raises:
            ProcessorError: as `run`. A stream that breaks is a `NetworkError`: what was told is not told again.
        """
        async with http.answering(self.deadline_s):
            with self._collecting():
                response = await self._first("/run-stream", payload)
                async with aclosing(response), aclosing(http.events(response, payload)) as told:
                    await _refuse_foreign(response)
                    try:
                        async for event in told:
                            yield event
                    except httpx2.ReadTimeout as exc:
                        raise _silent(self.limits) from exc

    async def cancel(self, execution_id: str) -> None:
        """Ask for the end of a run, for as long as a caller that is ending may wait; it may reach another container."""
        self.kept.forget()
        with suppress(httpx2.HTTPError, TimeoutError):
            async with asyncio.timeout(self.limits.cancel_s):
                response = await self.client.delete(f"/run/{execution_id}")
                self.journal.event("adapter.modal.cancel", http_status=response.status_code)

    @contextmanager
    def _collecting(self) -> Iterator[None]:
        """Forget the result once there is an answer, whatever it is; not where waiting for it was given up."""
        try:
            yield
        except ProcessorError:
            self.kept.forget()
            raise
        else:
            self.kept.forget()

    async def _first(self, path: str, payload: Payload) -> httpx2.Response:
        """Return the answer to a request for the kept result, and where there is none, to *payload*, sent once."""
        if (result := self._kept()) is not None:
            self.journal.event("adapter.modal.collect")
            response = await self._settled(self._get(result))
            if response.status_code != _NOT_FOUND or _kind(response) != "text/plain":
                return response
            await response.aclose()
            self.kept.forget()  # too old, or collected: whoever asks now has it from the processor, who keeps receipts
        request = http.post(self.client, path, payload)
        request.extensions["timeout"] = self._timeout().as_dict()
        return await self._settled(request)

    def _kept(self) -> httpx2.URL | None:
        url = self.kept.load()
        try:
            return _result(self.client.base_url, url) if url else None
        except BadResponseError:  # of a deployment that had another address
            return None

    async def _settled(self, request: httpx2.Request) -> httpx2.Response:
        """Return what answers at the end of all redirects, still to be read."""
        while True:
            try:
                response = await self.client.send(request, stream=True)
            except httpx2.TransportError as exc:
                request = await self._again(request, exc)
                continue
            if response.status_code != _SEE_OTHER:
                return response
            await response.aclose()
            result = _result(request.url, response.headers.get("location", ""))
            self.kept.save(str(result))
            self.journal.event("adapter.modal.wait")
            request = self._get(result)

    async def _again(self, request: httpx2.Request, lost: httpx2.TransportError) -> httpx2.Request:
        """Return *request*, which was *lost*, to be sent once more, after a moment; only if it collects a result.

        Raises:
            NetworkError: nothing was said for too long.
            httpx2.TransportError: *lost*, where the run itself would be asked for a second time.
        """
        if request.method != "GET":
            raise _silent(self.limits) if isinstance(lost, httpx2.ReadTimeout) else lost
        await asyncio.sleep(self.limits.retry_wait_s)
        return self._get(request.url)

    def _get(self, url: httpx2.URL) -> httpx2.Request:
        return self.client.build_request("GET", url, timeout=self._timeout())

    def _timeout(self) -> httpx2.Timeout:
        return httpx2.Timeout(self.limits.hop_s, connect=self.limits.connect_s)


def client(url: str, headers: Mapping[str, str], limits: Limits) -> httpx2.AsyncClient:
    """Return a client of the processor at *url*; it follows no redirect, and reads no settings from the environment."""
    return httpx2.AsyncClient(
        base_url=url.rstrip("/"),
        headers=dict(headers),
        timeout=httpx2.Timeout(limits.hop_s, connect=limits.connect_s),
        follow_redirects=False,
        trust_env=False,
    )


async def refusal(client: httpx2.AsyncClient, ref: str, *, deadline_s: float) -> Envelope:
    """Return the envelope by which the processor refuses a route that it does not have.

    It runs nothing and writes nothing, and says like any other which image answers.

    Raises:
        ProcessorError: there is no such envelope within *deadline_s* seconds.
    """
    url = client.base_url.join("which-image")
    async with http.answering(deadline_s):
        while True:
            response = await client.send(client.build_request("GET", url), stream=True)
            async with aclosing(response):
                if response.status_code != _SEE_OTHER:
                    await _refuse_foreign(response)
                    return await http.envelope(response, {"ref": ref, "execution_id": ""})
            url = _result(url, response.headers.get("location", ""))


def _result(asked: httpx2.URL, location: str) -> httpx2.URL:
    """Return the address of the result that *location* names.

    Raises:
        BadResponseError: of another origin, which must not see the proxy token, or no call's result.
    """
    with suppress(httpx2.InvalidURL):
        target = asked.join(location)
        same = all(getattr(target, part) == getattr(asked, part) for part in ("scheme", "host", "port", "userinfo"))
        if same and target.params.get(CALL_ID):
            return target
    raise BadResponseError(Detail(path="location", message=f"must be of the same origin and name a {CALL_ID}"))


async def _refuse_foreign(response: httpx2.Response) -> None:
    """Refuse an answer that is not the processor's.

    Raises:
        ProcessorError: what it means.
    """
    if _kind(response) in {"application/json", "text/event-stream"}:
        return
    text = b""
    async for chunk in response.aiter_bytes():
        text += chunk
        if len(text) >= _TEXT_BYTES:
            break
    raise replies.refusal(response.status_code, _kind(response), text[:_TEXT_BYTES].decode(errors="replace"))


def _kind(response: httpx2.Response) -> str:
    return str(response.headers.get("content-type", "")).partition(";")[0].strip().lower()


def _silent(limits: Limits) -> NetworkError:
    return NetworkError(Detail(path="modal", message=f"no sign of life within {limits.hop_s:g} s"))

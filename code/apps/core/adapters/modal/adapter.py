"""A processor that is deployed on Modal: found by its name, asked by HTTP, its files carried by a Volume."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from apps.core.adapters.base import DONE, Adapter, Event, Payload
from apps.core.adapters.drift import DriftChecked
from apps.core.adapters.errors import EndpointMissingError
from apps.core.adapters.journal import Journal
from apps.core.images.errors import ImageUnpinnedError
from apps.core.registry import Registration
from processor_runtime.envelopes import Envelope
from processor_runtime.errors import Detail
from processor_runtime.prefix import expand
from processor_runtime.values import Digest

from . import replies
from .errors import ModalAuthError
from .lanes import lane_here
from .limits import DEFAULT, Limits
from .naming import app_name
from .references import carried
from .results import Kept

if TYPE_CHECKING:
    import modal

    from .volume import Volume
    from .web import Endpoint

FUNCTION: Final = "fastapi_app"
PLATFORM: Final = "amd64"  # the only one that Modal runs
_CACHED_S: Final = 10.0

_urls: Final[dict[tuple[str, ...], tuple[float, str]]] = {}


@dataclass(frozen=True, slots=True)
class ModalAdapter:
    """Runs one processor where it is deployed.

    Attributes:
        registration: The processor.
        artifacts_root: What `/artifacts` is on this machine.
        var: Where the addresses of results are kept.
        environ: The caller's environment: Modal's tokens, and the lane.
        start_allowance_s: How long a container may take until it works on a run, beyond the run's own time.
        journal: Told of each step.
        expected: The only image whose answer is accepted; ``None`` for the one that the registry pins.
        limits: How long each step may take.
    """

    registration: Registration
    artifacts_root: Path
    var: Path
    environ: Mapping[str, str]
    start_allowance_s: float
    journal: Journal
    expected: Digest | None = None
    limits: Limits = DEFAULT

    async def run(self, payload: Payload, *, timeout_s: float) -> Envelope:
        """Return the envelope of one run; what it names lies in the artifacts folder then.

        Raises:
            EndpointMissingError: nothing is deployed under this name.
            ModalAuthError: Modal refuses the token, or its web server the proxy token.
            DigestDriftError: another image answered than the expected one.
            ImageUnpinnedError: no image is expected, because none is pinned.
            DeadlineError: no answer in time; whoever asks again gets it when it is there.
            ProcessorError: as the tables in `sdk` and `replies` say.
        """
        async with self._call("/run", payload, timeout_s) as call:
            try:
                envelope = await call.carrier.run(payload, timeout_s=timeout_s)
            except asyncio.CancelledError:
                await asyncio.shield(call.endpoint.cancel(payload["execution_id"]))
                raise
            await call.collect(envelope, payload)
            return envelope

    async def stream(self, payload: Payload, *, timeout_s: float) -> AsyncGenerator[Event, None]:
        """Yield what one run tells, ``done`` last; what that names lies in the artifacts folder then.

        Raises:
            ProcessorError: as `run`.
        """
        async with self._call("/run-stream", payload, timeout_s) as call:
            done: Event | None = None
            try:
                async with aclosing(call.carrier.stream(payload, timeout_s=timeout_s)) as told:
                    async for event in told:
                        if event.name == DONE:
                            done = event
                        else:
                            yield event
            except (asyncio.CancelledError, GeneratorExit):
                await asyncio.shield(call.endpoint.cancel(payload["execution_id"]))
                raise
            if done is not None:
                await call.collect(done.data, payload)
                yield done

    @asynccontextmanager
    async def _call(self, path: str, payload: Payload, timeout_s: float) -> AsyncIterator["_Call"]:
        """Find the processor and send it the files that *payload* refers to; *path* is where it will be asked."""
        expected, headers = self._expected(), proxy_headers(self.environ)
        lane = await asyncio.to_thread(lane_here, "", self.environ, self.registration.folder)
        app = app_name(self.registration.ref, lane)
        journal = self.journal.bind(app=app, environment=lane.environment)

        from . import sdk, web  # noqa: PLC0415  # see their docstrings

        async with sdk.client(self.environ, within_s=self.limits.lookup_s) as opened:
            url = await self._url(opened, app, lane.environment)
            journal.event("adapter.modal.resolve")
            files = _Files(opened, lane.environment, self.artifacts_root, self.limits.transfer_s, journal)
            await files.send(payload)
            async with web.client(url, headers, self.limits) as client:
                kept = Kept.of(self.var / "modal" / "results", app, path, payload)
                deadline_s = timeout_s + self.start_allowance_s
                endpoint = web.Endpoint(client, kept, self.limits, deadline_s, journal)
                try:
                    yield _Call(endpoint, DriftChecked(endpoint, expected), files.collect)
                except EndpointMissingError:
                    _urls.clear()
                    raise

    def _expected(self) -> Digest:
        if self.expected is not None:
            return self.expected
        if (pin := self.registration.platforms.get(PLATFORM)) is not None:
            return pin.digest
        rule = f"registry.yaml pins no {PLATFORM} image: publish one, or name the deployed one by --expected-digest"
        raise ImageUnpinnedError(Detail(path="/image/platforms", message=rule))

    async def _url(self, client: "modal.Client", app: str, environment: str) -> str:
        """Return the address that Modal gave *app*; it is asked for, never built, and remembered for some seconds."""
        key = (app, environment, *(self.environ.get(name, "") for name in ("MODAL_SERVER_URL", "MODAL_TOKEN_ID")))
        until, url = _urls.get(key, (0.0, ""))
        if time.monotonic() < until:
            return url

        from . import sdk  # noqa: PLC0415  # see its docstring

        async with sdk.within(self.limits.lookup_s, f"where {app} is"):
            url = await sdk.web_url(client, app, FUNCTION, environment)
        if not url:
            raise EndpointMissingError(Detail(path="modal", message=f"{app} in {environment} has no web function"))
        _urls[key] = (time.monotonic() + _CACHED_S, url)
        return url


def proxy_headers(environ: Mapping[str, str]) -> dict[str, str]:
    """Return what Modal's web server wants to see of *environ*; nothing where neither variable is set.

    Raises:
        ModalAuthError: one is set, and its other half is not.
    """
    key, secret = environ.get(replies.KEY, ""), environ.get(replies.SECRET, "")
    if bool(key) != bool(secret):
        missing = replies.SECRET if key else replies.KEY
        raise ModalAuthError(Detail(path=missing, message="not set, and its other half is"))
    return {"Modal-Key": key, "Modal-Secret": secret} if key else {}


@dataclass(frozen=True, slots=True)
class _Call:
    """What one run is made with.

    Attributes:
        endpoint: The processor.
        carrier: The same, refusing the answers of other images.
        collect: Brings here what a success envelope names.
    """

    endpoint: "Endpoint"
    carrier: Adapter
    collect: Callable[[Envelope, Payload], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class _Files:
    """The files of one run, on their way through the Volume."""

    client: "modal.Client"
    environment: str
    root: Path
    limit_s: float
    journal: Journal

    async def send(self, payload: Payload) -> None:
        """Send what *payload* refers to, unless it is there."""
        paths = carried(payload, self.root)
        if not paths:
            return
        async with self._opened() as volume:
            sent = await volume.upload(paths)
        self.journal.event("adapter.modal.upload", files=len(paths), sent=sent)

    async def collect(self, envelope: Envelope, payload: Payload) -> None:
        """Bring here what *envelope* names, if it is a success."""
        if envelope["status"] != "success":
            return
        async with self._opened() as volume:
            await volume.download(envelope, expand(payload["write_prefix"], payload["execution_id"]))
        self.journal.event("adapter.modal.download", files=len(envelope["outputs"]))

    @asynccontextmanager
    async def _opened(self) -> AsyncIterator["Volume"]:
        from . import sdk  # noqa: PLC0415  # see its docstring
        from .volume import Volume  # noqa: PLC0415  # the same

        async with sdk.within(self.limit_s, "the artifacts Volume"):
            yield await Volume.open(self.client, self.environment, self.root)

"""Containers that serve many runs, found by what they are: a run never meets another image, mode or folder."""

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import orjson

from apps.core.adapters.base import Adapter, Event, Payload
from apps.core.adapters.journal import Journal
from apps.core.adapters.lines import Lines
from processor_runtime.envelopes import Envelope
from processor_runtime.prefix import Roots

from .engine import NOT_FOUND, Engine, EngineRefusedError
from .folders import User, own_folder
from .labels import Labels
from .logs import hear
from .network import Network
from .running import Container
from .tasks import to_the_end

if TYPE_CHECKING:
    import httpx2

_TOKEN: Final = "PROCESSOR_TOKEN="  # noqa: S105  # the name of a variable
_CANCEL_S: Final = 2.0
_LINGER_S: Final = 0.2  # a line comes some milliseconds after the answer that it tells of


def name(labels: Labels) -> str:
    """Return what a warm container with these *labels* is called: there can be one, also when two make it at once."""
    parts = (labels.ref, labels.mode, labels.digest, labels.artifacts, labels.user, labels.network)
    key = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]
    return f"processor-{labels.slug}-warm-{key}"


async def find(engine: Engine, labels: Labels, image: str) -> dict[str, Any] | None:
    """Return what the engine says about the running warm container with these *labels*; ``None`` if there is none.

    Args:
        engine: The engine.
        labels: What it says about itself.
        image: The id of the image that it must run, in the engine's word.

    Raises:
        DockerError: the engine refused or failed.
    """
    try:
        seen: dict[str, Any] = await engine.ask("GET", f"/containers/{name(labels)}/json")
    except EngineRefusedError as exc:
        if exc.engine_status == NOT_FOUND:
            return None
        raise
    return seen if seen["State"]["Running"] and seen["Image"] == image else None


@asynccontextmanager
async def joined(
    engine: Engine, seen: dict[str, Any], network: Network, journal: Journal
) -> AsyncIterator[tuple[Container, "OwnLines"]]:
    """Give the warm container that was *seen*, and its lines, forwarded meanwhile; it goes on running afterwards.

    Raises:
        DockerError: the engine refused or failed.
    """
    secret = token(seen)
    lines = OwnLines(journal.hiding(secret))
    heard = await hear(engine, seen["Id"], lines)
    container = Container(engine, seen["Id"], heard, url=network.url(seen["NetworkSettings"]), token=secret)
    try:
        yield container, lines
        await lines.settled(within_s=_LINGER_S)
    finally:
        await container.forget()
        await heard.stop(ended=False)


def token(seen: dict[str, Any]) -> str:
    """Return what the service in the container that was *seen* wants to hear: who may ask the engine may know it."""
    found: str = next(each.removeprefix(_TOKEN) for each in seen["Config"]["Env"] if each.startswith(_TOKEN))
    return found


class OwnLines(Lines):
    """Lines of a container that others use too: told are those of the executions of this caller, and those of none."""

    def __init__(self, journal: Journal) -> None:
        super().__init__(journal)
        self._open: dict[str, asyncio.Event] = {}

    def expect(self, execution_id: str) -> None:
        """Tell the lines of this execution from now on."""
        self._open[execution_id] = asyncio.Event()

    def release(self, execution_id: str) -> None:
        """Stop telling them, when the last one has had time to come."""
        asyncio.get_running_loop().call_later(_LINGER_S, self._open.pop, execution_id, None)

    async def settled(self, *, within_s: float, execution_id: str | None = None) -> None:
        """Return when this execution, or each that is expected, told of its end; at the latest after *within_s*."""
        events = [event for name, event in self._open.items() if execution_id in {None, name}]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                for event in events:
                    await event.wait()

    def _take(self, fd: int, line: bytes) -> None:
        execution_id, event = _told(line)
        if execution_id and execution_id not in self._open:
            return
        super()._take(fd, line)
        if execution_id and event in {"http.run.settle", "http.run.error"}:
            self._open[execution_id].set()


def _told(line: bytes) -> tuple[str, str]:
    """Return the execution that *line* tells of, ``""`` for none, and its event."""
    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError:
        return "", ""
    if not isinstance(record, dict):
        return "", ""
    return str(record.get("execution_id", "")), str(record.get("event", ""))


class WarmRuns:
    """An adapter of one warm container: each run finds its folder, and one that nobody waits for any more is ended."""

    def __init__(self, inner: Adapter, client: "httpx2.AsyncClient", lines: OwnLines, roots: Roots) -> None:
        self._inner = inner
        self._client = client
        self._lines = lines
        self._roots = roots

    async def run(self, payload: Payload, *, timeout_s: float) -> Envelope:
        """Return what the inner adapter returns; raises as it does."""
        async with self._listening(payload):
            return await self._inner.run(payload, timeout_s=timeout_s)

    async def stream(self, payload: Payload, *, timeout_s: float) -> AsyncGenerator[Event, None]:
        """Yield what the inner adapter yields; raises as it does."""
        async with (
            self._listening(payload),
            aclosing(self._inner.stream(payload, timeout_s=timeout_s)) as events,
        ):
            async for event in events:
                yield event

    @asynccontextmanager
    async def _listening(self, payload: Payload) -> AsyncIterator[None]:
        execution_id = payload["execution_id"]
        with own_folder(payload, self._roots, User.here()):
            self._lines.expect(execution_id)
            try:
                yield
            except (asyncio.CancelledError, GeneratorExit):
                await to_the_end(self._cancel(execution_id))
                raise
            finally:
                self._lines.release(execution_id)

    async def _cancel(self, execution_id: str) -> None:
        """Ask for the end of this execution, and give it time to put that on record."""
        from apps.core.adapters.http import FAILURES  # noqa: PLC0415  # httpx2 is there by now

        with contextlib.suppress(*FAILURES):  # a request, and of an optional capability
            await self._client.delete(f"/run/{execution_id}")
        await self._lines.settled(within_s=_CANCEL_S, execution_id=execution_id)

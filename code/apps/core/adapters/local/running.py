"""One container: made, started, watched, and removed whatever happens."""

import asyncio
import contextlib
import secrets
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

from apps.core.adapters.errors import DigestDriftError, DockerError, HealthError, ImageNotFoundError
from apps.core.adapters.journal import Journal
from apps.core.adapters.lines import Lines
from processor_runtime.errors import Detail

from .container import STOP_S, Plan
from .engine import NOT_FOUND, Engine, EngineRefusedError
from .labels import Labels
from .logs import Heard, hear
from .tasks import end, to_the_end

if TYPE_CHECKING:
    import httpx2

REMOVE_S: Final = 60.0
_SIGNALLED: Final = 128  # the engine adds it to the number of the signal that ended a process


class Container:
    """A running container, and what it said last.

    Attributes:
        id: What the engine calls it.
        url: Where its service answers.
        token: What its service wants to hear.
        exited: Done when it has ended, with its exit status; fails where the engine goes away.
    """

    def __init__(self, engine: Engine, container_id: str, heard: Heard, *, url: str, token: str) -> None:
        self.id = container_id
        self.url = url
        self.token = token
        self.exited: asyncio.Task[int] = asyncio.create_task(_exit_status(engine, container_id))
        self._engine = engine
        self._heard = heard

    async def tail(self) -> str:
        """Return at most the last 2 KiB that it wrote to stderr, masked."""
        lines = await self._heard.all() if self.exited.done() else self._heard.lines
        return lines.tail()

    async def ending(self) -> str:
        """Return how it ended, in words: ``exit status 3``, ``signal SIGKILL`` or ``out of memory``.

        Raises:
            DockerError: the engine went away, or it was removed by somebody else.
        """
        await self.exited
        state = (await self._engine.ask("GET", f"/containers/{self.id}/json"))["State"]
        return described(state["ExitCode"], out_of_memory=state["OOMKilled"])

    async def forget(self) -> None:
        """Watch it no more."""
        await end(self.exited)


async def _exit_status(engine: Engine, container_id: str) -> int:
    status: int = (await engine.ask("POST", f"/containers/{container_id}/wait", timeout_s=None))["StatusCode"]
    return status


def described(status: int, *, out_of_memory: bool) -> str:
    """Return in words how a container with this exit *status* ended."""
    if out_of_memory:
        return f"out of memory, exit status {status}"
    with contextlib.suppress(ValueError):
        return f"signal {signal.Signals(status - _SIGNALLED).name}"
    return f"exit status {status}"


def unique_name(labels: Labels) -> str:
    """Return a name for a new container; nobody has it yet."""
    return f"processor-{labels.slug}-{secrets.token_hex(6)}"


@asynccontextmanager
async def started(
    engine: Engine, plan: Plan, name: str, journal: Journal, *, keep: bool = False
) -> AsyncIterator[Container]:
    """Give the container that *plan* describes, running; at the end it is removed.

    By force, because its run has settled; where its caller leaves in the middle
    of one, it is asked to end first, so that the run is on record as cancelled.
    With *keep* it stays, unless something went wrong.

    Raises:
        ImageNotFoundError: its image was removed meanwhile.
        DigestDriftError: the engine made it from another image.
        DockerError: the engine refused or failed.
    """
    polite = stays = False
    target = name
    heard: Heard | None = None
    try:
        container_id = target = await created(engine, plan, name)  # it may be called something else by the end
        heard = await hear(engine, container_id, Lines(journal))
        container = Container(engine, container_id, heard, url=await run(engine, plan, container_id), token=plan.token)
        try:
            yield container
            stays = keep
        finally:
            await container.forget()
    except (asyncio.CancelledError, GeneratorExit):
        polite = True
        raise
    finally:
        if not stays:
            await to_the_end(_cleaned(engine, target, polite=polite, journal=journal.bind(container=name)))
        if heard is not None:
            await heard.stop(ended=not stays)


async def healthy(container: Container, client: "httpx2.AsyncClient", within_s: float) -> None:
    """Return when a run would be accepted.

    Raises:
        HealthError: it died, failed its set-up or was not healthy in time; the details hold the last 2 KiB of its
            stderr.
        DockerError: the engine went away.
    """
    from apps.core.adapters import http  # noqa: PLC0415  # imported while the container starts

    reason = await http.until_healthy(client, container.exited, within_s=within_s)
    if reason:
        how = await container.ending() if container.exited.done() else reason
        tail = await container.tail()
        raise HealthError(Detail(path="container", message=how), Detail(path="stderr", message=tail))


async def created(engine: Engine, plan: Plan, name: str) -> str:
    """Return the id of a new container called *name*, which is not started.

    Raises:
        ImageNotFoundError: its image was removed meanwhile.
        DockerError: the engine refused or failed.
    """
    try:
        # to its end: one that is made while nobody waits any more would stay
        made = await to_the_end(engine.ask("POST", "/containers/create", plan.config(), name=name))
    except EngineRefusedError as exc:
        if exc.engine_status == NOT_FOUND and "image" in exc.reason.lower():
            raise ImageNotFoundError(Detail(path=plan.image.id, message="was removed meanwhile: ask again")) from exc
        raise
    container_id: str = made["Id"]
    if plan.network.shared not in {"", plan.network.home}:
        await engine.ask("POST", f"/networks/{plan.network.shared}/connect", {"Container": container_id})
    return container_id


async def run(engine: Engine, plan: Plan, container_id: str) -> str:
    """Start the container that was *created* by *plan*, and return where it answers; ``""`` if it has ended already.

    Raises:
        DigestDriftError: the engine made it from another image.
        DockerError: the engine refused or failed.
    """
    await engine.ask("POST", f"/containers/{container_id}/start")
    seen: dict[str, Any] = await engine.ask("GET", f"/containers/{container_id}/json")
    if seen["Image"] != plan.image.id:
        rule = f"must be made from {plan.image.id}, and is made from {seen['Image']}"
        raise DigestDriftError(Detail(path="container", message=rule))
    return plan.network.url(seen["NetworkSettings"]) if seen["State"]["Running"] else ""


async def stopped(engine: Engine, name: str, within_s: int) -> None:
    """Ask the container called *name* to end, and remove it after *within_s* seconds whether it did or not.

    Raises:
        DockerError: the engine refused or failed.
    """
    with contextlib.suppress(EngineRefusedError):  # it is not running, or not even there
        await engine.ask("POST", f"/containers/{name}/stop", t=within_s)
    await removed(engine, name)


async def removed(engine: Engine, name: str) -> None:
    """Remove the container called *name*, running or not; one that is not there is removed already.

    Raises:
        DockerError: the engine refused or failed.
    """
    try:
        await engine.ask("DELETE", f"/containers/{name}", timeout_s=REMOVE_S, force=True, v=True)
    except EngineRefusedError as exc:
        if exc.engine_status != NOT_FOUND and "already in progress" not in exc.reason:
            raise


async def _cleaned(engine: Engine, target: str, *, polite: bool, journal: Journal) -> None:
    try:
        await (stopped(engine, target, STOP_S["cold"]) if polite else removed(engine, target))
    except DockerError as exc:  # the answer is worth no less for it
        journal.event("adapter.local.left", level="warning", details=exc.details, next="localctl prune")

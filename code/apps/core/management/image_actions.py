"""What `processorctl` does: one function for each action, each of which answers with one row for each image."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from apps.core.adapters.journal import Journal
from apps.core.executions import resolve
from apps.core.host import Host
from apps.core.images.build import build
from apps.core.images.client import Tell, engine_platform
from apps.core.images.errors import ImageUnpinnedError
from apps.core.images.pin import write_pins
from apps.core.images.publish import Published, pinnable, publish, push
from apps.core.images.source import source_digest
from apps.core.images.verify import verify
from apps.core.management.command import UsageError
from apps.core.management.image_rows import Row, failed
from apps.core.registry import ImageReference, ImageReferenceError, Registration, Repository, load_registry
from processor_runtime.errors import Detail, ErrorCode, ProcessorError


class UnwritableError(ProcessorError):
    """The registry file cannot be written."""

    code = ErrorCode.REGISTRY_INVALID
    message = "registry.yaml cannot be written"


@dataclass(frozen=True, slots=True)
class Asked:
    """What a command line asks for.

    Attributes:
        refs: Which processors; none means every one.
        platforms: For which platforms; none leaves it to the action.
        repository: Below which name images are stored; ``""`` leaves it to `IMAGE_REPOSITORY` and the pins.
        base_image: What to build on; ``None`` leaves it to `build`.
        rebuild: Build also what is there.
        image: What to pin.
    """

    refs: tuple[str, ...] = ()
    platforms: tuple[str, ...] = ()
    repository: str = ""
    base_image: str | None = None
    rebuild: bool = False
    image: ImageReference | None = None


@dataclass(frozen=True, slots=True)
class _Task:
    """One processor, and all that an action needs to deal with it."""

    registration: Registration
    asked: Asked
    host: Host
    tell: Tell

    @property
    def ref(self) -> str:
        return str(self.registration.ref)

    @property
    def source(self) -> str:
        return source_digest(self.registration)

    async def platforms(self) -> Sequence[str]:
        """Return for which platforms something is built: the engine's own, if none is asked for."""
        return self.asked.platforms or (await engine_platform(self.host.environ),)

    async def rows(self, platforms: Sequence[str], work: Callable[[str], Awaitable[Row]]) -> list[Row]:
        """Return the row of each platform, which *work* makes, or why there is none: one failure stops no other."""
        rows = []
        for platform in platforms:
            try:
                rows.append(await work(platform))
            except ProcessorError as exc:
                rows.append(failed(self.ref, platform, exc))
        return rows

    def repository(self) -> Repository:
        """Return where the processor's images are stored.

        Raises:
            UsageError: nothing says where.
        """
        base = self.asked.repository or self.host.environ.get("IMAGE_REPOSITORY", "")
        if base:
            try:
                return Repository.parse(f"{base}/{self.registration.folder.name}")
            except ImageReferenceError as exc:
                raise UsageError(f"--repository: {exc}") from exc
        for reference in self.registration.platforms.values():
            return Repository.parse(reference.repository)
        raise UsageError(f"--repository: required, because {self.ref} has no pin that says where its images are stored")


Action = Callable[[_Task], Awaitable[list[Row]]]


async def carried_out(action: str, asked: Asked, host: Host, journal: Journal) -> list[Row]:
    """Return the rows of *action*, which is one of `ACTIONS`.

    Raises:
        UsageError: what is asked for cannot mean anything.
    """
    tasks: list[_Task] = []
    rows: list[Row] = []
    try:
        refs = asked.refs or [str(each.ref) for each in load_registry(host.processors)]
    except ProcessorError as exc:
        return [failed("", "", exc)]
    for ref in refs:
        try:
            tasks.append(_Task(resolve(ref, host.processors), asked, host, _teller(action, ref, journal)))
        except ProcessorError as exc:
            rows.append(failed(ref, "", exc))
    if action in _STORING:
        for task in tasks:
            task.repository()  # whoever forgot to say where learns it before anything is built
    for task in tasks:
        try:
            rows += await ACTIONS[action](task)
        except ProcessorError as exc:
            rows.append(failed(task.ref, "", exc))
    return rows


def _teller(action: str, ref: str, journal: Journal) -> Tell:
    journal = journal.bind(ref=ref)
    return lambda line: journal.event(f"image.{action}", message=line)


async def _build(task: _Task) -> list[Row]:
    async def work(platform: str) -> Row:
        asked = task.asked
        image = await build(
            task.registration,
            environ=task.host.environ,
            platform=platform,
            base_image=asked.base_image,
            rebuild=asked.rebuild,
            tell=task.tell,
        )
        return Row(task.ref, platform, "there" if image.reused else "built", image.name, image.labels.source)

    return await task.rows(await task.platforms(), work)


async def _push(task: _Task) -> list[Row]:
    repository = task.repository()

    async def work(platform: str) -> Row:
        pushed = await push(task.registration, repository, platform=platform, environ=task.host.environ, tell=task.tell)
        return _row(task, pushed, "pushed")

    return await task.rows(await task.platforms(), work)


async def _publish(task: _Task) -> list[Row]:
    """Publish for every platform, then pin what came of it at once: `default_platform` has to be among the pins."""
    repository, asked = task.repository(), task.asked
    pins: dict[str, ImageReference] = {}

    async def work(platform: str) -> Row:
        there = await publish(
            task.registration,
            repository,
            platform=platform,
            environ=task.host.environ,
            base_image=asked.base_image,
            rebuild=asked.rebuild,
            tell=task.tell,
        )
        pins[platform] = there.image.reference
        return _row(task, there, there.state)

    rows = await task.rows(await task.platforms(), work)
    try:
        await _write(task, pins)
    except ProcessorError as exc:
        return [row if row.error else failed(task.ref, row.platform, exc) for row in rows]
    return rows


async def _pin(task: _Task) -> list[Row]:
    async def work(platform: str) -> Row:
        if task.asked.image is None:
            raise ImageUnpinnedError(Detail(path="--image", message="no image was given"))
        image = await pinnable(task.registration, task.asked.image, platform, task.host.environ)
        changed = await _write(task, {platform: image.reference})
        return Row(task.ref, platform, "pinned" if changed else "unchanged", str(image.reference), image.labels.source)

    return await task.rows(task.asked.platforms or (task.registration.default_platform,), work)


async def _verify(task: _Task) -> list[Row]:
    async def work(platform: str) -> Row:
        image = await verify(task.registration, platform, task.host.environ)
        return Row(task.ref, platform, "verified", str(image.reference), image.labels.source)

    pinned = tuple(task.registration.platforms)
    return await task.rows(task.asked.platforms or pinned or (task.registration.default_platform,), work)


async def _list(task: _Task) -> list[Row]:
    pins = task.registration.platforms
    rows = [Row(task.ref, platform, "pinned", str(reference), task.source) for platform, reference in pins.items()]
    return rows or [Row(task.ref, task.registration.default_platform, "unpinned", source=task.source)]


ACTIONS: Final[Mapping[str, Action]] = {
    "build": _build,
    "push": _push,
    "pin": _pin,
    "publish": _publish,
    "verify": _verify,
    "list": _list,
}
_STORING: Final = frozenset({"push", "publish"})


async def _write(task: _Task, pins: Mapping[str, ImageReference]) -> bool:
    if not pins:
        return False
    try:
        return await asyncio.to_thread(write_pins, task.registration, pins)
    except OSError as exc:
        raise UnwritableError(Detail(path=task.registration.folder.name, message=exc.strerror or str(exc))) from exc


def _row(task: _Task, there: Published, state: str) -> Row:
    reference = there.image.reference
    sbom = ImageReference.parse(f"{reference.repository}@{there.bill}")
    return Row(task.ref, there.image.platform, state, str(reference), there.image.labels.source, str(sbom))

"""The door to Docker's command line client, which knows the contexts, logins and builders that the API does not."""

import asyncio
import contextlib
import json
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Final

from processor_runtime.errors import Detail

from .errors import DockerError, ImageNotFoundError

Tell = Callable[[str], None]

LONGEST_LINE: Final = 1024 * 1024  # bytes; a builder draws no progress bars where no terminal is
_SHOWN_LINES: Final = 12
_NOT_THERE: Final = ("No such image", "No such object", "not found")


def silent(line: str) -> None:
    """Tell *line* to nobody."""


async def docker(*arguments: str, environ: Mapping[str, str], tell: Tell = silent) -> str:
    """Return what `docker <arguments>` wrote to stdout.

    Args:
        arguments: Its action and options; never a secret, because others see them.
        environ: The caller's environment: `DOCKER_HOST`, `DOCKER_CONFIG` and the like mean what they always do.
        tell: Takes each line, of both streams, as it comes.

    Raises:
        DockerError: it failed; the details hold its last lines.
    """
    what = f"docker {' '.join(arguments[:2])}"
    try:
        process = await asyncio.create_subprocess_exec(
            "docker",
            *arguments,
            env={**environ, "DOCKER_CLI_HINTS": "false", "NO_COLOR": "1"},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=LONGEST_LINE,
        )
    except FileNotFoundError as exc:
        raise DockerError(Detail(path=what, message="there is no docker client on PATH: install Docker")) from exc
    last: deque[str] = deque(maxlen=_SHOWN_LINES)
    answer: list[str] = []

    def heard(line: str) -> None:
        last.append(line)
        tell(line)

    def answered(line: str) -> None:
        answer.append(line)
        heard(line)

    try:
        await asyncio.gather(_drain(process.stdout, answered), _drain(process.stderr, heard))
        status = await process.wait()
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
    if status:
        raise DockerError(*(Detail(path=what, message=line) for line in last), status=status)
    return "\n".join(answer)


async def inspected(name: str, environ: Mapping[str, str]) -> dict[str, Any]:
    """Return what the engine knows of the image *name*: an id, a tag, or ``repository@sha256:…``.

    Raises:
        ImageNotFoundError: it has none.
        DockerError: it does not answer.
    """
    try:
        (image,) = json.loads(await docker("image", "inspect", name, environ=environ))
    except DockerError as exc:
        if any(words in detail["message"] for detail in exc.details for words in _NOT_THERE):
            raise ImageNotFoundError(Detail(path=name, message="the engine has no such image")) from exc
        raise
    found: dict[str, Any] = image
    return found


async def engine_platform(environ: Mapping[str, str]) -> str:
    """Return for which platform the engine runs images by itself: ``amd64`` or ``arm64``.

    Raises:
        DockerError: it does not answer.
    """
    answer = await docker("version", "--format", "{{.Server.Arch}}", environ=environ)
    return answer.strip()


async def _drain(stream: asyncio.StreamReader | None, take: Tell) -> None:
    assert stream is not None  # noqa: S101  # both are asked for above
    async for raw in stream:
        if line := raw.decode(errors="replace").rstrip():
            take(line)

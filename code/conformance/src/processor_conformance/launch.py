"""Services that the kit starts itself: a command, or an image by `docker run`."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import orjson

from .outcome import FailedError, brief
from .ports import free_port
from .wire import Ask, Wire, WireError

START_S: Final = 60.0
END_S: Final = 30.0
DIGEST: Final = "sha256:" + "5eed" * 16
_CONTAINER_PORT: Final = 8000
_KEPT_BYTES: Final = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Launcher:
    """How to start the service under judgement.

    Attributes:
        command: Words of a command, `{port}` in them standing for the port; empty for an image.
        image: An image reference, or ``""``.
        cwd: Where the command starts.
        env: What every service gets.
    """

    command: tuple[str, ...] = ()
    image: str = ""
    cwd: Path | None = None
    env: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, start: str, image: str, cwd: Path | None, env: Mapping[str, str]) -> Launcher:
        """Return the launcher that the options spell. *start* is split as a shell would, and run without one."""
        return cls(tuple(shlex.split(start)), image, cwd, env)

    async def start(self, artifacts: Path, changes: Mapping[str, str | None]) -> Started:
        """Return a process that was started and may not listen yet.

        Args:
            artifacts: The folder that is to stand for `/artifacts`.
            changes: Variables to set, or ``None`` to leave unset.
        """
        port = free_port()
        own = {"IMAGE_DIGEST": DIGEST, **self.env, **changes}
        variables = {name: value for name, value in own.items() if value is not None}
        if self.image:
            return await self._container(port, artifacts, variables)
        words = [word.replace("{port}", str(port)) for word in self.command]
        kept = {name: value for name, value in _environment().items() if not _belongs_to_a_service(name)}
        base = {"PORT": str(port), "PROCESSOR_ARTIFACTS_DIR": str(artifacts)}
        return await Started.of(words, port, kept | base | variables, cwd=self.cwd)

    async def _container(self, port: int, artifacts: Path, variables: Mapping[str, str]) -> Started:
        name = f"kit-{uuid4().hex[:12]}"
        words = ["docker", "run", "--rm", "--name", name, "--publish", f"127.0.0.1:{port}:{_CONTAINER_PORT}"]
        words += ["--volume", f"{artifacts}:/artifacts"]
        for variable in variables:
            words += ["--env", variable]  # by name only: values would show in the list of processes
        return await Started.of([*words, self.image], port, {**_environment(), **variables}, container=name)


def _environment() -> dict[str, str]:
    """Return this process's variables; another thread may remove one meanwhile, as test runners do."""
    return {name: value for name in list(os.environ) if (value := os.environ.get(name)) is not None}


def _belongs_to_a_service(name: str) -> bool:
    return name == "CI" or name.startswith(("PROCESSOR_", "IMAGE_"))


class Started:
    """A service that the kit started: its address, its streams, its end."""

    def __init__(self, process: asyncio.subprocess.Process, port: int, container: str) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.stdout = bytearray()
        self.stderr = bytearray()
        self._process = process
        self._container = container
        self._readers = [
            asyncio.create_task(_keep(process.stdout, self.stdout)),
            asyncio.create_task(_keep(process.stderr, self.stderr)),
        ]

    @classmethod
    async def of(
        cls, words: list[str], port: int, env: Mapping[str, str], *, cwd: Path | None = None, container: str = ""
    ) -> Started:
        """Return the process that *words* start.

        Raises:
            FailedError: there is no such command.
        """
        try:
            process = await asyncio.create_subprocess_exec(
                *words,
                env=env,
                cwd=cwd,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                start_new_session=True,  # what it starts ends with it, and a Ctrl-C goes to the kit alone
            )
        except OSError as exc:
            raise FailedError(sent="the start of the service", expected="a process", seen=str(exc)) from exc
        return cls(process, port, container)

    # --- beginning

    async def until_listening(self) -> None:
        """Wait until it answers anything.

        Raises:
            FailedError: it ended, or did not answer in time.
        """
        await self._until(lambda _status: True, "an answer on /healthz")

    async def until_ready(self) -> None:
        """Wait until `/healthz` is 200. Raises as `until_listening`."""
        await self._until(lambda status: status == 200, "200 on /healthz")  # noqa: PLR2004

    async def _until(self, good: Any, expected: str) -> None:
        wire, ends, seen = Wire(self.url), time.monotonic() + START_S, "nothing"
        while time.monotonic() < ends:
            if self._process.returncode is not None:
                await self.ended()
                last_words = brief(self.stderr[-600:].decode(errors="replace"))
                seen = f"it ended with status {self._process.returncode}: {last_words}"
                break
            try:
                answer = await wire.send(Ask("GET", "/healthz", sent="GET /healthz"), within_s=2)
            except WireError as exc:
                seen = exc.seen
            else:
                if good(answer.status) and self.running:
                    return
                seen = answer.in_short
            await asyncio.sleep(0.02)
        raise FailedError(sent="the start of the service", expected=f"{expected} within {START_S:g} s", seen=seen)

    # --- end

    @property
    def running(self) -> bool:
        """Whether the process has not ended yet."""
        return self._process.returncode is None

    def terminate(self) -> None:
        """Send SIGTERM."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)

    async def kill(self) -> None:
        """Send SIGKILL to all of it, and wait for its end."""
        if self._container:
            killer = await asyncio.create_subprocess_exec(
                "docker", "kill", self._container, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
            )
            await killer.wait()
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        await self._process.wait()
        for reader in self._readers:
            reader.cancel()

    async def ended(self, within_s: float = END_S) -> int:
        """Return the exit status once the process has ended and its streams are read.

        Raises:
            FailedError: it goes on.
        """
        try:
            async with asyncio.timeout(within_s):
                status = await self._process.wait()
                await asyncio.wait(self._readers)
        except TimeoutError:
            raise FailedError(sent="SIGTERM", expected=f"its end within {within_s:g} s", seen="it goes on") from None
        return status

    # --- streams

    def lines(self) -> list[tuple[bytes, Any]]:
        """Return the complete lines on stderr so far, each with its JSON value, ``None`` where it is none."""
        *complete, rest = bytes(self.stderr).split(b"\n")
        if rest and not self.running:
            complete.append(rest)
        return [(line, _parsed(line)) for line in complete]

    def events(self, **fields: object) -> list[dict[str, Any]]:
        """Return the objects on stderr so far that have these fields."""
        objects = (value for _, value in self.lines() if isinstance(value, dict))
        return [value for value in objects if all(value.get(key) == wanted for key, wanted in fields.items())]

    async def wait_for_event(self, within_s: float = 5.0, **fields: object) -> list[dict[str, Any]]:
        """Return the objects that have these fields, as soon as there is one; empty after *within_s*."""
        ends = time.monotonic() + within_s
        while time.monotonic() < ends:
            if found := self.events(**fields):
                return found
            await asyncio.sleep(0.02)
        return []


async def _keep(stream: asyncio.StreamReader | None, kept: bytearray) -> None:
    while stream is not None and (chunk := await stream.read(65536)):
        if len(kept) < _KEPT_BYTES:
            kept += chunk


def _parsed(line: bytes) -> Any:
    try:
        return orjson.loads(line)
    except ValueError:
        return None

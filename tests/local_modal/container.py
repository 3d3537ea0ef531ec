"""A container: a process that runs the SDK's own entry point, and the worker that it talks to."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import modal_proto
from modal_proto import api_pb2

from .ids import new_id
from .image import Image
from .server import ApiServer

# Of a client's 108 bytes for a socket's path, this leaves most to the folder
_SOCKET: Final = "api.sock"
_PACKAGES: Final = Path(modal_proto.__file__).parents[1]
_LARGEST_LINE: Final = 16 * 1024 * 1024

# What Modal mounts into an image: its client and what that needs, where the image's own packages are found first.
# The kernel ends the process with the one that started it (prctl 1, linux/prctl.h), even if that is killed.
_ENTRY_POINT: Final = """
import ctypes, runpy, sys
libc = ctypes.CDLL(None)
hasattr(libc, "prctl") and libc.prctl(1, 9)
sys.path.append(sys.argv.pop(1))
runpy.run_module("modal._container_entrypoint", run_name="__main__", alter_sys=True)
"""

Hear = Callable[["Container", int, str], None]


@dataclass
class Container:
    """One running container.

    Attributes:
        arguments: What the SDK's entry point is told: the function's definition.
        place: Where all containers have their folders.
        began_at: When it was made.
    """

    arguments: api_pb2.ContainerArguments
    place: Path
    id: str = field(default_factory=lambda: new_id("ta"))
    began_at: float = field(default_factory=time.time)
    process: Process | None = None
    _server: ApiServer | None = None
    _readers: list[asyncio.Task[None]] = field(default_factory=list)

    @property
    def folder(self) -> Path:
        """Everything of it."""
        return self.place / self.id

    @property
    def root(self) -> Path:
        """What stands for /root."""
        return self.folder / "root"

    @property
    def artifacts(self) -> Path:
        """What stands for /artifacts."""
        return self.folder / "artifacts"

    async def start(self, worker: ApiServer, image: Image, secrets: Mapping[str, str], hear: Hear) -> None:
        """Start the process.

        Args:
            worker: Answers its calls, over a socket in its folder.
            image: Where its code comes from.
            secrets: Variables that its secrets give it.
            hear: Told each line that it writes, with the file descriptor.
        """
        self.arguments.task_id = self.id
        self._server = worker
        await worker.start(path=str(self.folder / _SOCKET))
        arguments = self.folder / "arguments"
        arguments.write_bytes(self.arguments.SerializeToString())
        self.process = await asyncio.create_subprocess_exec(
            *(str(image.python), "-c", _ENTRY_POINT, str(_PACKAGES)),
            cwd=self.root,
            env=self._environ(image, arguments) | dict(secrets),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=PIPE,
            stderr=PIPE,
            limit=_LARGEST_LINE,
            start_new_session=True,
        )
        for number, stream in ((1, self.process.stdout), (2, self.process.stderr)):
            assert stream is not None
            self._readers.append(asyncio.create_task(self._read(stream, number, hear)))

    async def ended(self) -> int:
        """Return the exit status, once the process has ended and all that it wrote was heard."""
        assert self.process is not None
        status = await self.process.wait()
        await asyncio.wait(self._readers, timeout=1)
        return status

    async def stop(self, number: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal to the process and all that it started; by default the one that ends it."""
        if self.process is not None and self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, number)

    async def close(self) -> None:
        """Stop the process and its worker."""
        await self.stop()
        if self.process is not None:
            await self.ended()
        for reader in self._readers:
            reader.cancel()
        if self._server is not None:
            await self._server.stop()

    def _environ(self, image: Image, arguments: Path) -> dict[str, str]:
        """Return what the image and Modal put into the environment: nothing of this machine's own."""
        path = (self.root, image.folder, *image.path)
        return {
            "PATH": f"{image.python.parent}:/usr/bin:/bin",
            "HOME": str(self.folder),
            "LANG": "C.UTF-8",
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONUNBUFFERED": "1",
            **image.environ,
            "PYTHONPATH": ":".join(map(str, path)),
            # this machine's own /artifacts is none of the container's business, mounted or not
            "PROCESSOR_ARTIFACTS_DIR": str(self.artifacts),
            "MODAL_IS_REMOTE": "1",
            "MODAL_SERVER_URL": f"unix://{self.folder / _SOCKET}",
            "MODAL_TASK_ID": self.id,
            "MODAL_IMAGE_ID": self.arguments.function_def.image_id,
            "MODAL_ENVIRONMENT": self.arguments.environment_name,
            "MODAL_CLOUD_PROVIDER": "CLOUD_PROVIDER_AWS",
            "MODAL_REGION": "us-east-1",
            "MODAL_CONTAINER_ARGUMENTS_PATH": str(arguments),
        }

    async def _read(self, stream: asyncio.StreamReader, number: int, hear: Hear) -> None:
        async for line in stream:
            hear(self, number, line.decode(errors="replace"))

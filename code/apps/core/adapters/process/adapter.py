"""The same ASGI app as in the image, under uvicorn on this machine, in an environment of its own.

For a machine without Docker and for the fast development loop. It is reached
through a Unix socket in a private folder, so that no port is open.
"""

import asyncio
import os
import secrets
import shutil
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from apps.core.adapters.base import Event, Payload
from apps.core.adapters.errors import CrashedError, HealthError, NetworkError
from apps.core.adapters.journal import Journal
from apps.core.images.source import RUNTIME, source_digest
from apps.core.registry import Registration
from processor_runtime.envelopes import Envelope
from processor_runtime.errors import Detail

from . import venvs
from .service import Service, serving

if TYPE_CHECKING:
    import httpx2

ANSWER_GRACE_S: Final = 5.0  # past the deadline the processor itself answers ERR_TIMEOUT: time for that to arrive
DRAIN_S: Final = (
    1.0  # what a run in flight gets after SIGTERM; below service.STOP_GRACE_S, so that receipts are written
)
LONGEST_SOCKET: Final = 100  # bytes; the kernel's limit is 108, macOS has 104
_EXIT_WAIT_S: Final = 1.0
# How a TLS client finds the certificates of this machine
_TLS: Final = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


@dataclass(frozen=True, slots=True)
class ProcessAdapter:
    """Runs one processor's source, one process a run.

    Attributes:
        registration: The processor.
        artifacts_root: What `/artifacts` is on this machine.
        venvs: The folder that keeps environments between runs.
        environ: The caller's environment: secrets, `CI`, and settings of uv and pip are taken from it.
        start_allowance_s: How long it may take to become healthy, its set-up included.
        journal: Told of each step and of each line that the process writes.
        python: An interpreter that has what the processor needs; ``None`` for an environment of its own.
    """

    registration: Registration
    artifacts_root: Path
    venvs: Path
    environ: Mapping[str, str]
    start_allowance_s: float
    journal: Journal
    python: Path | None = None

    async def run(self, payload: Payload, *, timeout_s: float) -> Envelope:
        """Return the envelope of one run in a process that lives no longer than it.

        Raises:
            HealthError: the environment cannot be built, or the process died, failed its set-up or was not healthy in
                time; the details hold the last 2 KiB of its stderr.
            CrashedError: the process died before it answered; the details say how.
            DeadlineError: no answer in time.
            BadResponseError: an answer that is not this execution's envelope.
            NetworkError: the connection was lost, and the process lives.
        """
        async with self._ready(payload) as (service, client):
            from apps.core.adapters import http  # noqa: PLC0415  # as in `_started`

            try:
                return await http.ask(client, payload, deadline_s=timeout_s + ANSWER_GRACE_S)
            except NetworkError as exc:
                raise await _crashed(service, exc) from exc

    async def stream(self, payload: Payload, *, timeout_s: float) -> AsyncGenerator[Event, None]:
        """Yield what one run tells, ``done`` last, from a process that lives no longer than it.

        Raises:
            ProcessorError: as `run`.
        """
        async with self._ready(payload) as (service, client):
            from apps.core.adapters import http  # noqa: PLC0415  # as in `_started`

            try:
                async for event in http.stream(client, payload, deadline_s=timeout_s + ANSWER_GRACE_S):
                    yield event
            except NetworkError as exc:
                raise await _crashed(service, exc) from exc

    @asynccontextmanager
    async def _ready(self, payload: Payload) -> AsyncIterator[tuple[Service, "httpx2.AsyncClient"]]:
        python = self.python or await venvs.environment(
            self.registration.folder / "requirements.txt", self.venvs, self.environ, self.journal
        )
        async with self._started(python, payload["mode"]) as (service, client):
            await self._healthy(service, client)
            yield service, client

    @asynccontextmanager
    async def _started(self, python: Path, mode: str) -> AsyncIterator[tuple[Service, "httpx2.AsyncClient"]]:
        token = secrets.token_urlsafe(32)
        folder = private_folder()
        try:
            socket = str(folder / "s")
            command = [str(python), "-m", "uvicorn", "app.http:app", "--uds", socket]
            environ = self._environ(python, folder, mode, token)
            journal = self.journal.hiding(token)
            journal.event("adapter.process.start", image_digest=environ["IMAGE_DIGEST"])
            async with serving(command, cwd=self.registration.folder, environ=environ, journal=journal) as service:
                from apps.core.adapters import http  # noqa: PLC0415  # imported while the process starts

                async with http.unix_client(socket, token) as client:
                    yield service, client
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    async def _healthy(self, service: Service, client: "httpx2.AsyncClient") -> None:
        from apps.core.adapters import http  # noqa: PLC0415  # as in `_started`

        reason = await http.until_healthy(client, service.exited, within_s=self.start_allowance_s)
        if not reason:
            self.journal.event("adapter.process.healthy")
            return
        if service.exited.done():
            await service.drained()
            reason = service.ending()
        raise HealthError(Detail(path="process", message=reason), Detail(path="stderr", message=service.tail()))

    def _environ(self, python: Path, folder: Path, mode: str, token: str) -> dict[str, str]:
        """Return the environment of the process: built from nothing, as a container's is."""
        declaration = self.registration.declaration
        passed = [*_TLS, "CI", *(declaration.secrets if mode == "real" else ())]
        return {
            "PATH": os.pathsep.join([str(python.parent), self.environ.get("PATH", os.defpath)]),
            # nothing is found in a home folder that an image would not have
            "HOME": str(folder),
            "TMPDIR": str(folder),
            "LANG": "C.UTF-8",
            "TZ": "UTC",
            "PYTHONPATH": str(RUNTIME),
            "PYTHONUNBUFFERED": "1",
            "IMAGE_DIGEST": source_digest(self.registration),
            "PROCESSOR_MODE": mode,
            "PROCESSOR_ARTIFACTS_DIR": str(self.artifacts_root),
            "PROCESSOR_GRACE_S": f"{DRAIN_S:g}",
            "PROCESSOR_TOKEN": token,
            **{name: self.environ[name] for name in passed if self.environ.get(name)},
        }


async def _crashed(service: Service, lost: NetworkError) -> CrashedError | NetworkError:
    """Return what the *lost* connection means: the process died, or it lives and cannot be reached."""
    # a connection breaks a moment before the kernel reports the death behind it
    await asyncio.wait([service.exited], timeout=_EXIT_WAIT_S)
    return CrashedError(Detail(path="process", message=service.ending())) if service.exited.done() else lost


def private_folder() -> Path:
    """Return a new folder that only this user may enter, short enough for a socket's path."""
    folder = Path(tempfile.mkdtemp(prefix="processor-"))
    if len(os.fsencode(folder / "s")) < LONGEST_SOCKET:
        return folder
    folder.rmdir()
    return Path(tempfile.mkdtemp(prefix="processor-", dir="/tmp"))  # mkdtemp makes it private

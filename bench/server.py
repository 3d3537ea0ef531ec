"""One server being measured: started, waited for, asked, stopped."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from . import processes
from .environments import SkippedError, prepare
from .ids import fresh_id
from .paths import VAR
from .subjects import ID, Request, Subject

HEALTHY_S = 120.0
_STOP_S = 15.0
_WORKERS_STOP_S = 0.5
_POLL_S = 0.001
_ANSWER_S = 30.0
_HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Server:
    """A running subject.

    Attributes:
        subject: What runs.
        port: Where it listens, on 127.0.0.1.
        pid: Its first process.
        log: The file that has all it said.
        start_ms: From the start of its process to its first healthy answer.
    """

    subject: Subject
    port: int
    pid: int
    log: Path
    start_ms: float

    @property
    def host(self) -> str:
        """What clients call it: address and port."""
        return f"{_HOST}:{self.port}"

    def usage(self) -> processes.Usage:
        """Return what all its processes use."""
        return processes.usage(self.pid)

    def check(self, request: Request) -> None:
        """Ask once, and see that the answer is right.

        Raises:
            SkippedError: it is not, so its speed would say nothing.
        """
        status, body = ask(self.port, request)
        if status != request.status or request.holds not in body:
            raise SkippedError(f"{request.path} answered {status}: {body[:200]}")


@contextmanager
def running(subject: Subject, artifacts: Path, *, files: Path | None = None) -> Iterator[Server]:
    """Start *subject*, give it while it is healthy, and stop it.

    Args:
        subject: What to start.
        artifacts: The folder of a service that always writes.
        files: The folder of one that writes only where it is asked to.

    Raises:
        SkippedError: it does not install, or does not become healthy.
    """
    folder = prepare(subject.environment)
    port, other, third = free_ports(3)
    log = VAR / "logs" / f"{subject.name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    for made in filter(None, (artifacts, files)):
        made.mkdir(parents=True, exist_ok=True)
    filled = {"port": port, "other": other, "third": third, "files": files or "", "artifacts": artifacts}
    environ = _environ() | {name: value.format(**filled) for name, value in subject.environ.items()}
    with log.open("wb") as sink:
        began = time.perf_counter()
        process = subprocess.Popen(
            subject.argv(folder, port),
            cwd=subject.cwd,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
            start_new_session=True,
        )
        try:
            _wait_healthy(process, port, subject.health, log)
            start_ms = (time.perf_counter() - began) * 1000
            yield Server(subject, port, process.pid, log, start_ms)
        finally:
            _stop(process)


def ask(port: int, request: Request) -> tuple[int, str]:
    """Return status and body of the answer to *request*; its id is a fresh one."""
    connection = http.client.HTTPConnection(_HOST, port, timeout=_ANSWER_S)
    headers = {"Content-Type": "application/json", **request.headers}
    try:
        connection.request("POST", request.path, request.body.replace(ID, fresh_id()), headers)
        response = connection.getresponse()
        return response.status, response.read().decode(errors="replace")
    except (OSError, http.client.HTTPException) as exc:
        raise SkippedError(f"{request.path} did not answer: {exc!r}") from exc
    finally:
        connection.close()


def free_ports(count: int) -> list[int]:
    """Return *count* ports that nobody listens on now."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind((_HOST, 0))
        return [int(each.getsockname()[1]) for each in sockets]


def healthy(port: int, path: str) -> bool:
    """Whether a server says on *path* that it is ready."""
    connection = http.client.HTTPConnection(_HOST, port, timeout=_ANSWER_S)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        body = response.read()
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
    # Cog answers 200 while it starts, and says in the body what it means
    return response.status == http.client.OK and b'"STARTING"' not in body


def _wait_healthy(process: subprocess.Popen[bytes], port: int, path: str, log: Path) -> None:
    ends = time.monotonic() + HEALTHY_S
    while not healthy(port, path):
        if process.poll() is not None:
            raise SkippedError(f"ended with status {process.returncode} before it was healthy: {_tail(log)}")
        if time.monotonic() > ends:
            raise SkippedError(f"not healthy after {HEALTHY_S:.0f} s: {_tail(log)}")
        time.sleep(_POLL_S)


def _environ() -> dict[str, str]:
    """Return the environment of every server: nothing of ours but where programs and the home are."""
    return {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End the session that *process* leads: it and its workers, whoever of them still lives."""
    below = processes.tree(process.pid)
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_STOP_S)
    # what is asked to end removes what it has made; what does not heed that is killed
    for sent in (signal.SIGTERM, signal.SIGKILL):
        ends = time.monotonic() + _WORKERS_STOP_S
        while time.monotonic() < ends and any(_is_ours(pid, process.pid) for pid in below):
            time.sleep(_POLL_S)
        for pid in below:
            if _is_ours(pid, process.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, sent)
    process.wait()


def _is_ours(pid: int, session: int) -> bool:
    """Whether *pid* still lives in the *session* that was begun for its server; else the number is somebody else's."""
    try:
        return os.getsid(pid) == session and processes.lives(pid)
    except ProcessLookupError:
        return False


def _tail(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return " ".join(" | ".join(lines[-3:]).split())[-400:]

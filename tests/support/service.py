"""A processor as its image runs it: the plain uvicorn command in a process of its own, for as long as a `with` lasts.

    with Service(folder, tmp_path) as service:
        envelope = service.run(service.payload(inputs={...}))

Its environment is made from nothing, its streams go to files, and once it has stopped, whatever a test did to it,
stdout is empty and stderr holds nothing but lines of the contract's form.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse
from pathlib import Path
from typing import Any, Final, Self, TypeVar

import httpx2
import yaml

from processor_conformance.ports import free_port

ROOT: Final = Path(__file__).resolve().parents[2]
FIXTURES: Final = ROOT / "tests" / "support" / "processors"
DIGEST: Final = "sha256:" + "0123456789abcdef" * 4
WAIT_S: Final = 60.0  # for anything: it bounds a hang and measures nothing
READY: Final[Mapping[str, object]] = {"ok": True}

_POLL_S: Final = 0.01
_ATTEMPTS: Final = 5  # at finding a port that nobody else takes before the service does
_TS: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")  # RFC 3339, UTC, milliseconds
_BIN: Final = Path(sys.executable).parent
_ids = itertools.count(1)

JsonObject = dict[str, Any]
Environ = Mapping[str, str | None]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Ended:
    """What a service that would not start left behind."""

    status: int
    stdout: bytes
    stderr: str

    def lines(self) -> list[JsonObject]:
        """Return the lines on stderr; fails if one is not of the contract's form."""
        return [parsed(line) for line in self.stderr.splitlines()]


class Service:
    """The processor in *folder*, served on a free port of this machine.

    Args:
        folder: holds `registry.yaml` and `app/`.
        room: an empty or absent folder; the artifacts, the streams and the marks of fixture processors go there.
        environ: added to the environment; ``None`` takes a variable away.
        ready: wait until `/healthz` says so; otherwise until it says anything.
        before: a command that starts the service, such as ``unshare``.
        host: what the service listens on; it is asked by 127.0.0.1 anyway.
    """

    def __init__(
        self,
        folder: Path,
        room: Path,
        environ: Environ | None = None,
        *,
        ready: bool = True,
        before: Sequence[str] = (),
        host: str = "127.0.0.1",
    ) -> None:
        self.folder = folder
        self.room = room
        self.artifacts = room / "artifacts"
        self.marks = room / "marks"
        self.registry: JsonObject = yaml.safe_load((folder / "registry.yaml").read_text("utf-8"))
        self.ref: str = self.registry["ref"]
        self._ready = ready
        self._command = (*before, "uvicorn", "app.http:app", "--host", host, "--port")
        self._stdout, self._stderr = room / "stdout", room / "stderr"
        given = {
            "PATH": f"{_BIN}:/usr/bin:/bin:/usr/sbin:/sbin",
            "IMAGE_DIGEST": DIGEST,
            "PROCESSOR_ARTIFACTS_DIR": str(self.artifacts),
            "FIXTURE_MARKS": str(self.marks),
            **(environ or {}),
        }
        self.environ = {name: value for name, value in given.items() if value is not None}
        self._process: subprocess.Popen[bytes] | None = None
        self._http: httpx2.Client | None = None

    # --- life --------------------------------------------------------------------------------------------------------

    def start(self) -> Self:
        """Start the service and return it once it answers."""
        for directory in (self.artifacts / "inputs", self.marks):
            directory.mkdir(parents=True, exist_ok=True)
        for _ in range(_ATTEMPTS):
            self.port = free_port()
            self._process = self._spawn()
            self._http = httpx2.Client(
                base_url=f"http://127.0.0.1:{self.port}",
                timeout=WAIT_S,
                trust_env=False,
                verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),  # never used; the default one takes 100 ms to make
            )
            came_up = False
            try:
                if came_up := self._answers():
                    return self
            finally:
                if not came_up:
                    self.process.kill()
                    self.process.wait()
                    self._http.close()
        raise AssertionError(f"found no free port {_ATTEMPTS} times")

    def fails_to_start(self) -> Ended:
        """Start a service that cannot, and return what it left behind."""
        self.port = free_port()
        process = self._spawn()
        try:
            status = process.wait(WAIT_S)
        finally:
            process.kill()
            process.wait()
        return Ended(status, self.stdout(), self.stderr())

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send the signal *number* and return the status with which the process ended, as `subprocess` has it."""
        process = self.process
        process.send_signal(number)
        try:
            return process.wait(WAIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError(f"still running {WAIT_S} s after {number.name}:\n{self.stderr()}") from None
        finally:
            self.http.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, failure: type[BaseException] | None, *_: object) -> None:
        for path in self.marks.glob("*.began"):  # nobody waits for a handler that a failed test forgot
            self.allow(path.stem)
        if self.process.poll() is None:
            self.stop()
        self.http.close()
        if failure is None:
            self.check_streams()

    def check_streams(self) -> None:
        """Fail unless stdout is empty and each line of stderr has the contract's form and no secret."""
        assert self.stdout() == b""
        self.lines()
        secrets = self.registry.get("secrets") or {}
        values = {self.environ.get(name, "") for row in ("required", "optional") for name in secrets.get(row) or ()}
        values.add(self.environ.get("PROCESSOR_TOKEN", ""))
        assert [value for value in values if len(value) >= 8 and value in self.stderr()] == []

    def _spawn(self) -> subprocess.Popen[bytes]:
        self.room.mkdir(parents=True, exist_ok=True)
        with self._stdout.open("wb") as stdout, self._stderr.open("wb") as stderr:
            return subprocess.Popen(
                (*self._command, str(self.port)),
                cwd=self.folder,
                env=self.environ,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
            )

    def _answers(self) -> bool:
        """Whether the service came up; ``False`` if somebody else had the port, a failure if it ended otherwise."""

        def ended_or_healthy() -> bool:
            if self.process.poll() is not None:
                return True
            with suppress(OSError, HTTPException):
                health = self.health()
                return health == READY or not self._ready
            return False

        wait_until(ended_or_healthy, lambda: f"{self.ref} on port {self.port}: {self.stderr()}")
        if self.process.poll() is None:
            return True
        assert "address already in use" in self.stderr(), f"{self.ref} ended:\n{self.stderr()}"
        return False

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The server's process."""
        assert self._process is not None, "the service was not started"
        return self._process

    # --- talking to it -----------------------------------------------------------------------------------------------

    @property
    def http(self) -> httpx2.Client:
        """A client with the service's address; it follows no redirects."""
        assert self._http is not None, "the service was not started"
        return self._http

    def health(self) -> JsonObject:
        """Return what `/healthz` says, asked on a connection of its own."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=WAIT_S)
        try:
            connection.request("GET", "/healthz")
            body: JsonObject = json.loads(connection.getresponse().read())
        finally:
            connection.close()
        return body

    def wait_for_health(self, expected: Mapping[str, object]) -> None:
        """Return once `/healthz` says *expected*."""
        wait_until(lambda: self.health() == expected, lambda: f"/healthz to say {expected}")

    def payload(self, **changes: object) -> JsonObject:
        """Return a request with an id of its own and *changes* made."""
        return {
            "schema": "v1",
            "execution_id": f"run-{next(_ids)}",
            "write_prefix": "/artifacts/outputs/{execution_id}/",
            "mode": "mock",
            "inputs": {"schema": "v1", "params": {}},
            **changes,
        }

    def post(self, payload: object, headers: Mapping[str, str] | None = None) -> httpx2.Response:
        """Return the answer of `/run` to *payload*."""
        return self.http.post("/run", json=payload, headers=headers)

    def run(self, payload: object) -> JsonObject:
        """Return the envelope that `/run` answers to *payload*."""
        envelope: JsonObject = self.post(payload).json()
        return envelope

    def send(self, request: bytes, *, method: str = "POST") -> tuple[HTTPResponse, bytes]:
        """Return the response to *request*, the bytes of a whole HTTP request or of any other thing, and its body."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=WAIT_S) as connection:
            with suppress(BrokenPipeError, ConnectionResetError):  # refused before the end of it
                connection.sendall(request)
            response = HTTPResponse(connection, method=method)
            response.begin()
            return response, response.read()

    # --- its files ---------------------------------------------------------------------------------------------------

    def file(self, logical: str) -> Path:
        """Return where the file that envelopes call *logical* lies on this machine."""
        path = Path(logical)
        with suppress(ValueError):
            return self.artifacts / path.relative_to("/artifacts")
        return path

    def tree(self) -> set[str]:
        """Return the paths of all that lies in the artifacts folder."""
        found: set[str] = set()
        folders = [str(self.artifacts)]
        while folders:  # asked before and after each refusal: several times as quick as `Path.rglob`
            with os.scandir(folders.pop()) as entries:
                for entry in entries:
                    found.add(entry.path)
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
        return {path.removeprefix(f"{self.artifacts}/") for path in found}

    def attach(self, content: bytes, name: str = "file.txt") -> JsonObject:
        """Store *content* where runs may read it, and return the reference to it."""
        sha256 = hashlib.sha256(content).hexdigest()
        path = self.artifacts / "inputs" / sha256 / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return {"$artifact": f"/artifacts/inputs/{sha256}/{name}", "sha256": sha256}

    # --- its streams -------------------------------------------------------------------------------------------------

    def stdout(self) -> bytes:
        """Return what it wrote to stdout."""
        return self._stdout.read_bytes()

    def stderr(self) -> str:
        """Return what it wrote to stderr."""
        return self._stderr.read_bytes().decode("utf-8")

    def lines(self, **fields: object) -> list[JsonObject]:
        """Return the finished lines on stderr whose *fields* are such; fails if one is not of the contract's form."""
        text = self.stderr()
        finished = text[: text.rfind("\n") + 1]
        lines = [parsed(line) for line in finished.split("\n")[:-1]]
        wrong = [line for line in lines if line["ref"] != self.ref]
        assert wrong == []
        return [line for line in lines if fields.items() <= line.items()]

    def wait_for_line(self, **fields: object) -> JsonObject:
        """Return the first line on stderr whose *fields* are such, once it is there."""
        return wait_until(lambda: self.lines(**fields), lambda: f"a line with {fields}")[0]

    # --- what fixture processors wait for ----------------------------------------------------------------------------

    def wait_for_mark(self, name: str) -> None:
        """Return once the fixture has left the mark *name*."""
        wait_until((self.marks / name).exists, lambda: f"the mark {name}; stderr:\n{self.stderr()}")

    def marked(self, name: str) -> bool:
        """Whether the fixture has left the mark *name*."""
        return (self.marks / name).exists()

    def allow(self, name: str, word: str = "go") -> None:
        """Let a fixture that waits for *name* go on, told *word*."""
        written = self.marks / f"{name}.new"
        written.write_text(word, encoding="utf-8")
        written.replace(self.marks / f"{name}.go")


def wait_until(condition: Callable[[], T | None], what: Callable[[], str]) -> T:
    """Return what *condition* returns once that is true; fails after `WAIT_S`, saying *what* never came."""
    ends = time.monotonic() + WAIT_S
    while not (value := condition()):
        if time.monotonic() > ends:
            raise AssertionError(f"waited {WAIT_S} s for {what()}")
        time.sleep(_POLL_S)
    return value


def parsed(line: str) -> JsonObject:
    """Return the object on a *line* of stderr; fails unless it has the contract's form (§7)."""
    try:
        value = json.loads(line, parse_constant=_no_number)
    except ValueError:
        raise AssertionError(f"no JSON on stderr: {line!r}") from None
    assert isinstance(value, dict), line
    assert _TS.fullmatch(value.get("ts", "")), line
    for name in ("level", "event", "ref"):
        assert isinstance(value.get(name), str), f"{name} is missing: {line}"
    assert value["level"], line
    assert value["event"], line
    return value


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is no JSON")


def variant(folder: Path, into: Path, change: Callable[[JsonObject], object]) -> Path:
    """Return a copy of the processor in *folder*, made below *into*, with its registry changed by *change*."""
    copy = into / folder.name
    shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("__pycache__"))
    registry: JsonObject = yaml.safe_load((folder / "registry.yaml").read_text("utf-8"))
    change(registry)
    (copy / "registry.yaml").write_text(yaml.safe_dump(registry), encoding="utf-8")
    return copy

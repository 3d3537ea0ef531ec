"""One judgement of one image: what is known of it, its examples, and the services that are started for it."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Self
from uuid import uuid4

from .catalogue import Check, Phase
from .examples import Example
from .generate import differing_inputs, valid_inputs
from .launch import Launcher, Started
from .outcome import FailedError, NotCheckedError
from .service import Service
from .sse import Told
from .wire import Answer, WireError

TRIES: Final = 8
MADE: Final = 24
REACH_S: Final = 30.0
LONGEST_EXAMPLE_S: Final = 5.5
LEAST_S: Final = 1.8
_ALONE: Final = 3
_REMEMBERED: Final = 4000
_SILENT_AGAIN: Final = 8
_IMPATIENT_S: Final = 6.0  # longer than the examples take
_OK: Final = 200


@dataclass(frozen=True, slots=True)
class Options:
    """What the user asked for.

    Attributes:
        url: Where a service listens already, or ``""``.
        token: Of that service.
        artifacts: The folder that stands for `/artifacts`.
        launcher: How to start services, if the kit may.
        examples: From the inputs file.
    """

    url: str = ""
    token: str = ""
    artifacts: Path | None = None
    launcher: Launcher | None = None
    examples: Mapping[str, Example] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Facts:
    """What the kit learned of the image.

    Attributes:
        contract: What `GET /contract` says, ``None`` where there is none.
        capabilities: Of `stream`, `cancel`, `contract` those that are there.
        meta: Of a first envelope.
        trouble: Why there is no valid example, ``""`` if there is one.
    """

    contract: dict[str, Any] | None = None
    capabilities: frozenset[str] = frozenset()
    meta: Mapping[str, Any] = field(default_factory=dict)
    trouble: str = ""

    def _part(self, name: str) -> dict[str, Any]:
        part = (self.contract or {}).get(name)
        return part if isinstance(part, dict) else {}

    @property
    def schema(self) -> dict[str, Any] | None:
        """The schema of `inputs`, where it is known."""
        return self._part("inputs") or None

    @property
    def ref(self) -> str:
        """The image's own ref, as it says in an envelope, else in its contract."""
        return str(self.meta.get("ref") or (self.contract or {}).get("ref", ""))

    def limit(self, name: str, default: int) -> int:
        """Return one of the announced limits, or *default*."""
        value = self._part("limits").get(name)
        return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else default

    @property
    def concurrency(self) -> int:
        """How many runs go on at once."""
        return max(1, self.limit("concurrency", 1))

    def secrets(self, kind: str) -> list[str]:
        """Return the names of the `required` or `optional` secrets."""
        rows = self._part("secrets").get(kind)
        names = [row.get("name") for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
        return [name for name in names if isinstance(name, str) and name]


class Session:
    """Everything that one judgement shares. Use it as an async context manager."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.facts = Facts()
        self.examples: dict[str, Example] = dict(options.examples)
        self.made_inputs: list[dict[str, Any]] = []
        self.seen: list[tuple[str, Answer]] = []
        self.told: list[tuple[str, Told]] = []
        self.late = 0
        self.base: Service
        self._nonce = uuid4().hex[:8]
        self._numbers = itertools.count(1)
        self._hidden: set[str] = {options.token} if options.token else set()
        self._own_folder: Path | None = None
        self._shared: dict[tuple[tuple[str, str | None], ...], asyncio.Task[Service]] = {}
        self.running: list[Started] = []
        self._idle: asyncio.Queue[Service | None] = asyncio.Queue()
        for _ in range(_ALONE):
            self._idle.put_nowait(None)
        self._base_lock = asyncio.Lock()
        self._measuring = asyncio.Lock()
        self._durations: dict[str, float] = {}

    async def __aenter__(self) -> Self:
        try:
            await self._begin()
        except BaseException:
            await self._end()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._end()

    async def _begin(self) -> None:
        options = self.options
        if options.url:
            self.base = Service(self, options.url, token=options.token, artifacts=options.artifacts)
            await self._reach(self.base)
        else:
            self.base = await self._start({}, until="listening")
            await self._reach(self.base)
        await self._learn()

    async def _end(self) -> None:
        for task in self._shared.values():
            task.cancel()
        await asyncio.gather(*self._shared.values(), return_exceptions=True)
        await asyncio.gather(*(started.kill() for started in self.running), return_exceptions=True)
        if self._own_folder is not None:
            shutil.rmtree(self._own_folder, ignore_errors=True)
        elif self.options.artifacts is not None:
            for left in self.options.artifacts.glob(f"*/kit-{self._nonce}-*"):
                _remove(left)

    # --- small things that services ask for

    def new_id(self) -> str:
        """Return an execution id that was never used."""
        return f"kit-{self._nonce}-{next(self._numbers)}"

    def invented(self, name: str) -> str:
        """Return a value for a secret or token, the same one for each name; it stays out of every report."""
        value = f"kit-{self._nonce}-value-of-{name.lower().replace('_', '-')}"
        self._hidden.add(value)
        return value

    def redact(self, text: str) -> str:
        """Return *text* without any secret."""
        for secret in self._hidden:
            text = text.replace(secret, "***")
        return text

    def record(self, url: str, answer: Answer) -> None:
        """Remember an answer for the checks of phase `LAST`."""
        if len(self.seen) < _REMEMBERED:
            self.seen.append((url, answer))

    def patience_s(self, within_s: float) -> float:
        """Return how long to wait for an answer; a service that is silent again and again is not waited for as long."""
        return within_s if self.late < _SILENT_AGAIN else min(within_s, _IMPATIENT_S)

    # --- learning

    async def _reach(self, service: Service) -> None:
        """Wait for `/healthz` to be ok, for a while.

        Raises:
            FailedError: nothing answers there.
        """
        ends, seen = time.monotonic() + REACH_S, "nothing"
        while time.monotonic() < ends:
            try:
                answer = await service.send("GET", "/healthz", within_s=3, token="")
            except WireError as exc:
                seen = exc.seen
            else:
                if answer.status == _OK or answer.envelope.get("state") == "failed":
                    return
                seen = ""
            await asyncio.sleep(0.1)
        if seen:
            raise FailedError(sent="GET /healthz", expected=f"an answer within {REACH_S:g} s", seen=seen)

    async def _learn(self) -> None:
        answer = await self.base.send("GET", "/contract")
        contract = answer.document if answer.status == _OK and isinstance(answer.document, dict) else None
        self.facts = Facts(contract, await self._capabilities(contract))
        if self.facts.schema is not None:  # once, and before anything is measured: it keeps a processor busy
            self.made_inputs = await asyncio.to_thread(_made_inputs, self.facts.schema)
        try:
            await self._find_valid()
        except WireError as exc:
            self.facts = replace(self.facts, trouble=f"the run of a valid example got {exc.seen}")

    async def _capabilities(self, contract: dict[str, Any] | None) -> frozenset[str]:
        announced = (contract or {}).get("capabilities")
        if isinstance(announced, list):
            return frozenset({"contract", *(name for name in announced if isinstance(name, str))})
        found = {"contract"} if contract is not None else set()
        stream = await self.base.send("POST", "/run-stream", b"")
        cancel = await self.base.send("GET", "/run/kit-none")
        absent = 404
        found |= {"stream"} if stream.status != absent else set()
        found |= {"cancel"} if cancel.status != absent else set()
        return frozenset(found)

    async def _find_valid(self) -> None:
        """Find inputs that give a success: the user's, or the first such ones made from the schema."""
        if "valid" in self.examples:
            candidates = [self.examples["valid"]]
        elif self.facts.schema is not None:
            candidates = [Example(inputs) for inputs in self.made_inputs[:TRIES]]
        else:
            candidates = []
        trouble = "" if candidates else "there is no schema at /contract to make one from"
        for example in candidates:
            self.examples["valid"] = example
            try:
                answer = await self.base.run(self.base.request())
            except NotCheckedError as exc:
                trouble = f"it needs {exc}"
                continue
            self.facts = replace(self.facts, meta=answer.envelope.get("meta") or {})
            if answer.status == _OK:
                trouble = ""
                break
            trouble = f"a run of it got {answer.in_short}"
        self.facts = replace(self.facts, trouble=trouble)
        if trouble and "valid" not in self.options.examples:
            self.examples.pop("valid", None)
        await self._find_other()

    async def _find_other(self) -> None:
        valid = self.examples.get("valid")
        if valid is None or "other" in self.examples or self.facts.schema is None or valid.attaches:
            return
        inputs = await asyncio.to_thread(_other_inputs, self.facts.schema, valid.inputs)
        if inputs is not None:
            self.examples["other"] = replace(valid, inputs=inputs)

    async def takes_s(self, name: str) -> float:
        """Return how many seconds the handler of an example takes here.

        Raises:
            NotCheckedError: less than its name says.
        """
        async with self._measuring:
            if name not in self._durations:
                service = await self.shared({"PROCESSOR_MODE": "mock"}) if self.can_start else self.base
                _, answer = await service.success(name)
                self._durations[name] = answer.envelope["meta"]["duration_ms"] / 1000
        if self._durations[name] < LEAST_S:
            raise NotCheckedError(f'an example "{name}" that takes 2 s')
        return self._durations[name]

    # --- services

    @property
    def can_start(self) -> bool:
        """Whether the kit may start services."""
        return self.options.launcher is not None

    @contextlib.asynccontextmanager
    async def subject(self, check: Check) -> AsyncIterator[Service]:
        """Give the service that *check* judges, for itself alone where it wants that."""
        env = {
            name: value
            for example in check.examples
            if example in self.examples
            for name, value in self.examples[example].env.items()
        }
        if env and not check.start:
            yield await self.shared({"PROCESSOR_MODE": None, **env})
        elif check.phase is Phase.ALONE and self.can_start:
            async with self._leased() as service:
                yield service
        elif check.phase is Phase.ALONE:
            async with self._base_lock:
                yield self.base
                if self.base.dirty:  # nobody says when a handler has ended, only how long the examples may take
                    await asyncio.sleep(LONGEST_EXAMPLE_S)
                    self.base.dirty = False
        elif check.artifacts and self.base.artifacts is None and self.can_start:
            yield await self.shared({"PROCESSOR_MODE": "mock"})
        else:
            yield self.base

    @contextlib.asynccontextmanager
    async def _leased(self) -> AsyncIterator[Service]:
        service = await self._idle.get()
        try:
            if service is None:
                service = await self._start({"PROCESSOR_MODE": "mock"}, until="ready")
            yield service
        finally:
            if service is not None and (
                service.dirty or not service.process.running
            ):  # what this check began must not meet the next one
                await service.process.kill()
                service = None
            self._idle.put_nowait(service)

    async def shared(self, env: Mapping[str, str | None]) -> Service:
        """Return the service with this environment that all checks share."""
        key = tuple(sorted(env.items()))
        if key not in self._shared:
            self._shared[key] = asyncio.create_task(self._start(env, until="ready"))
        return await asyncio.shield(self._shared[key])

    @contextlib.asynccontextmanager
    async def fresh(self, env: Mapping[str, str | None], *, until: str) -> AsyncIterator[Service]:
        """Give a service of one's own; it ends with the context."""
        service = await self._start(env, until=until)
        try:
            yield service
        finally:
            await service.process.kill()
            self.running.remove(service.process)

    async def _start(self, env: Mapping[str, str | None], *, until: str) -> Service:
        launcher = self.options.launcher
        if launcher is None:
            raise NotCheckedError("--start or --image")
        folder = self._folder()
        started = await launcher.start(folder, env)
        self.running.append(started)
        service = Service(self, started.url, token=env.get("PROCESSOR_TOKEN") or "", artifacts=folder, started=started)
        if until == "ready":
            await started.until_ready()
        elif until == "listening":
            await started.until_listening()
        return service

    def _folder(self) -> Path:
        """Return the folder that stands for `/artifacts` of started services."""
        if self.options.artifacts is not None:
            return self.options.artifacts.resolve()
        if self._own_folder is None:
            self._own_folder = Path(tempfile.mkdtemp(prefix="kit-artifacts-")).resolve()
            self._own_folder.chmod(0o777)  # an image does not run as this user
        return self._own_folder


def _remove(path: Path) -> None:
    """Remove what the kit or a run of its own has left; what belongs to another user stays."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()


def _made_inputs(schema: dict[str, Any]) -> list[dict[str, Any]]:
    try:
        return [value for value in valid_inputs(schema, MADE) if isinstance(value, dict)]
    except Exception:  # noqa: BLE001  # a schema that hypothesis cannot serve is the checks' matter, not the kit's end
        return []


def _other_inputs(schema: dict[str, Any], inputs: dict[str, Any]) -> dict[str, Any] | None:
    try:
        return differing_inputs(schema, inputs)
    except Exception:  # noqa: BLE001  # as above
        return None

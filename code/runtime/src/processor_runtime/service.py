"""One processor, ready to run, without HTTP: rules, executions, and what it says of itself."""

import threading
from collections.abc import Callable, Mapping, MutableMapping
from functools import partial
from typing import Any, Final, Literal, Self

from . import hosting, logs
from .declaration import Declaration, DeclarationError
from .envelopes import bare_meta
from .errors import ProcessorError
from .execution import Answer, Caller
from .executor import Executor
from .handler import Processor
from .masking import Mask
from .recorder import Recorder
from .request import Refusal, Rules, TakesLongError
from .schemas import compile_schema
from .settings import MODES, Settings, SettingsError
from .setup import SetUpState

# to parse and to check more takes longer than other requests may wait for
_LONG_BODY_BYTES: Final = 64 * 1024

Hook = Callable[[], None]
Health = Literal["ok", "starting", "failed", "draining"]


class Service:
    """The one processor of this process.

    Args:
        processor: The handler and its set-up.
        declaration: What it promises.
        settings: What this process was started with.
        secrets: The declared secrets that are set and non-empty.
        publish: Called after a receipt is written and before the answer
            leaves: makes the run's files visible to other machines.
        refresh: Called when a file or receipt is not found: makes files of
            other machines visible here.

    Attributes:
        side_by_side: Whether several handlers may compute at once, each in a thread.

    Raises:
        ValueError: the declared inputs are not a Draft-07 schema of its own.
    """

    def __init__(  # what a service is made of, each from another source
        self,
        processor: Processor,
        declaration: Declaration,
        settings: Settings,
        secrets: Mapping[str, str],
        *,
        publish: Hook | None = None,
        refresh: Hook | None = None,
    ) -> None:
        ref = str(declaration.ref)
        meta = bare_meta(ref, declaration.env_fingerprint, settings.image_digest, pinned=settings.pinned)
        self.side_by_side = declaration.runtime.concurrency > 1 and not processor.is_async
        self.declaration = declaration
        self.settings = settings
        self.mask = Mask([*secrets.values(), settings.token])
        self._secrets = secrets
        self._recorder = Recorder(meta, self.mask, logs.get_logger(ref), publish)
        self._rules = Rules(declaration, settings, secrets, compile_schema(declaration.inputs), refresh)
        self._executor = Executor(processor, declaration, settings, secrets, recorder=self._recorder, refresh=refresh)

    @classmethod
    def from_env(
        cls,
        processor: Processor,
        environ: MutableMapping[str, str],
        *,
        publish: Hook | None = None,
        refresh: Hook | None = None,
    ) -> Self:
        """Return the service that *environ* and the processor's registry describe.

        Hooks that are not given are those of the host (`hosting.hosted`).

        Raises:
            SystemExit: a malformed setting or registry; one `http.boot.error`
                line names it.
        """
        try:
            declaration = Declaration.load(processor.registry)
            settings = Settings.from_env(environ)
            secrets = {name: environ[name] for name in declaration.secrets if environ.get(name)}
            host = hosting.current()
            service = cls(
                *(processor, declaration, settings, secrets),
                publish=publish or host.publish,
                refresh=refresh or host.refresh,
            )
        except SettingsError as exc:
            logs.boot_error(exc.name, exc.rule)
        except DeclarationError as exc:
            logs.boot_error("registry.yaml", str(exc))
        except ValueError:
            logs.boot_error("registry.yaml", "inputs: not a Draft-07 schema of its own")
        logs.use_mask(service.mask)
        return service

    def start(self) -> None:
        """Begin set-up, unless only mock is served or a required secret is unset."""
        if self.settings.mode != "mock" and all(name in self._secrets for name in self.declaration.required_secrets):
            self._executor.begin_setup()

    # --- what it says of itself

    def health(self) -> Health:
        """Return whether a run would be accepted now; takes no lock and reads no file."""
        if self._executor.draining:
            return "draining"
        setup = self._executor.setup_state
        if setup is SetUpState.FAILED or self._executor.stuck:
            return "failed"
        return "starting" if setup is SetUpState.STARTING else "ok"

    def contract(self) -> dict[str, Any]:
        """Return what this image promises (`GET /contract`)."""
        declaration, settings, runtime = self.declaration, self.settings, self.declaration.runtime
        return {
            "contract": "v1",
            "ref": str(declaration.ref),
            "capabilities": ["cancel", "contract", "stream"],
            "modes": list(MODES if settings.mode is None else (settings.mode,)),
            "inputs": declaration.inputs,
            "outputs": declaration.document["outputs"],
            "runtime": {
                "cpu": runtime.cpu,
                "memory_gb": runtime.memory_gb,
                "timeout_s": runtime.timeout_s,
                "gpu": runtime.gpu,
                "concurrency": runtime.concurrency,
            },
            "limits": {
                "max_body_bytes": settings.max_body_bytes,
                "concurrency": runtime.concurrency,
                "queue": settings.queue,
                "timeout_s": runtime.timeout_s,
            },
            "secrets": {
                "required": self._set_or_not(declaration.required_secrets),
                "optional": self._set_or_not(declaration.optional_secrets),
            },
        }

    def _set_or_not(self, names: tuple[str, ...]) -> list[dict[str, Any]]:
        return [{"name": name, "set": name in self._secrets} for name in names]

    # --- calls

    def call(self, raw: bytes, caller: Caller, trace_id: str | None = None) -> None:
        """Run the request in the body *raw*; *caller* gets exactly one answer, from any thread."""
        if len(raw) > _LONG_BODY_BYTES:
            self._executor.workers.submit_long(partial(self._admit, raw, caller, trace_id))
        else:
            self._executor.workers.submit(partial(self._admit, raw, caller, trace_id, files=False))

    def _admit(self, raw: bytes, caller: Caller, trace_id: str | None, *, files: bool = True) -> None:
        try:
            request = self._rules.check(raw, trace_id, files=files)
        except TakesLongError:
            self._executor.workers.submit_long(partial(self._admit, raw, caller, trace_id))
        except Refusal as exc:
            caller.reply(self._recorder.refusal(exc.error, exc.execution_id))
        except Exception as exc:  # noqa: BLE001  # a fault of ours must not leave the caller without an answer
            caller.reply(self._recorder.fault(exc, ""))
        else:
            self._executor.submit(request, caller)

    def at_pause(self, job: Callable[[], None]) -> None:
        """Run *job* when the thread that runs requests one after another pauses; at once if another thread calls."""
        self._executor.workers.at_pause(job)

    def call_and_wait(self, raw: bytes) -> bytes:
        """Run the request in the body *raw* and return its envelope as JSON."""
        answered = threading.Event()
        answers: list[Answer] = []

        def reply(answer: Answer) -> None:
            answers.append(answer)
            answered.set()

        self.call(raw, Caller(reply))
        answered.wait()
        return answers[0].body

    def cancel(self, execution_id: str) -> bool:
        """Ask for the end of an execution; return whether one is queued or running under that id."""
        return self._executor.cancel(execution_id)

    def drain(self, drained: Hook) -> None:
        """Take no new runs; call *drained*, from any thread, when all in flight have their answers."""
        self._executor.drain(drained)

    def refusal(self, error: ProcessorError) -> Answer:
        """Return the answer for a request that is no run, and log why."""
        return self._recorder.refusal(error)

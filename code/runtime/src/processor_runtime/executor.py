"""Who is in flight, who waits and who runs; an execution goes through here once (CONTRACT §4, §5).

Every method may be called from any thread. What decides (in flight, waiting,
slots) is behind one lock that is never held over a file or a handler.

While a thread works on an execution it *holds* it: who decides the outcome
meanwhile (cancel, deadline, drain) leaves the settling to that thread.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, Literal

from . import logs
from .alarms import Alarms
from .declaration import Declaration
from .errors import (
    BusyError,
    CancelledRunError,
    DeadlineError,
    Detail,
    DrainingError,
    ExecutionConflictError,
    HandlerFailedError,
    InputsError,
    InternalError,
    OutputMissingError,
    ProcessorError,
    ProviderError,
    SetupFailedError,
    StorageError,
)
from .execution import Answer, Caller, Execution
from .handler import Processor
from .logs import Logger
from .loops import HandlerLoop
from .recorder import Recorder, stored_success
from .request import RunRequest
from .run import Run
from .settings import MODES, Settings
from .setup import SetUpState, SetUpTask
from .workers import SPARE_THREADS, Pace, Workers
from .workspace import PrefixLockedError, Workspace

_PARKED_S: Final = 0.05
_UNDECIDED_S: Final = 0.01

Hook = Callable[[], None]
Place = Literal["slot", "queue", "none"]


class _UndecidedError(Exception):
    """What seems to be in the way is still being looked at, and may be no run at all."""


class Executor:
    """Runs the executions of one processor in a bounded number of slots.

    Args:
        processor: The handler and its set-up.
        declaration: What it promises.
        settings: Roots, queue and grace.
        secrets: The declared secrets that are set.
        recorder: Makes answers and evidence.
        refresh: Called when nothing is found at a prefix: makes files of other
            machines visible.
    """

    def __init__(  # each comes from another source; a bundle would only be unpacked here
        self,
        processor: Processor,
        declaration: Declaration,
        settings: Settings,
        secrets: Mapping[str, str],
        *,
        recorder: Recorder,
        refresh: Hook | None = None,
    ) -> None:
        self._processor = processor
        self._settings = settings
        self._secrets = secrets
        self._recorder = recorder
        self._refresh = refresh
        self._concurrency = declaration.runtime.concurrency
        self._outputs = [(output, output.pattern().fullmatch) for output in declaration.outputs]
        self._required = [output.path for output in declaration.outputs if output.required]
        self._log: Logger = logs.get_logger(str(declaration.ref))
        # a loop per mode: a mock run must not wait for a set-up that blocks the loop it runs on
        self._handlers = {mode: HandlerLoop() for mode in MODES}
        self._setup = SetUpTask(
            processor.setup, secrets, log=self._log, handlers=self._handlers["real"], finished=self._dispatch
        )
        self._alarms = Alarms()
        self._lock = threading.Lock()
        self._by_id: dict[str, Execution] = {}
        self._by_prefix: dict[str, Execution] = {}
        self._waiting: deque[Execution] = deque()
        self._slots_taken = 0
        self._overdue = 0
        self._drained: Hook | None = None
        self.draining = False
        # what makes files of other machines visible takes its time: handlers must not wait for it
        at_home = processor.is_async and refresh is None
        home = self._handlers[settings.mode or "mock"].call if at_home else None
        self.workers = Workers(self._concurrency + SPARE_THREADS, home)
        self._pace = Pace()

    # --- what others ask

    @property
    def setup_state(self) -> SetUpState:
        """How far set-up is."""
        return self._setup.state

    @property
    def stuck(self) -> bool:
        """Whether every slot is held by a handler past its deadline."""
        return self._overdue >= self._concurrency

    def begin_setup(self) -> None:
        """Start set-up unless it began before."""
        self._setup.begin()

    def submit(self, request: RunRequest, caller: Caller) -> None:
        """Run *request*, or join what runs; *caller* gets exactly one answer."""
        try:
            execution = self._register(request, caller)
        except _UndecidedError:
            again = partial(self.submit, request, caller)
            self._alarms.set(object(), _UNDECIDED_S, lambda: self.workers.submit(again))
        except ProcessorError as exc:
            request.close()
            caller.reply(self._recorder.refusal(self._earlier(request) or exc, request.execution_id))
        else:
            if execution is not None:
                self._enter(execution)

    def cancel(self, execution_id: str) -> bool:
        """Ask for the end of an execution; return whether one is queued or running under that id."""
        with self._lock:
            execution = self._by_id.get(execution_id)
            if execution is None or execution.answered:
                return False
        self._stop(execution, CancelledRunError())
        return True

    def drain(self, drained: Hook) -> None:
        """Take no new runs; call *drained*, from any thread, when all in flight have their answers.

        Runs that are still going after the grace are cancelled.
        """
        with self._lock:
            self.draining = True
            self._drained = drained
            in_flight = len(self._by_id)
        self._log.event("service.draining", in_flight=in_flight, grace_s=self._settings.grace_s)
        self._alarms.set("grace", self._settings.grace_s, self._grace_over)
        self._check_drained()

    def _grace_over(self) -> None:
        with self._lock:
            executions = list(self._by_id.values())
        for execution in executions:
            self._stop(execution, CancelledRunError(Detail(path="", message="the service shuts down")))

    def _check_drained(self) -> None:
        with self._lock:
            if self._drained is None or any(not execution.answered for execution in self._by_id.values()):
                return
            drained, self._drained = self._drained, None
        drained()

    # --- admit: draining, sameness, places, in this order

    def _register(self, request: RunRequest, caller: Caller) -> Execution | None:
        """Return a new execution, or ``None`` where *caller* joined one in flight."""
        with self._lock:
            if self.draining:
                raise DrainingError
            known = self._by_prefix.get(request.place.prefix) or self._by_id.get(request.execution_id)
            if known is None:
                execution = Execution(request, caller, self._log)
                execution.workspace = self._workspace(execution)
                self._by_prefix[request.place.prefix] = self._by_id[request.execution_id] = execution
                return execution
            if known.request.key != request.key:
                if not known.admitted and not known.answered:
                    raise _UndecidedError
                raise ExecutionConflictError
            if known.answered:  # it has settled, but its handler still runs
                raise BusyError
            known.join(caller)
            admitted = known.admitted
        request.close()
        if admitted:
            self._accept(known, caller)
        return None

    def _earlier(self, request: RunRequest) -> ProcessorError | None:
        """Return the rule of the request that is broken after all, where no workspace has found it out."""
        try:
            request.place.resolved()
        except ProcessorError as exc:
            return exc
        return None

    def _workspace(self, execution: Execution) -> Workspace:
        return Workspace(execution.request.place, self._outputs, execution.guarded, execution.announce)

    def _enter(self, execution: Execution) -> None:
        """Look at the prefix, then take a slot, wait for one, or refuse. This thread holds *execution*."""
        try:
            stored = self._look(execution)
            if stored is not None:
                # not by the execution's own logger: a stream that replays gets `done` alone
                self._log.event("http.run.replay", execution_id=execution.request.execution_id)
                self._leave(execution, stored)
                return
            place = self._place(execution)
        except PrefixLockedError:
            self._park(execution)
        except ProcessorError as exc:
            self._refuse(execution, exc)
        except Exception as exc:  # noqa: BLE001  # a fault of ours must not leave the caller without an answer
            self._leave(execution, self._recorder.fault(exc, execution.request.execution_id))
        else:
            for caller in execution.callers():
                self._accept(execution, caller)
            if place == "slot":
                self._start(execution)
            elif place == "none":
                self._let_go(execution)

    def _look(self, execution: Execution) -> Answer | None:
        """Return the stored answer where the same request has already succeeded.

        Raises:
            ExecutionConflictError: something else was run under this prefix.
            PrefixLockedError: another process runs something there.
        """
        workspace = execution.workspace
        if not workspace.exists():
            if self._refresh is None:
                return None
            workspace.rest()  # an open directory keeps a volume from being refreshed
            try:
                self._refresh()
            except StorageError as exc:
                # another run holds files open, say: nobody else can be asked whether this one is settled, and to refuse
                # it would make concurrent runs refuse each other. Its client sees to it that an id is in flight once
                self._log.event("http.run.unrefreshed", level="warning", details=list(exc.details))
            if not workspace.exists():
                return None
        receipt = workspace.receipt()
        if receipt is None:
            return None
        if not self._recorder.same_run(receipt, execution.request):
            raise ExecutionConflictError
        return stored_success(receipt, workspace)

    def _place(self, execution: Execution) -> Place:
        """Admit *execution*: to a slot or a waiting place, or to none if its outcome was decided meanwhile.

        From the moment it waits this thread holds it no more: another one may
        start it at once.

        Raises:
            SetupFailedError: it needs a set-up that failed.
            BusyError: no slot and no waiting place.
        """
        if execution.request.mode == "real" and self._setup.begin() is SetUpState.FAILED:
            raise SetupFailedError
        with self._lock:
            starts = self._may_start(execution)
            if not (starts or execution.stopped) and len(self._waiting) >= self._settings.queue:
                raise BusyError
            execution.admitted = True
            if execution.stopped:
                return "none"
            if starts:
                self._take_slot(execution)
                return "slot"
            execution.workspace.rest()
            self._waiting.append(execution)
            execution.held = False
            left_s = execution.arrived + execution.request.timeout_s - time.monotonic()
            self._alarms.set(execution, left_s, lambda: self._waited_too_long(execution))
            return "queue"

    def _may_start(self, execution: Execution) -> bool:
        ready = execution.request.mode == "mock" or self._setup.state is SetUpState.READY
        return ready and self._slots_taken < self._concurrency

    def _take_slot(self, execution: Execution) -> None:
        self._slots_taken += 1
        execution.holds_slot = True

    def _accept(self, execution: Execution, caller: Caller) -> None:
        """Tell a stream that there will be a run."""
        accepted, caller.accepted = caller.accepted, None
        if accepted is not None:
            accepted(lambda: self._reader_left(execution))

    def _reader_left(self, execution: Execution) -> None:
        if execution.leave():
            self._stop(execution, CancelledRunError(Detail(path="", message="the last reader left")))

    def _park(self, execution: Execution) -> None:
        """Look again soon: another process holds the prefix."""
        self._give_slot_back(execution)
        if self.draining:
            self._refuse(execution, DrainingError())
        elif time.monotonic() - execution.arrived > execution.request.timeout_s:
            self._refuse(execution, BusyError())
        else:
            self._alarms.set(execution, _PARKED_S, lambda: self.workers.submit(lambda: self._unpark(execution)))
            self._let_go(execution)

    def _unpark(self, execution: Execution) -> None:
        with self._lock:
            if execution.stopped:
                return
            execution.held = True
        self._enter(execution)

    def _waited_too_long(self, execution: Execution) -> None:
        with self._lock:
            if execution not in self._waiting:
                return
            self._waiting.remove(execution)
            execution.held = True
        if execution.decide(busy := BusyError()):
            self._leave(execution, self._recorder.refusal(busy, execution.request.execution_id))
        else:  # cancelled at the same moment
            self._let_go(execution)

    def _dispatch(self) -> None:
        """Start as many waiting executions as there are slots; fail those whose set-up failed."""
        while True:
            with self._lock:  # to look without it would miss who is just being queued
                execution = next(filter(self._leaves_queue, self._waiting), None)
                if execution is None:
                    return
                self._waiting.remove(execution)
                self._alarms.clear(execution)
                starts = self._may_start(execution)
                if starts:
                    self._take_slot(execution)
                    execution.held = True
            if starts:
                self._start_soon(execution)
            else:
                self._stop(execution, SetupFailedError())

    def _leaves_queue(self, execution: Execution) -> bool:
        failed = execution.request.mode == "real" and self._setup.state is SetUpState.FAILED
        return failed or self._may_start(execution)

    def _start_soon(self, execution: Execution) -> None:
        self.workers.submit(lambda: self._start(execution))

    # --- run

    def _start(self, execution: Execution) -> None:
        """Make the folder and run the handler. This thread holds *execution*, which holds a slot."""
        if not self._processor.is_async:
            self._make_way()
        workspace = execution.workspace
        fresh = not workspace.opened
        try:
            workspace.make()
            if fresh and workspace.receipt() is not None:
                # another process made and settled it since we looked
                self._give_slot_back(execution)
                self._enter(execution)
                return
            if not workspace.new:
                workspace.forget()
        except PrefixLockedError:
            self._park(execution)
            return
        except Exception as exc:  # noqa: BLE001  # a fault of ours must not leave the caller without an answer
            execution.decide(exc if isinstance(exc, ProcessorError) else InternalError())
            self._let_go(execution)
            return
        run = Run(
            execution.request,
            secrets=self._secrets,
            resource=self._setup.resource,
            workspace=workspace,
            log=execution.log,
            host=execution,
        )
        if self._let_go(execution, to_handler=True):  # cancelled while it was made ready
            return
        execution.begin()
        self._alarms.set(execution, execution.request.timeout_s, partial(self._late, execution))
        if self._processor.is_async:
            work: Any = self._processor.work(run)
            self._handlers[run.mode].submit(
                work, started=execution.interruptible, ended=partial(self._ended, execution, run)
            )
        else:
            self._ended(execution, run, self._raised(run))

    def _late(self, execution: Execution) -> None:
        # not in the alarms' own thread: deciding waits for a rename that is under way
        self.workers.submit(partial(self._stop, execution, DeadlineError()))

    def _make_way(self) -> None:
        """Let go ahead what would wait for a sync handler that takes its time.

        Before the folder is made: a handler may hold on to the interpreter's
        lock, and file calls are the last chance of others to get it.
        """
        if self._pace.slow:
            self.workers.step_aside()
        elif not self._pace.quick:
            self.workers.pause()

    def _raised(self, run: Run) -> BaseException | None:
        """Run a sync handler; return what it raises."""
        began = time.monotonic()
        try:
            self._processor.work(run)
        except BaseException as exc:  # noqa: BLE001  # SystemExit in a handler ends the run, not the service
            return exc
        finally:
            self._pace.note(time.monotonic() - began)
        return None

    def _ended(self, execution: Execution, run: Run, raised: BaseException | None) -> None:
        """The handler has ended: settle, unless something else came first."""
        execution.extra = run.extra
        error = _translated(execution, raised) if raised else self._missing(execution)
        error = execution.workspace.violation or error
        if execution.decide(error):
            execution.handler_ended = True
            self._alarms.clear(execution)
            self._settle(execution)
            return
        execution.log.event("http.run.late", message="the handler ended after the run had settled")
        with self._lock:
            execution.handler_ended = True
            retire = execution.answered
        if retire:
            execution.close()
            with self._lock:
                self._forget(execution)
            self._dispatch()

    def _missing(self, execution: Execution) -> ProcessorError | None:
        written = {row["path"] for row in execution.workspace.rows}
        prefix = execution.request.place.prefix
        missing = [path for path in self._required if prefix + path not in written]
        return OutputMissingError(*(Detail(path=path, message="not written") for path in missing)) if missing else None

    # --- settle

    def _stop(self, execution: Execution, error: ProcessorError) -> None:
        """Settle with *error* without waiting for the handler, unless the outcome is decided."""
        if not execution.decide(error):
            return
        with self._lock:
            if execution in self._waiting:
                self._waiting.remove(execution)
            if isinstance(error, DeadlineError) and not execution.handler_ended:
                execution.overdue = True
                self._overdue += 1
            mine = execution.claim_settling()
        self._alarms.clear(execution)
        execution.interrupt()
        if mine:
            self.workers.submit(lambda: self._settle(execution))

    def _let_go(self, execution: Execution, *, to_handler: bool = False) -> bool:
        """Hold *execution* no more; settle it, and return true, if its outcome was decided meanwhile."""
        with self._lock:
            execution.held = False
            stopped = execution.stopped
            mine = stopped and execution.claim_settling()
            if to_handler and not stopped:
                execution.handler_ended = False
        if mine:
            self._settle(execution)
        return stopped

    def _settle(self, execution: Execution) -> None:
        self._leave(execution, self._recorder.settle(execution))

    def _refuse(self, execution: Execution, error: ProcessorError) -> None:
        """End an execution that never was a run: it writes nothing."""
        execution.decide(error)
        self._leave(execution, self._recorder.refusal(error, execution.request.execution_id))

    def _leave(self, execution: Execution, answer: Answer) -> None:
        """Give every caller *answer*; before that, whatever a next request needs is free again."""
        closed = execution.handler_ended
        if closed:
            execution.close()  # before it is forgotten: its folder's lock must not meet the next request
        with self._lock:
            execution.answered = True
            callers = execution.callers()
            retire = execution.handler_ended
            if retire:
                self._forget(execution)
        if retire:
            if not closed:  # it has ended since
                execution.close()
            if self._waiting:  # who waits was queued while the slot was taken, or has found it free
                self._dispatch()
        first, *joined = callers
        first.reply(answer)
        for caller in joined:
            caller.reply(answer.joined())
        if self.draining:
            self._check_drained()

    def _forget(self, execution: Execution) -> None:
        """Drop *execution*, which is answered and whose handler has ended; the lock is held."""
        del self._by_id[execution.request.execution_id]
        del self._by_prefix[execution.request.place.prefix]
        if execution.overdue:
            self._overdue -= 1
        if execution.holds_slot:
            execution.holds_slot = False
            self._slots_taken -= 1

    def _give_slot_back(self, execution: Execution) -> None:
        with self._lock:
            if not execution.holds_slot:
                return
            execution.holds_slot = False
            self._slots_taken -= 1
        self._dispatch()


def _translated(execution: Execution, exc: BaseException) -> ProcessorError | None:
    """Return what the caller is told of *exc*; the log has the rest."""
    if execution.stopped:
        return None
    if isinstance(exc, InputsError | ProviderError):
        execution.log.event("handler.error", level="warning", code=str(exc.code), context=exc.context)
        return exc
    execution.log.event("handler.error", level="error", exception=logs.formatted(exc))
    return HandlerFailedError()

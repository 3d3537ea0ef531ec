"""Faults for one healthy processor, each with the checks of the kit that must see it.

A fault is one function; what is done to it says its decorator: `answered` changes answers on their way out, `told`
changes the events of a stream, `instead` takes the place of a function of the runtime (and gets it as first
argument), and `started` is called before the service is made. Importing this module plants nothing.

Where one fault breaks several sentences of the contract, a comment says why that cannot be otherwise.
"""

from __future__ import annotations

import collections
import contextlib
import hashlib
import json
import os
import re
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from processor_runtime import (
    app,
    artifacts,
    canonical,
    capture,
    declaration,
    execution,
    executor,
    http_input,
    logs,
    masking,
    output_file,
    prefix,
    recorder,
    request,
    run,
    service,
    settings,
    strict_json,
    workspace,
)
from processor_runtime.errors import (
    Detail,
    HandlerFailedError,
    ModeInvalidError,
    OutputPathError,
    OutputUndeclaredError,
    StorageError,
)
from processor_runtime.setup import SetUpState

Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]
Receive = Callable[[], Awaitable[Message]]
App = Callable[[Message, Receive, Send], Awaitable[None]]
Middle = Callable[[App], App]
Event = tuple[str, str, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Fault:
    """One way to break a promise.

    Attributes:
        name: Of the fault; `PLANTED_FAULT` names it.
        says: What the service does wrong.
        breaks: The ids of the checks that must fail, and no others.
        plant: Plants it in this process, and returns what to put around the app.
    """

    name: str
    says: str
    breaks: frozenset[str]
    plant: Callable[[], Middle]


FAULTS: Final[list[Fault]] = []
CHANGED: Final = "PLANTED_FAULT"  # the variable that names the fault of a process


def _add(function: Callable[..., Any], breaks: Iterable[str], plant: Callable[[], Middle]) -> None:
    name = function.__name__.replace("_", "-")
    FAULTS.append(Fault(name, " ".join((function.__doc__ or "").split()), frozenset(breaks), plant))


def _unchanged(healthy: App) -> App:
    return healthy


def _put(owner: object, name: str, value: object) -> None:
    setattr(owner, name, value)


# --- how a fault is planted


@dataclass(slots=True)
class Answer:
    """One answer that is not a stream, on its way out; `document` is ``None`` where it is no JSON object."""

    method: str
    path: str
    status: int
    headers: dict[bytes, bytes]
    document: Any
    body: bytes = b""

    @property
    def code(self) -> str:
        """The error's code, ``""`` if there is none."""
        return str(self.document.get("error", {}).get("code", "")) if isinstance(self.document, dict) else ""


def answered(*breaks: str) -> Callable[[Callable[[Answer], None]], Callable[[Answer], None]]:
    """Return a decorator for a fault that changes answers."""

    def add(change: Callable[[Answer], None]) -> Callable[[Answer], None]:
        def around(healthy: App) -> App:
            async def faulty(scope: Message, receive: Receive, send: Send) -> None:
                await healthy(scope, receive, _edited(scope, send, change) if scope["type"] == "http" else send)

            return faulty

        _add(change, breaks, lambda: around)
        return change

    return add


def _edited(scope: Message, send: Send, change: Callable[[Answer], None]) -> Send:
    begun: list[Message] = []
    parts: list[bytes] = []

    async def edit(message: Message) -> None:
        if message["type"] == "http.response.start":
            if (b"content-type", b"text/event-stream") in [(k, v.split(b";")[0]) for k, v in message["headers"]]:
                await send(message)
            else:
                begun.append(message)
            return
        if not begun:
            await send(message)
            return
        parts.append(message.get("body", b""))
        if message.get("more_body"):
            return
        start, body = begun[0], b"".join(parts)
        is_json = body.startswith(b"{")
        document = orjson.loads(body) if is_json else None
        answer = Answer(scope["method"], scope["path"], start["status"], dict(start["headers"]), document, body)
        change(answer)
        if answer.document is not None:
            answer.body = orjson.dumps(answer.document)
        if scope["method"] != "HEAD":
            answer.headers[b"content-length"] = b"%d" % len(answer.body)
        await send({**start, "status": answer.status, "headers": list(answer.headers.items())})
        await send({"type": "http.response.body", "body": answer.body})

    return edit


def told(*breaks: str) -> Callable[[Callable[[Event], list[Event]]], Callable[[Event], list[Event]]]:
    """Return a decorator for a fault that changes the events of streams: id, name and data."""

    def add(change: Callable[[Event], list[Event]]) -> Callable[[Event], list[Event]]:
        def around(healthy: App) -> App:
            async def faulty(scope: Message, receive: Receive, send: Send) -> None:
                streams = scope["type"] == "http" and scope["path"] == "/run-stream"
                await healthy(scope, receive, _retold(send, change) if streams else send)

            return faulty

        _add(change, breaks, lambda: around)
        return change

    return add


def _retold(send: Send, change: Callable[[Event], list[Event]]) -> Send:
    async def edit(message: Message) -> None:
        body = message.get("body", b"")
        if b"event: " in body:
            blocks = [block for block in body.split(b"\n\n") if block]
            message = {**message, "body": b"".join(_changed(block, change) for block in blocks)}
        await send(message)

    return edit


def _changed(block: bytes, change: Callable[[Event], list[Event]]) -> bytes:
    if block.startswith(b":"):
        return block + b"\n\n"
    fields = dict(line.split(": ", 1) for line in block.decode().split("\n") if line)
    events = change((fields["id"], fields["event"], json.loads(fields["data"])))
    return "".join(
        f"event: {name}\ndata: {json.dumps(data)}\nid: {number}\n\n" for number, name, data in events
    ).encode()


def instead(owner: object, name: str, *breaks: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return a decorator for a fault that takes the place of *name* in *owner*, and gets that as first argument."""

    def add(change: Callable[..., Any]) -> Callable[..., Any]:
        def plant() -> Middle:
            old = getattr(owner, name)
            _put(owner, name, lambda *args, **kwargs: change(old, *args, **kwargs))
            return _unchanged

        _add(change, breaks, plant)
        return change

    return add


def started(*breaks: str) -> Callable[[Callable[[], None]], Callable[[], None]]:
    """Return a decorator for a fault that is planted by calling it, before the service is made."""

    def add(change: Callable[[], None]) -> Callable[[], None]:
        def plant() -> Middle:
            change()
            return _unchanged

        _add(change, breaks, plant)
        return change

    return add


# --- health, routes, contract, token


@answered("C-HEALTH-01")
def health_says_more_than_ok(answer: Answer) -> None:
    """`/healthz` has one more key."""
    if answer.path == "/healthz" and answer.status == 200:
        answer.document["state"] = "ready"


@answered("C-HEALTH-02")
def health_knows_no_head(answer: Answer) -> None:
    """`HEAD /healthz` is 405."""
    if answer.method == "HEAD":
        answer.status = 405


# whether a set-up failed is seen in `/healthz` alone, so both sentences about what runs do after it wait in vain
@instead(service.Service, "health", "C-SETUP-04", "C-SETUP-05", "C-SETUP-06")
def health_lies_after_a_failed_set_up(old: Any, self: Any) -> Any:
    """`/healthz` is ok although set-up has failed."""
    return "ok" if self._executor.setup_state is SetUpState.FAILED else old(self)


# the page is the answer to every unknown route, so whatever is said of one, of routes or of envelopes, is broken
@answered("C-ROUTE-01", "C-ROUTE-02", "C-ROUTE-04", "C-ROUTE-06", "C-ENV-01", "C-ENV-02")
def not_found_is_a_page(answer: Answer) -> None:
    """An unknown route is a 404 in HTML."""
    if answer.status == 404 and not answer.path.startswith("/run/"):
        answer.headers[b"content-type"] = b"text/html"
        answer.document, answer.body = None, b"<h1>Not Found</h1>"


@answered("C-ROUTE-03", "C-CONTRACT-04")  # `Allow` is how the kit sees that an announced route is there
def wrong_method_without_allow(answer: Answer) -> None:
    """A 405 has no `Allow`."""
    answer.headers.pop(b"allow", None)


@answered("C-ROUTE-02")
def slash_is_redirected(answer: Answer) -> None:
    """`/healthz/` is a redirect to `/healthz`."""
    if answer.path == "/healthz/":
        answer.status = 307
        answer.headers[b"location"] = b"/healthz"


@answered("C-CONTRACT-05")
def reserved_capability(answer: Answer) -> None:
    """`/contract` announces `status`, which is reserved."""
    if answer.path == "/contract" and answer.status == 200:
        answer.document["capabilities"].append("status")


@instead(service.Service, "_set_or_not", "C-CONTRACT-08")
def contract_tells_secrets(old: Any, self: Any, names: tuple[str, ...]) -> Any:
    """`/contract` shows the values of secrets."""
    return [{**row, "value": self._secrets.get(row["name"], "")} for row in old(self, names)]


@instead(http_input, "authorized", "C-TOKEN-02")
def part_of_the_token_is_enough(_old: Any, scope: Message, expected: bytes) -> bool:
    """A token is compared only as far as it was given."""
    given: list[bytes] = [value for name, value in scope["headers"] if name == b"authorization"]
    return len(given) == 1 and expected.startswith(given[0])


@instead(http_input, "authorized", "C-TOKEN-03")
def contract_needs_no_token(old: Any, scope: Message, expected: bytes) -> bool:
    """`/contract` and `/openapi.json` are open to everybody."""
    return scope["path"] in {"/contract", "/openapi.json"} or bool(old(scope, expected))


@answered("C-TOKEN-01")
def unauthorized_names_no_scheme(answer: Answer) -> None:
    """A 401 has no `WWW-Authenticate`."""
    answer.headers.pop(b"www-authenticate", None)


# --- modes, set-up, drain, boot


@instead(request.Rules, "_mode", "C-MODE-01")
def mode_in_any_case(old: Any, self: Any, body: dict[str, Any]) -> Any:
    """`MOCK` is taken for `mock`."""
    mode = body.get("mode")
    return old(self, {**body, "mode": mode.lower()} if isinstance(mode, str) else body)


# the guard is one of the rules whose order is a promise of its own
@instead(settings, "ci_is_set", "C-MODE-05", "C-REQ-51")
def real_runs_in_ci(_old: Any, _environ: object) -> bool:
    """`CI` is ignored."""
    return False


@instead(settings, "ci_is_set", "C-MODE-06")
def ci_false_is_ci(_old: Any, environ: Any) -> bool:
    """`CI=false` counts as set."""
    return bool(environ.get("CI"))


@instead(service.Service, "start", "C-SETUP-07", "C-SETUP-08")
def set_up_always_begins(_old: Any, self: Any) -> None:
    """Set-up begins in a process that serves `mock` alone, or has no secrets."""
    self._executor.begin_setup()


# what has succeeded before is a new request too: it is replayed instead of refused
@instead(executor.Executor, "_register", "C-DRAIN-03", "C-DRAIN-06")
def drain_takes_new_runs(old: Any, self: Any, *arguments: object) -> Any:
    """After SIGTERM new runs are still accepted."""
    draining, self.draining = self.draining, False
    try:
        return old(self, *arguments)
    finally:
        self.draining = draining


@instead(logs, "boot_error", "C-BOOT-01")
def dies_without_a_word(_old: Any, *_: object) -> None:
    """A malformed setting ends the process without a line that names it."""
    raise SystemExit(1)


# --- the request


@instead(http_input, "body", "C-REQ-05", "C-REQ-07")
async def chunked_body_has_no_limit(old: Any, scope: Message, receive: Receive, limit: int) -> Any:
    """Only an announced length is compared with the limit, the default one or a set one."""
    announced = any(name == b"content-length" for name, _ in scope["headers"])
    return await old(scope, receive, limit if announced else 1 << 40)


def _despite(reason: str, old: Any, data: bytes) -> Any:
    try:
        return old(data)
    except strict_json.JsonError as exc:
        if reason in str(exc):
            return orjson.loads(data)
        raise


@instead(strict_json, "loads", "C-REQ-10")
def duplicate_keys_are_taken(old: Any, data: bytes) -> Any:
    """Of two equal keys the last one wins."""
    return _despite("duplicate key", old, data)


@instead(strict_json, "loads", "C-REQ-13")
def large_integers_are_taken(old: Any, data: bytes) -> Any:
    """Integers beyond ±(2^53-1) are accepted."""
    return _despite("integer beyond", old, data)


# this is what that module takes: each of these words is a sentence of I-JSON
@instead(strict_json, "loads", "C-REQ-10", "C-REQ-11", "C-REQ-12", "C-REQ-13", "C-REQ-14", "C-REQ-15")
def json_of_the_standard_library(_old: Any, data: bytes) -> Any:
    """Bodies are read by Python's `json`."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        raise strict_json.JsonError("no JSON") from None


@started("C-REQ-24")
def dots_in_the_prefix() -> None:
    """A `write_prefix` may hold `.`, `..` and empty segments."""
    _put(prefix, "_EMPTY_OR_DOTS", re.compile(r"(?!)"))


# a link into the folder of inputs is that folder too
@started("C-REQ-29", "C-REQ-30")
def writes_among_inputs() -> None:
    """A run may write in `/artifacts/inputs/`."""
    _put(prefix, "INPUTS", "/nowhere")


@instead(prefix.Roots, "_refuse_among_inputs", "C-REQ-30")
def links_lead_among_the_inputs(*_: object) -> None:
    """A prefix may lead among the inputs through a symlink."""


@started("C-REQ-36")
def unknown_field_is_ignored() -> None:
    """A request may have a key that the contract does not know, such as `secrets`."""
    _put(request, "FIELDS", request.FIELDS | {"secrets"})


@instead(request, "open_reference", "C-REQ-43")
def hash_of_a_file_is_ignored(old: Any, reference: Any, pointer: str, roots: Any, refresh: Any) -> Any:
    """A file is taken whatever its hash is."""
    try:
        fd = os.open(roots.host(reference["$artifact"]), os.O_RDONLY)
    except OSError:
        return old(reference, pointer, roots, refresh)
    try:
        digest = artifacts._sha256_of(fd)
    except OSError:
        digest = reference["sha256"]
    finally:
        os.close(fd)
    return old({**reference, "sha256": digest}, pointer, roots, refresh)


# where no digest is needed, the rule that comes after it answers in its place, or a success that names no image
@instead(request.Rules, "_identity", "C-REQ-45", "C-REQ-46", "C-REQ-51", "C-ENV-01")
def runs_without_a_digest(_old: Any, _self: Any) -> None:
    """A run needs no `IMAGE_DIGEST`."""


@instead(request.Rules, "_check_secrets", "C-REQ-48")
def runs_without_secrets(_old: Any, _self: Any, _mode: str) -> None:
    """A `real` run begins without its required secret."""


@instead(run.Run, "__init__", "C-REQ-49")
def mock_gets_secrets(old: Any, self: Any, *arguments: Any, **named: Any) -> None:
    """A `mock` run is given the secrets."""
    old(self, *arguments, **named)
    self.secrets = named["secrets"]


@instead(request.Rules, "_mode", "C-REQ-53")
def refusal_tells_the_value(old: Any, self: Any, body: dict[str, Any]) -> Any:
    """The reason of a refusal repeats what was sent."""
    try:
        return old(self, body)
    except ModeInvalidError:
        raise ModeInvalidError(Detail(path="/mode", message=f"not {body.get('mode')}")) from None


@instead(recorder.Recorder, "refusal", "C-REQ-54", "C-QUEUE-07")  # what is busy is no run either
def refusal_makes_a_folder(old: Any, self: Any, error: Any, execution_id: str = "") -> Any:
    """What is refused leaves a directory."""
    if execution_id:
        artifacts_dir = os.environ.get("PROCESSOR_ARTIFACTS_DIR", "/artifacts")
        os.makedirs(f"{artifacts_dir}/outputs/{execution_id}", exist_ok=True)  # noqa: PTH103  # one quick call
    return old(self, error, execution_id)


# --- envelopes


@answered("C-RUN-06", "C-ENV-03", "C-ENV-04")  # this failure's, every code's, and every status's sentence
def failure_is_200(answer: Answer) -> None:
    """A handler's failure is an error envelope with status 200."""
    if answer.code == "ERR_RUNTIME":
        answer.status = 200


@answered("C-ENV-01", "C-ENV-02")  # the schema requires what identifies the image
def refusal_without_digest(answer: Answer) -> None:
    """The `meta` of a refusal has no `image_digest`."""
    if answer.code and "duration_ms" not in answer.document["meta"]:
        answer.document["meta"].pop("image_digest")


@answered("C-ENV-03")
def failure_is_retryable(answer: Answer) -> None:
    """`ERR_RUNTIME` says that it is retryable."""
    if answer.code == "ERR_RUNTIME":
        answer.document["error"]["retryable"] = True


@answered("C-ENV-05")
def refusal_has_durations(answer: Answer) -> None:
    """A request that never ran has a duration."""
    if answer.code and "duration_ms" not in answer.document["meta"]:
        answer.document["meta"].update(duration_ms=0, queued_ms=0)


@instead(service, "bare_meta", "C-ENV-07")
def fingerprint_is_not_sorted(old: Any, *arguments: Any, **named: Any) -> Any:
    """`env_fingerprint` begins with the memory."""
    meta = old(*arguments, **named)
    return {**meta, "env_fingerprint": ";".join(reversed(meta["env_fingerprint"].split(";")))}


class _NeverSorted(list[Any]):
    def sort(self, **_: object) -> None:
        """Leave everything where it is."""


@instead(workspace.Workspace, "__init__", "C-ENV-08")
def rows_as_they_came(old: Any, self: Any, *arguments: Any) -> None:
    """Output rows stand in the order in which they were written."""
    old(self, *arguments)
    self.rows = _NeverSorted()
    opened = self.open_output

    def and_another(path: str, mime: str | None) -> Any:
        file = opened(path, mime)
        commit = file.commit

        def then_one_more() -> None:
            commit()
            with opened("outputs/parts/late.txt", None):
                """Nothing is in it."""

        if path == "outputs/response.txt":
            file.commit = then_one_more
        return file

    self.open_output = and_another


@instead(service, "bare_meta", "C-ENV-11")
def always_pinned(old: Any, *arguments: Any, **named: Any) -> Any:
    """`pinned` is true without `IMAGE_PINNED`."""
    return old(*arguments, **{**named, "pinned": True})


@instead(executor, "_translated", "C-ENV-12", "C-ENV-13")  # a traceback ends in the exception's text
def traceback_in_the_details(old: Any, one: Any, exc: BaseException) -> Any:
    """The failure of a handler comes with its traceback."""
    failed = HandlerFailedError(Detail(path="", message=logs.formatted(exc)))
    return failed if isinstance(exc, ValueError) else old(one, exc)


@answered("C-ENV-13")
def exception_in_the_details(answer: Answer) -> None:
    """The failure of a handler names the exception."""
    if answer.code == "ERR_RUNTIME":
        answer.document["error"]["details"] = [{"path": "", "message": "ValueError: kit-exception-text"}]


# --- artifacts


@started("C-ART-01")
def hash_of_nothing() -> None:
    """The `sha256` of an output is not the file's."""
    _put(output_file.OutputFile, "sha256", property(lambda _self: hashlib.sha256().hexdigest()))


@instead(canonical, "sha256", "C-ART-04")
def hash_of_another_spelling(_old: Any, value: Any) -> str:
    """`inputs_sha256` is that of Python's spelling of the inputs."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


@instead(recorder.Recorder, "_envelope", "C-ART-05")
def context_in_the_result(old: Any, self: Any, one: Any) -> Any:
    """`context` is part of the envelope."""
    envelope = old(self, one)
    if "extra" in envelope["meta"]:
        envelope["meta"]["extra"] = {**envelope["meta"]["extra"], "context": one.request.context}
    return envelope


@instead(output_file.OutputFile, "commit", "C-ART-06")
def temporary_files_stay(old: Any, self: Any) -> None:
    """A temporary file is left beside each output."""
    directory = os.dup(self._directory)
    try:
        old(self)
        os.close(os.open(f"{self._temporary}~", os.O_CREAT | os.O_WRONLY, dir_fd=directory))
    finally:
        os.close(directory)


@instead(recorder.Recorder, "_record", "C-ART-07")
def index_of_a_failure(old: Any, self: Any, one: Any, *rest: Any) -> Any:
    """A run that failed has an index."""
    body = old(self, one, *rest)
    if one.error is not None:
        with contextlib.suppress(StorageError):  # where nothing can be written there is no index either
            one.workspace.write_file(workspace.INDEX, b'{"execution_id":"e1","outputs":[]}')
    return body


# four sentences look at the receipt of a failure: a deadline's, before a new attempt, after late writes, a cancel's
# (running or queued), and a drain's
@instead(
    workspace.Workspace,
    "write_file",
    "C-ART-07", "C-ART-11", "C-ART-12", "C-CANCEL-05", "C-CANCEL-06", "C-DRAIN-05",
)  # fmt: skip
def failure_without_receipt(old: Any, self: Any, name: str, data: bytes) -> None:
    """A run that failed leaves no receipt."""
    if name != workspace.RECEIPT or orjson.loads(data)["envelope"]["status"] == "success":
        old(self, name, data)


@instead(workspace.Workspace, "make", "C-ART-09")
def index_comes_first(old: Any, self: Any) -> None:
    """The index is written when a run starts."""
    old(self)
    self.write_file(workspace.INDEX, b'{"execution_id":"e1","outputs":[]}')


@instead(workspace.Workspace, "forget", "C-ART-07")
def failure_with_index(old: Any, self: Any) -> None:
    """A run that failed leaves an index."""
    old(self)
    self.write_file(workspace.INDEX, b'{"execution_id":"e1","outputs":[]}')


@instead(output_file.OutputFile, "__init__", "C-ART-09")
def half_written_outputs(old: Any, self: Any, directory: int, name: str, temporary: str, *rest: Any) -> None:
    """An output is written under its name from the start."""
    old(self, directory, name, temporary if name in {workspace.INDEX, workspace.RECEIPT} else name, *rest)


@started("C-ART-12")
def late_writes_succeed() -> None:
    """A handler that goes on after its deadline still writes its outputs."""
    _put(run.Run, "open_output", lambda self, path, *, mime=None: self._workspace.open_output(path, mime))
    _put(execution.Execution, "guarded", lambda _self, step: step())


def _declared_despite(kind: type[Exception], old: Any, self: Any, path: str) -> declaration.Output:
    try:
        found: declaration.Output = old(self, path)
    except kind:
        return self._outputs[0][0]  # type: ignore[no-any-return]  # a row of the registry
    return found


@instead(workspace.Workspace, "_declared", "C-ART-13")
def outputs_leave_their_folder(old: Any, self: Any, path: str) -> Any:
    """`outputs/../escaped.txt` is an output."""
    return _declared_despite(OutputPathError, old, self, path)


class _Forgetful(set[str]):
    def __contains__(self, _: object) -> bool:
        return False


@instead(workspace.Workspace, "__init__", "C-ART-14")
def outputs_are_overwritten(old: Any, self: Any, *arguments: Any) -> None:
    """An output may be written twice."""
    old(self, *arguments)
    self._taken = _Forgetful()


@instead(executor.Executor, "_missing", "C-ART-15")
def outputs_may_be_missing(_old: Any, _self: Any, _execution: Any) -> None:
    """A run that did not write what is declared succeeds."""


@instead(workspace.Workspace, "_declared", "C-ART-16")
def undeclared_outputs(old: Any, self: Any, path: str) -> Any:
    """An output needs no declaration."""
    return _declared_despite(OutputUndeclaredError, old, self, path)


# --- same id again, queue, cancel


@instead(recorder.Recorder, "same_run", "C-SAME-06")
def replay_across_modes(old: Any, self: Any, receipt: dict[str, Any], asked: Any) -> bool:
    """What `mock` has made is replayed for `real`."""
    return bool(old(self, {**receipt, "mode": asked.mode}, asked))


# one for each of what makes two requests the same: inputs, id, mode, image; and what a conflict leaves behind
@instead(recorder.Recorder, "same_run", "C-SAME-04", "C-SAME-05", "C-SAME-06", "C-SAME-14", "C-SAME-16")
def conflict_is_a_replay(*_: object) -> bool:
    """Whatever lies under a prefix is the answer."""
    return True


@answered("C-QUEUE-01", "C-QUEUE-08", "C-ENV-06")  # the default queue, a set one, and every such answer
def busy_without_retry_after(answer: Answer) -> None:
    """A 429 has no `Retry-After`."""
    if answer.status == 429:
        answer.headers.pop(b"retry-after", None)


class _Endless(collections.deque[Any]):
    def __len__(self) -> int:
        return 0

    def __bool__(self) -> bool:
        return next(iter(self), None) is not None


@instead(executor.Executor, "__init__", "C-QUEUE-01", "C-QUEUE-08")  # the default queue and a set one
def queue_without_end(old: Any, self: Any, *arguments: Any, **named: Any) -> None:
    """Any number of runs may wait."""
    old(self, *arguments, **named)
    self._waiting = _Endless()


@instead(service.Service, "cancel", "C-CANCEL-01", "C-CANCEL-02", "C-CANCEL-03")  # unknown, settled, just settled
def cancels_what_is_not_there(old: Any, self: Any, execution_id: str) -> bool:
    """Cancelling anything is 202."""
    old(self, execution_id)
    return True


@instead(service.Service, "cancel", "C-CANCEL-03", "C-CANCEL-05")  # a running one and a waiting one
def cancels_nothing(*_: object) -> bool:
    """Cancelling anything is 404."""
    return False


# --- streams


@answered("C-STREAM-07")
def refused_stream_is_another(answer: Answer) -> None:
    """What `/run-stream` refuses is not `application/json`."""
    if answer.path == "/run-stream":
        answer.headers[b"content-type"] = b"application/problem+json"


@told(
    "C-STREAM-02", "C-STREAM-04", "C-STREAM-05", "C-STREAM-08", "C-STREAM-09", "C-STREAM-10", "C-STREAM-11",
    "C-STREAM-12", "C-STREAM-17", "C-DRAIN-07",
)  # fmt: skip
def stream_without_done(event: Event) -> list[Event]:
    """A stream just ends."""
    return [] if event[1] == "done" else [event]


@told("C-STREAM-02", "C-STREAM-11", "C-STREAM-12")  # "done alone" is said of replays and joined streams too
def two_dones(event: Event) -> list[Event]:
    """A stream says `done` twice."""
    number, name, data = event
    return [event, (str(int(number) + 1), name, data)] if name == "done" else [event]


@told("C-STREAM-03", "C-STREAM-13")  # a stream that is asked to resume begins at id 1 too
def ids_from_zero(event: Event) -> list[Event]:
    """The first event has id 0."""
    number, name, data = event
    return [(str(int(number) - 1), name, data)]


@told("C-STREAM-03", "C-STREAM-18")  # the schema requires what tells whose event it is
def event_of_nobody(event: Event) -> list[Event]:
    """An `output` event does not say of which execution."""
    number, name, data = event
    kept = {key: value for key, value in data.items() if name != "output" or key != "execution_id"}
    return [(number, name, kept)]


@told("C-STREAM-06", "C-STREAM-18")  # the schema bounds it
def progress_in_percent(event: Event) -> list[Event]:
    """A `progress` event's fraction goes to 100."""
    number, name, data = event
    if name == "progress" and data["fraction"]:
        data = {**data, "fraction": data["fraction"] * 100}
    return [(number, name, data)]


@instead(execution.Execution, "emit", "C-STREAM-05", "C-STREAM-17")  # for one reader and for a slow one
def outputs_are_not_told(old: Any, self: Any, name: str, data: dict[str, Any]) -> None:
    """A stream has no `output` events."""
    if name != "output":
        old(self, name, data)


@instead(executor.Executor, "_reader_left", "C-STREAM-14")
def runs_for_nobody(*_: object) -> None:
    """A run goes on although the last reader of its stream has gone."""


@started("C-STREAM-01")
def stream_may_be_buffered() -> None:
    """A stream has no `X-Accel-Buffering: no`."""
    _put(app, "_STREAM_HEADERS", {"cache-control": "no-cache", "x-accel-buffering": "yes"})


# --- streams of the process, and secrets


@started("C-LOG-01", "C-LOG-06", "C-LOG-07")  # all three look for an empty stdout: after runs, noise, broken requests
def lines_on_stdout() -> None:
    """Log lines go to stdout too."""
    stdout, write = os.dup(1), logs._Sink.write

    def both(self: Any, line: bytes) -> None:
        write(self, line)
        os.write(stdout, line)

    _put(logs._Sink, "write", both)


@started("C-LOG-02", "C-LOG-06", "C-LOG-07")  # all three read stderr: all of it, beside noise, beside broken requests
def text_on_stderr() -> None:
    """A line on stderr is text."""
    os.write(2, b"INFO: the service starts\n")


@instead(logs, "_stray", "C-LOG-06")
def stray_output_is_lost(*_: object) -> None:
    """What a library prints is dropped."""


@instead(logs.Logger, "event", "C-LOG-05")
def refusal_without_a_reason(old: Any, self: Any, event: str, **fields: Any) -> None:
    """The line of a refused request does not say why."""
    if event == "http.run.error":
        fields.pop("reason")
    old(self, event, **fields)


@instead(http_input, "trace_id", "C-LOG-08")
def any_trace_is_believed(_old: Any, scope: Message) -> str | None:
    """An invalid `traceparent` is taken."""
    given = [value.decode("latin-1") for name, value in scope["headers"] if name == b"traceparent"]
    return given[0].split("-", 2)[1] if given and "-" in given[0] else None


@started("C-LOG-06")
def descriptors_are_mixed_up() -> None:
    """What a library prints on descriptor 1 is told as if it came from 2."""
    emit = capture._Catcher._line

    def as_two(self: Any, line: bytes) -> None:
        self._fd = 2
        emit(self, line)

    _put(capture._Catcher, "_line", as_two)


@instead(service, "Mask", "C-MASK-01", "C-MASK-02", "C-MASK-04")  # the token, the secrets, and what a handler tells
def secrets_are_told(old: Any, _values: object) -> Any:
    """Nothing is masked."""
    return old(())


@started("C-MASK-03")
def paths_are_masked() -> None:
    """`path`, `sha256` and `execution_id` are masked like everything else."""
    _put(masking, "_KEPT_KEYS", frozenset())


BY_NAME: Final = {fault.name: fault for fault in FAULTS}


def page() -> str:
    """Return the table of faults, as Markdown."""
    lines = [
        "# Planted faults",
        "",
        "Generated from `tests/contract/planted/faults.py` by `make generate`. Each row is a service that is broken in",
        "one way; the tests hold that the conformance kit finds exactly the checks of its row failing.",
        "",
        "| fault | what the service does | checks that fail |",
        "| --- | --- | --- |",
    ]
    lines += [f"| {fault.name} | {fault.says} | {', '.join(sorted(fault.breaks))} |" for fault in FAULTS]
    return "\n".join(lines) + "\n"

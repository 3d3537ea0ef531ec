"""The service under judgement, as a check sees it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from .examples import Example
from .launch import Started
from .outcome import FailedError, NotApplicableError, NotCheckedError, brief
from .sse import Told
from .wire import ANSWER_S, LARGEST, Answer, Ask, Exchange, Headers, Wire, WireError

if TYPE_CHECKING:
    from .session import Facts, Session

ABSENT: Final = object()
PREFIX: Final = "/artifacts/outputs/{execution_id}/"
RUN_S: Final = 30.0
_JSON: Final = ("Content-Type", "application/json")
_UNREAD: Final = 16 * 1024

Request = dict[str, Any]
Env = Mapping[str, str | None]
NOTHING: Final[Env] = MappingProxyType({})


@dataclass(frozen=True)
class Streamed:
    """A whole answer of `/run-stream`: as it came, and what it told."""

    answer: Answer
    told: Told


class Service:
    """One running service, and everything that a check may do with it.

    Attributes:
        facts: What the kit learned of this image.
        artifacts: The folder that stands for `/artifacts`, where the kit has it.
        started: The process, where the kit started it.
        dirty: Whether a handler may still be at work although its run has settled.
    """

    def __init__(
        self, session: Session, url: str, *, token: str = "", artifacts: Path | None, started: Started | None = None
    ) -> None:
        self._session = session
        self._wire = Wire(url)
        self._token = token
        self.artifacts = artifacts
        self.started = started
        self.dirty = False

    @property
    def facts(self) -> Facts:
        """What the kit learned of this image."""
        return self._session.facts

    @property
    def process(self) -> Started:
        """The process.

        Raises:
            NotCheckedError: the kit did not start it.
        """
        if self.started is None:
            raise NotCheckedError("--start or --image")
        return self.started

    @property
    def can_start(self) -> bool:
        """Whether the kit may start others like it."""
        return self._session.can_start

    async def on_time_s(self, name: str) -> float:
        """Return within how many seconds an answer comes that does not wait for the handler of an example.

        Raises:
            NotCheckedError: the example does not take as long as its name says.
        """
        return 0.8 * await self._session.takes_s(name)

    @property
    def in_container(self) -> bool:
        """Whether the services that the kit starts have a file system of their own."""
        launcher = self._session.options.launcher
        return launcher is not None and bool(launcher.image)

    @property
    def image(self) -> str:
        """The image reference under judgement.

        Raises:
            NotCheckedError: it is none.
        """
        launcher = self._session.options.launcher
        if launcher is None or not launcher.image:
            raise NotCheckedError("--image")
        return launcher.image

    def invented(self, name: str) -> str:
        """Return a value for a secret or token, the same one for each name; it stays out of every report."""
        return self._session.invented(name)

    @property
    def concurrency(self) -> int:
        """How many runs go on at once.

        Raises:
            NotCheckedError: the service does not say.
        """
        if self.facts.contract is None:
            raise NotCheckedError("the capability `contract`, which says how many slots there are")
        return self.facts.concurrency

    @property
    def made_inputs(self) -> list[dict[str, Any]]:
        """Inputs that are valid by the announced schema, made by hypothesis, short ones first.

        Raises:
            NotCheckedError: there is no schema, or none that the kit can make inputs from.
        """
        if not self._session.made_inputs:
            raise NotCheckedError("a schema of `inputs` at /contract that the kit can make inputs from")
        return self._session.made_inputs

    @property
    def seen(self) -> list[tuple[str, Answer]]:
        """Every answer of this judgement so far, with the address that it came from."""
        return self._session.seen

    @property
    def told(self) -> list[tuple[str, Told]]:
        """Every stream of this judgement so far, with what was sent for it."""
        return self._session.told

    @property
    def processes(self) -> list[Started]:
        """Every process that the kit has started and not ended yet."""
        return self._session.running

    def example(self, name: str) -> Example:
        """Return an example.

        Raises:
            NotCheckedError: there is no such example.
        """
        if name not in self._session.examples:
            raise NotCheckedError(f'an example "{name}"')
        return self._session.examples[name]

    def secret_values(self) -> dict[str, str]:
        """Return a value of the kit's own for every secret that the service declares.

        Raises:
            NotApplicableError: it declares none.
        """
        names = [*self.facts.secrets("required"), *self.facts.secrets("optional")]
        if not names:
            raise NotApplicableError("the service declares no secret")
        return {name: self._session.invented(name) for name in names}

    # --- requests

    def new_id(self) -> str:
        """Return an execution id that was never used."""
        return self._session.new_id()

    def request(self, name: str = "valid", **changes: Any) -> Request:
        """Return a request with the inputs of an example, a new id, and *changes*; `ABSENT` removes a key.

        Raises:
            NotCheckedError: there is no such example.
        """
        return self._request(self.example(name), changes)

    def probe(self, **changes: Any) -> Request:
        """Return a request that is refused in any case, because `ref` is another one's; its inputs may be any."""
        example = self._session.examples.get("valid") or Example({"schema": "v1", "params": {}})
        if example.attaches and self.artifacts is None:
            example = Example({"schema": "v1", "params": {}})
        return self._request(example, {"ref": "kit/none@999", **changes})

    def _request(self, example: Example, changes: dict[str, Any]) -> Request:
        if example.attaches and self.artifacts is None:
            raise NotCheckedError("--artifacts, because the example attaches a file")
        request = {
            "schema": "v1",
            "execution_id": self.new_id(),
            "write_prefix": PREFIX,
            "mode": example.mode,
            "inputs": example.placed(self.artifacts),
        }
        request.update(changes)
        return {key: value for key, value in request.items() if value is not ABSENT}

    async def send(
        self,
        method: str,
        path: str,
        body: bytes | Request | None = None,
        *,
        headers: Headers | None = None,
        extra: Headers = (),
        token: str | None = None,
        chunked: bool = False,
        note: str = "",
        within_s: float = ANSWER_S,
    ) -> Answer:
        """Return the answer to one request, and remember it for the checks of phase `LAST`.

        Args:
            method: Any token.
            path: Sent as it is.
            body: Bytes as they are, or an object as JSON.
            headers: Instead of the media type.
            extra: Beside the media type.
            token: Instead of the service's; ``""`` for none.
            chunked: Whether to send the body in pieces of unannounced length.
            note: What a report says of the request beside method and path; by default the body.
            within_s: After that, it counts as not answered.

        Raises:
            WireError: no answer came.
        """
        raw, described = _encoded(body)
        sent = self._session.redact(f"{method} {brief(path, 120)} {note or described}".strip())
        ask = Ask(method, path, self._headers(raw, headers, extra, token), raw, chunked, sent)
        try:
            answer = await self._wire.send(ask, within_s=self._session.patience_s(within_s))
        except WireError as exc:
            self._session.late += exc.late
            raise
        self._session.record(self._wire.url, answer)
        return answer

    async def run(self, request: bytes | Request, *, within_s: float = RUN_S, **options: Any) -> Answer:
        """Return the answer of `POST /run`. Options and errors as `send`'s."""
        answer = await self.send("POST", "/run", request, within_s=within_s, **options)
        self.dirty = self.dirty or answer.code in {"ERR_TIMEOUT", "ERR_CANCELLED"}
        return answer

    async def success(self, name: str = "valid", **changes: Any) -> tuple[Request, Answer]:
        """Return a request and the success that it had.

        Raises:
            FailedError: it had none.
        """
        request = self.request(name, **changes)
        answer = await self.run(request)
        answer.expect_success()
        return request, answer

    async def talk(self, data: bytes, *, note: str, within_s: float = ANSWER_S) -> bytes:
        """Return all that comes back for *data*, broken as they may be, until the connection closes."""
        return await self._wire.talk(data, sent=note, within_s=within_s)

    # --- streams

    @contextlib.asynccontextmanager
    async def open_stream(
        self, request: Request, *, extra: Headers = (), within_s: float = RUN_S, unread: bool = False
    ) -> AsyncIterator[Exchange]:
        """Give a stream that goes on; leaving closes it. *unread* makes this side's buffer small."""
        raw, described = _encoded(request)
        sent = self._session.redact(f"POST /run-stream {described}")
        ask = Ask("POST", "/run-stream", self._headers(raw, None, extra, None), raw, sent=sent)
        async with self._wire.open(ask, within_s=within_s, buffer=_UNREAD if unread else LARGEST) as exchange:
            yield exchange

    async def stream(self, request: Request, *, extra: Headers = (), within_s: float = RUN_S) -> Streamed:
        """Return a whole stream.

        Raises:
            FailedError: it is none: refused, or of another media type.
            WireError: it has no end.
        """
        told, pieces = Told(), []
        async with self.open_stream(request, extra=extra, within_s=within_s) as exchange:
            async for chunk in exchange.chunks():
                told.feed(chunk)
                pieces.append(chunk)
        body = b"".join(pieces)
        answer = Answer(exchange.sent, "POST", "/run-stream", exchange.status, exchange.headers, body, 0.0)
        self._session.record(self._wire.url, answer)
        if answer.status != 200 or answer.media_type != "text/event-stream":  # noqa: PLR2004
            raise FailedError(sent=answer.sent, expected="200 and text/event-stream", seen=answer.in_short)
        self._session.told.append((answer.sent, told))
        return Streamed(answer, told)

    def _headers(self, raw: bytes | None, headers: Headers | None, extra: Headers, token: str | None) -> Headers:
        sent = list(headers) if headers is not None else ([_JSON] if raw is not None else [])
        token = self._token if token is None else token
        return [*sent, *extra, *([("Authorization", f"Bearer {token}")] if token else [])]

    # --- artifacts

    def host(self, logical: str) -> Path:
        """Return where a path under `/artifacts` lies on this machine.

        Raises:
            NotCheckedError: the kit does not have the folder.
        """
        if self.artifacts is None:
            raise NotCheckedError("--artifacts")
        if not logical.startswith("/artifacts/"):
            raise FailedError(sent="a request", expected="a path under /artifacts/", seen=logical)
        return self.artifacts / logical.removeprefix("/artifacts/")

    def folder(self, request: Request) -> Path:
        """Return where the expanded prefix of *request* lies on this machine."""
        prefix: str = request["write_prefix"].replace("{execution_id}", request["execution_id"])
        return self.host(prefix.rstrip("/") + "/")

    def read_json(self, request: Request, name: str) -> dict[str, Any]:
        """Return a JSON file in the prefix of *request*.

        Raises:
            FailedError: there is none.
        """
        path = self.folder(request) / name
        try:
            document = json.loads(path.read_bytes())
        except FileNotFoundError:
            raise FailedError(sent=_describe(request), expected=f"{name} in the prefix", seen="no such file") from None
        except ValueError as exc:
            raise FailedError(sent=_describe(request), expected=f"{name} to be JSON", seen=str(exc)) from exc
        if not isinstance(document, dict):
            raise FailedError(sent=_describe(request), expected=f"{name} to be an object", seen=brief(document))
        return document

    # --- others like it

    @contextlib.asynccontextmanager
    async def guarded(self) -> AsyncIterator[tuple[Service, str]]:
        """Give a service that wants a token, and the token."""
        if self._token:
            yield self, self._token
        else:
            token = self._session.invented("token")
            async with self.another({"PROCESSOR_TOKEN": token}) as other:
                yield other, token

    @contextlib.asynccontextmanager
    async def another(self, env: Env = NOTHING) -> AsyncIterator[Service]:
        """Give a ready service of the same image with another environment, which other checks may use, too.

        Args:
            env: Variables to set; ``None`` leaves one unset. It serves mock alone, unless this says otherwise.

        Raises:
            NotCheckedError: the kit cannot start one.
            FailedError: it does not start.
        """
        yield await self._session.shared({"PROCESSOR_MODE": "mock", **env})

    @contextlib.asynccontextmanager
    async def fresh(self, env: Env = NOTHING, *, until: str = "ready") -> AsyncIterator[Service]:
        """Give a service of one's own, that ends with the context: for signals, streams, faults.

        Args:
            env: As `another`'s.
            until: Wait until it is ``ready``, or only ``listening``, or for ``nothing``.

        Raises:
            NotCheckedError: the kit cannot start one.
            FailedError: it does not start.
        """
        async with self._session.fresh({"PROCESSOR_MODE": "mock", **env}, until=until) as service:
            yield service


def _encoded(body: bytes | Request | None) -> tuple[bytes | None, str]:
    if body is None:
        return None, ""
    if isinstance(body, bytes):
        return body, brief(body[:300].decode(errors="backslashreplace"), 300)
    return json.dumps(body, ensure_ascii=False).encode("utf-8", "surrogatepass"), _describe(body)


def _describe(request: Request) -> str:
    return brief(json.dumps(request, ensure_ascii=True), 300)

"""Many who call one service at the same time, and the gates behind which its fixture's handlers wait for them.

with Callers(service) as callers:
    gate = callers.gate()
    answer = callers.run(callers.payload(callers.held(gate)))
    service.wait_for_mark(f"{gate}.began")
    ...
    service.allow(gate)
    assert answer.result().status_code == 200
"""

from __future__ import annotations

import itertools
import json
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from http.client import HTTPResponse
from select import select
from typing import Any, Final, Self, TypeVar

import httpx2

from tests.support.service import WAIT_S, JsonObject, Service, wait_until
from tests.support.sse import Event, Stream

Step = list[Any]
Answer = Future[httpx2.Response]
T = TypeVar("T")

HELLO: Final[Step] = ["write", "outputs/text.txt", "hello"]
_TIMES: Final = 100  # at asking before somebody who only wants to know does
_gates = itertools.count(1)


class Callers:
    """Those who call *service*, each in a thread of its own; after the `with` gates are open and all have an answer."""

    def __init__(self, service: Service, *, at_once: int = 64) -> None:
        self.service = service
        self._threads = ThreadPoolExecutor(at_once)
        self._gates: list[str] = []
        self._http = httpx2.Client(
            base_url=f"http://127.0.0.1:{service.port}",
            timeout=WAIT_S,
            trust_env=False,
            limits=httpx2.Limits(max_connections=None, max_keepalive_connections=at_once),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for gate in self._gates:
            self.service.allow(gate)
        self._threads.shutdown()
        self._http.close()

    # --- what they ask for -------------------------------------------------------------------------------------------

    def gate(self) -> str:
        """Return the name of a gate that no other test uses: steps wait at it until `service.allow(name)`."""
        name = f"gate-{next(_gates)}"
        self._gates.append(name)
        return name

    def held(self, gate: str) -> Step:
        """Return the step that waits at *gate* and can be stopped there, whichever kind of handler takes it."""
        is_async = self.service.environ.get("FIXTURE_KIND") == "async"
        return ["await_until" if is_async else "check_until", gate]

    def payload(self, *do: Step, **changes: object) -> JsonObject:
        """Return a request for these steps and a text, with *changes* made."""
        return self.exactly(*do, HELLO, **changes)

    def exactly(self, *do: Step, **changes: object) -> JsonObject:
        """Return a request for these steps alone, with *changes* made."""
        return self.service.payload(inputs={"schema": "v1", "params": {"do": list(do)}}, **changes)

    # --- how they ask ------------------------------------------------------------------------------------------------

    def run(self, payload: JsonObject, headers: Mapping[str, str] | None = None) -> Answer:
        """Send *payload* to `/run`, and return at once."""
        return self._threads.submit(self._http.post, "/run", json=payload, headers=headers)

    def stream(self, payload: JsonObject) -> Future[list[Event]]:
        """Send *payload* to `/run-stream`, and return at once; the events are checked."""

        def read() -> list[Event]:
            with self._http.stream("POST", "/run-stream", json=payload) as response:
                if response.status_code != httpx2.codes.OK:
                    response.read()
                return Stream(response).checked(payload["execution_id"])

        return self._threads.submit(read)

    def each(self, ask: Callable[[JsonObject], T], payloads: Iterable[JsonObject]) -> list[T]:
        """Return what *ask* returns for each of *payloads*, all asked for at the same time."""
        return list(self._threads.map(ask, payloads))

    def running(self, gate: str, payload: JsonObject) -> Answer:
        """Send *payload* to `/run`, and return once its handler waits at *gate*."""
        answer = self.run(payload)
        wait_until(
            lambda: answer.done() or self.service.marked(f"{gate}.began"), lambda: f"a handler at {gate} of {payload}"
        )
        assert self.service.marked(f"{gate}.began"), answer.result().text
        return answer

    def waiting(self, payload: JsonObject) -> Answer:
        """Send *payload* to `/run` of a service whose slots are taken, and return once it is in flight or answered."""

        def sent_once() -> Answer:
            answer = self.run(payload)
            wait_until(lambda: answer.done() or self.is_in_flight(payload), lambda: f"{payload} to be in flight")
            return answer

        for _ in range(_TIMES):
            answer = sent_once()
            if not answer.done() or answer.result().status_code != httpx2.codes.CONFLICT:
                return answer
            # the probe came first, and this was refused for it
        raise AssertionError(f"never in flight: {payload}")

    def fill(self, places: int, *do: Step) -> list[tuple[JsonObject, Answer]]:
        """Fill the *places* of the queue, and return who waits there, once one request too many was refused at once.

        Only for a service whose slots are taken.
        """
        asked = [(payload, self.run(payload)) for payload in (self.payload(*do) for _ in range(places + 1))]
        wait_until(lambda: any(answer.done() for _, answer in asked), lambda: f"{places} places to be taken")
        waiting = [(payload, answer) for payload, answer in asked if not answer.done()]
        assert len(waiting) == places, [answer.result().text for _, answer in asked if answer.done()]
        return waiting

    def is_in_flight(self, payload: JsonObject) -> bool:
        """Whether *payload* is queued or running: another run of its id is refused then, or else soon tired of waiting.

        Only for a service whose slots are taken and that has a waiting place left.
        """
        probe = payload | {"write_prefix": "/artifacts/probes/{execution_id}/", "timeout_s": 0.02}
        status = self._http.post("/run", json=probe).status_code
        assert status in {409, 429}
        return status == 409

    @contextmanager
    def waiting_on_a_connection(self, path: str, payload: JsonObject) -> Iterator[socket.socket]:
        """Post *payload* on a connection of its own, and yield that once it is in flight; it is closed at the end."""
        for _ in range(_TIMES):
            with sent(self.service, path, payload) as connection:
                while select([connection], [], [], 0) == ([], [], []):
                    if self.is_in_flight(payload):
                        yield connection
                        return
                # answered already: the probe came first, and this was refused for it
        raise AssertionError(f"never in flight: {payload}")

    def cancel(self, execution_id: str) -> httpx2.Response:
        """Return the answer to asking for the end of *execution_id*."""
        return self._http.delete(f"/run/{execution_id}")


@contextmanager
def joined(service: Service, payload: JsonObject, times: int = 1) -> Iterator[list[socket.socket]]:
    """Send *payload*, which is in flight, to `/run` on connections of their own, and yield those once they joined."""
    with ExitStack() as connections:
        waiting = [connections.enter_context(sent(service, "/run", payload)) for _ in range(times)]
        come_and_go(service, payload)
        yield waiting


def come_and_go(service: Service, payload: JsonObject) -> None:
    """Join *payload* and leave it, several times: what was sent before that has reached the service by then."""
    for _ in range(5):
        with Stream.opened(service, payload) as stream:
            assert stream.response.status_code == httpx2.codes.OK


@contextmanager
def sent(service: Service, path: str, payload: object, *, receive_buffer: int | None = None) -> Iterator[socket.socket]:
    """Post *payload* on a connection of its own and yield that, nothing of the answer read; it is closed at the end."""
    body = json.dumps(payload).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    with socket.socket() as connection:
        connection.settimeout(WAIT_S)
        if receive_buffer is not None:  # before connecting: it decides how much the other side may send
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        connection.connect(("127.0.0.1", service.port))
        connection.sendall(head.encode() + body)
        yield connection


def answer_on(connection: socket.socket) -> tuple[HTTPResponse, bytes]:
    """Return the response on *connection*, once it is complete, and its body."""
    response = HTTPResponse(connection, method="POST")
    response.begin()
    return response, response.read()


def replayed_on(connection: socket.socket) -> bytes:
    """Return the body that comes on *connection*; fails unless it is said to be another request's answer."""
    response, body = answer_on(connection)
    assert response.headers["idempotent-replayed"] == "true"
    return body


def same(first: httpx2.Response, *others: httpx2.Response) -> bool:
    """Whether the envelopes of these answers are equal, byte by byte."""
    return all(other.content == first.content for other in others)


def is_replayed(response: httpx2.Response) -> bool:
    """Whether *response* says that it answers with another request's run."""
    said = response.headers.get("idempotent-replayed")
    assert said in {None, "true"}
    return said == "true"

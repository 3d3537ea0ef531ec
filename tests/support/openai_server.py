"""A small server that speaks the OpenAI chat-completions protocol, streaming or not, and fails on demand.

In a test:

    with OpenAIServer() as server:
        server.play(reply_status(503), reply_answer("Hello"))  # one reply a request; then it echoes again
        ...  # OPENAI_BASE_URL=server.base_url, OPENAI_API_KEY=server.key
        assert len(server.requests) == 2

By hand, from the repository's root; `--play` names one of `FAULTS` for the next request, and may be repeated:

    python -m tests.support.openai_server --port 8080 --play 503
"""

from __future__ import annotations

import argparse
import json
import socket
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum, auto
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, Self

from typing_extensions import override

KEY: Final = "sk-local-4f1d2c9b7a6e"
EVENT_STREAM: Final = "text/event-stream; charset=utf-8"
JSON: Final = "application/json"


class Ending(Enum):
    """What follows the last byte of a reply."""

    END = auto()  # the reply is whole
    CUT = auto()  # a clean end of the connection, though more was due: an old proxy that gives up
    DROP = auto()  # the connection breaks
    HANG = auto()  # silence, until the client goes away


class Hold(Enum):
    """Stands between two chunks of a reply: the second leaves after `OpenAIServer.release`."""

    HOLD = auto()


@dataclass(frozen=True, slots=True)
class Request:
    """One request as it arrived; header names in lower case."""

    path: str
    headers: Mapping[str, str]
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Reply:
    """What goes back: *chunks* are sent one by one. *status* 0 sends nothing at all before the *ending*."""

    status: int = 200
    content_type: str = EVENT_STREAM
    headers: Mapping[str, str] = field(default_factory=dict)
    chunks: tuple[bytes | Hold, ...] = ()
    ending: Ending = Ending.END


Playable = Reply | Callable[[Request], Reply]


# --- replies ---------------------------------------------------------------------------------------------------------


def reply_answer(
    text: str | None = None,
    *,
    finish_reason: str | None = "stop",
    usage: bool = True,
    model: str | None = None,
    after: int | None = None,
    ending: Ending = Ending.END,
    hold_after: int | None = None,
) -> Callable[[Request], Reply]:
    """Return a reply that answers *text*, or echoes the last message, in the form that the request asks for.

    Args:
        text: the answer, streamed word by word.
        finish_reason: the last choice's; ``None`` leaves it out.
        usage: whether the server counts tokens (by words).
        model: what it says it ran; the requested one by default.
        after: how many words come before *ending*; all of them, and the end of the protocol, by default.
        ending: what happens then.
        hold_after: how many words come before the server holds back the rest.
    """

    def reply(request: Request) -> Reply:
        said = text if text is not None else f"You said: {request.body['messages'][-1]['content']}"
        name = model or str(request.body["model"])
        counts = _usage(request, said) if usage else None
        if not request.body.get("stream"):
            return Reply(content_type=JSON, chunks=(_completion(said, name, finish_reason, counts),), ending=ending)
        if not (request.body.get("stream_options") or {}).get("include_usage"):
            counts = None
        deltas = [word if index == 0 else f" {word}" for index, word in enumerate(said.split(" "))] if said else []
        chunks: list[bytes | Hold] = [_chunk(name, {"role": "assistant", "content": ""})]
        chunks += [_chunk(name, {"content": delta}) for delta in deltas[:after]]
        if after is None:
            chunks += [_chunk(name, {}, finish_reason)] if finish_reason else []
            chunks += [event({**_CHUNK, "model": name, "choices": [], "usage": counts})] if counts else []
            chunks += [b"data: [DONE]\n\n"]
        if hold_after is not None:
            chunks.insert(1 + hold_after, Hold.HOLD)
        return Reply(chunks=tuple(chunks), ending=ending)

    return reply


def reply_status(status: int, *, code: str = "planted", headers: Mapping[str, str] | None = None) -> Reply:
    """Return a refusal. Like the real one's, its body quotes the key: nobody may repeat it."""
    error = {"message": f"Planted {status} for key {KEY}", "type": "planted_error", "param": None, "code": code}
    return Reply(status, JSON, headers or {}, (json.dumps({"error": error}).encode(),))


def event(data: object) -> bytes:
    """Return one server-sent event that carries *data* as JSON."""
    return b"data: " + json.dumps(data).encode() + b"\n\n"


def events(*data: object) -> Reply:
    """Return a stream of exactly these events and the protocol's end."""
    return Reply(chunks=(*(event(each) for each in data), b"data: [DONE]\n\n"))


FAULTS: Final[Mapping[str, Playable]] = {
    "400": reply_status(400),
    "401": reply_status(401, code="invalid_api_key"),
    "403": reply_status(403),
    "404": reply_status(404, code="model_not_found"),
    "408": reply_status(408),
    "409": reply_status(409),
    "413": reply_status(413),
    "422": reply_status(422),
    "429": reply_status(429, code="rate_limit_exceeded", headers={"Retry-After": "0.01"}),
    "429-long": reply_status(429, code="rate_limit_exceeded", headers={"Retry-After": "100"}),
    "429-quota": reply_status(429, code="insufficient_quota", headers={"Retry-After": "0.01"}),
    "500": reply_status(500, headers={"retry-after-ms": "10"}),
    "503": reply_status(503, headers={"retry-after-ms": "10"}),
    "hang": Reply(status=0, ending=Ending.HANG),
    "drop": Reply(status=0, ending=Ending.DROP),
    "hang-mid": reply_answer("one two three four", after=2, ending=Ending.HANG),
    "drop-mid": reply_answer("one two three four", after=2, ending=Ending.DROP),
    "cut-mid": reply_answer("one two three four", after=2, ending=Ending.CUT),
    "error-mid": Reply(chunks=(event({"error": {"message": f"planted for {KEY}", "type": "planted"}}),)),
    "malformed": Reply(chunks=(b'data: {"choices": [\n\n',)),
    "malformed-utf8": Reply(chunks=(b"data: \xff\xfe\n\n",)),
    "html": Reply(content_type="text/html", chunks=(b"<html><body>Sign in, please</body></html>",)),
    "empty-stream": Reply(),
    "empty": reply_answer(""),
    "length": reply_answer("cut in the middle of a", finish_reason="length"),
    "length-empty": reply_answer("", finish_reason="length"),
    "content-filter": reply_answer("I", finish_reason="content_filter"),
    "tool-calls": reply_answer("", finish_reason="tool_calls"),
    "no-finish": reply_answer("one two", finish_reason=None),
    "no-usage": reply_answer(usage=False),
}

_CHUNK: Final[Mapping[str, Any]] = {"id": "chatcmpl-local", "object": "chat.completion.chunk", "created": 1_750_000_000}


def _chunk(model: str, delta: Mapping[str, str], finish_reason: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
    return event({**_CHUNK, "model": model, "choices": [choice], "usage": None})


def _completion(text: str, model: str, finish_reason: str | None, usage: Mapping[str, int] | None) -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish_reason}
    body = {**_CHUNK, "object": "chat.completion", "model": model, "choices": [choice], "usage": usage}
    return json.dumps(body).encode()


def _usage(request: Request, text: str) -> dict[str, int]:
    prompt = sum(len(message["content"].split()) for message in request.body["messages"])
    completion = len(text.split())
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


# --- the server ------------------------------------------------------------------------------------------------------


class OpenAIServer:
    """The server on a free port of this machine, for as long as the `with` lasts."""

    key = KEY

    def __init__(self, port: int = 0) -> None:
        self.requests: list[Request] = []
        self._script: deque[Playable] = deque()
        self._changed = threading.Condition()
        self._gone = 0
        self._released = threading.Event()
        self._http = _Http(self, port)
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True)

    @property
    def base_url(self) -> str:
        """What OPENAI_BASE_URL has to be."""
        return f"http://127.0.0.1:{self._http.server_address[1]}/v1"

    def play(self, *replies: Playable | str) -> None:
        """Answer the next requests by *replies*, one each: replies, or names out of `FAULTS`."""
        self._script.extend(FAULTS[reply] if isinstance(reply, str) else reply for reply in replies)

    def forget(self) -> None:
        """Be as if nothing had been asked or planned yet."""
        with self._changed:
            self.requests.clear()
            self._script.clear()
            self._gone = 0
            self._released = threading.Event()

    def release(self) -> None:
        """Let go on what is held back now, and hold nothing back until `forget`."""
        self._released.set()

    def held_back(self) -> None:
        """Return when `release` was called."""
        self._released.wait()

    def wait_for_requests(self, count: int, *, timeout_s: float = 20) -> None:
        """Return once *count* requests have arrived; fails after *timeout_s*."""
        self._wait(lambda: len(self.requests) >= count, f"{count} requests", timeout_s)

    def wait_for_clients_gone(self, count: int, *, timeout_s: float = 20) -> None:
        """Return once *count* clients have left before their reply was whole; fails after *timeout_s*."""
        self._wait(lambda: self._gone >= count, f"{count} clients to go", timeout_s)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
        self._http.shutdown()
        self._http.close_connections()
        self._http.server_close()
        self._thread.join()

    def answer(self, request: Request) -> Reply:
        """Return the reply that is due for *request*, and remember the request."""
        with self._changed:
            self.requests.append(request)
            self._changed.notify_all()
        if request.path != "/v1/chat/completions":
            return reply_status(404)
        if request.headers.get("authorization") != f"Bearer {KEY}":
            return reply_status(401, code="invalid_api_key")
        due = self._script.popleft() if self._script else reply_answer()
        return due if isinstance(due, Reply) else due(request)

    def client_gone(self) -> None:
        """Count one client that left before its reply was whole."""
        with self._changed:
            self._gone += 1
            self._changed.notify_all()

    def _wait(self, condition: Callable[[], bool], what: str, timeout_s: float) -> None:
        with self._changed:
            if not self._changed.wait_for(condition, timeout_s):
                raise TimeoutError(f"waited {timeout_s} s for {what}; saw {len(self.requests)} requests")


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, owner: OpenAIServer, port: int) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.owner = owner
        self._open: set[socket.socket] = set()

    @override
    def process_request_thread(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._open.discard(request)

    @override
    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), OSError):  # a client that goes away is part of the play
            super().handle_error(request, client_address)

    def close_connections(self) -> None:
        for connection in list(self._open):
            _break(connection)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Http

    def do_POST(self) -> None:
        owner = self.server.owner
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))))
        headers = {name.lower(): value for name, value in self.headers.items()}
        reply = owner.answer(Request(self.path, headers, body))
        try:
            if reply.status:
                self._send(reply)
            if reply.ending is Ending.HANG:
                _wait_until_gone(self.rfile.read1)
                owner.client_gone()
        except OSError:  # gone while it was still being answered
            self.close_connection = True
            owner.client_gone()
            return
        if reply.ending is not Ending.END:
            self.close_connection = True
        if reply.ending is Ending.DROP:
            _break(self.connection)

    def _send(self, reply: Reply) -> None:
        chunked = reply.ending is not Ending.CUT  # without chunks or a length, the end of the connection is the end
        self.send_response(reply.status)
        self.send_header("Content-Type", reply.content_type)
        self.send_header(*(("Transfer-Encoding", "chunked") if chunked else ("Connection", "close")))
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.end_headers()
        for chunk in reply.chunks:
            if isinstance(chunk, Hold):
                self.server.owner.held_back()
            else:
                self.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk) if chunked else chunk)
        if chunked and reply.ending is Ending.END:
            self.wfile.write(b"0\r\n\r\n")

    @override
    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: `requests` remembers."""


def _wait_until_gone(read: Callable[[int], bytes]) -> None:
    while read(65536):
        pass


def _break(connection: socket.socket) -> None:
    with suppress(OSError):  # the other side may have been quicker
        connection.shutdown(socket.SHUT_RDWR)


def main(arguments: list[str] | None = None) -> None:
    """Serve until interrupted; the address is printed first."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=0, help="a free one by default")
    parser.add_argument("--play", action="append", default=[], choices=sorted(FAULTS), metavar="FAULT")
    options = parser.parse_args(arguments)
    with OpenAIServer(options.port) as server:
        server.play(*options.play)
        sys.stdout.write(f"OPENAI_BASE_URL={server.base_url} OPENAI_API_KEY={server.key}\n")
        sys.stdout.flush()
        with suppress(KeyboardInterrupt):
            threading.Event().wait()


if __name__ == "__main__":
    main()

"""A request that keeps every rule of CONTRACT §2, and one way to break each of them, in the contract's order."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

import httpx2

from tests.contract.examples import bad_inputs, example_inputs
from tests.contract.judge import refusal
from tests.support.service import JsonObject, Service

LIMIT: Final = 16 * 1024 * 1024  # bytes, by default
NO_SUCH_FILE: Final = {"$artifact": "/artifacts/inputs/nobody/put-this-here", "sha256": "0" * 64}


@dataclass
class Request:
    """What is sent to `/run`: change what you like before `send`."""

    service: Service
    payload: JsonObject
    headers: dict[str, str] = field(default_factory=lambda: {"Content-Type": "application/json"})
    body: bytes | None = None  # in place of the payload
    tail: bytes = b""  # after it
    chunked: bool = False

    @classmethod
    def good(cls, service: Service, **changes: object) -> Request:
        """Return a request that *service* would answer with a success, with *changes* made to its payload."""
        return cls(service, service.payload(**{"inputs": example_inputs(service), **changes}))

    def content(self) -> bytes:
        """Return the body's bytes."""
        return (json.dumps(self.payload).encode() if self.body is None else self.body) + self.tail

    def send(self) -> httpx2.Response:
        """Return the answer."""
        content = self.content()
        body = _pieces(content) if self.chunked else content
        return self.service.http.post("/run", content=body, headers=self.headers)

    def refused(self, code: str, message: str | None = None, *, echoed: bool = True) -> JsonObject:
        """Send it and return the error; fails unless it is refused so, and nothing was written or made.

        *echoed* says whether `execution_id` comes back: once it was found valid, and only then.
        """
        before = self.service.tree()
        response = self.send()
        execution_id = self.payload["execution_id"] if echoed else ""
        error = refusal(self.service, response, code, message, execution_id=execution_id)
        assert self.service.tree() == before
        return error


def _pieces(content: bytes, size: int = 65536) -> Iterator[bytes]:
    for start in range(0, len(content), size):
        yield content[start : start + size]


@dataclass(frozen=True, slots=True)
class Rule:
    """A row of §2's table: how a request breaks it, and what answers then."""

    name: str
    break_it: Callable[[Request], None]
    code: str
    message: str | None = None


def _set(name: str, value: object) -> Callable[[Request], None]:
    def change(request: Request) -> None:
        request.payload[name] = value

    return change


def _media_type(request: Request) -> None:
    request.headers["Content-Type"] = "text/plain"


def _size(request: Request) -> None:
    request.tail = b" " * LIMIT


def _body(request: Request) -> None:
    # the last key a second time: still a body in which every other rule can be broken or kept
    *_, (name, value) = request.payload.items()
    request.body = json.dumps(request.payload).encode()[:-1] + f", {json.dumps(name)}: {json.dumps(value)}}}".encode()


def _inputs(request: Request) -> None:
    request.payload["inputs"] = bad_inputs(request.service)[-1]


# the last one that a request is broken by must be the first one in the table: `body` copies the payload as it is then
RULES: Final = [
    Rule("media type", _media_type, "ERR_INPUTS", "Content-Type must be application/json"),
    Rule("size", _size, "ERR_INPUTS", "Request body too large"),
    Rule("body", _body, "ERR_INPUTS", "Invalid JSON body"),
    Rule("execution_id", _set("execution_id", "not an id"), "ERR_INPUTS", "invalid execution_id"),
    Rule("write_prefix", _set("write_prefix", "/etc/{execution_id}/"), "ERR_WRITE_PREFIX"),
    Rule("schema", _set("schema", "v2"), "ERR_INPUTS", "unsupported schema"),
    Rule("mode", _set("mode", "dream"), "ERR_MODE_INVALID"),
    Rule("ref", _set("ref", "other/one@1"), "ERR_REF_MISMATCH"),
    Rule("timeout_s", _set("timeout_s", 0), "ERR_INPUTS", "invalid timeout_s"),
    Rule("context", _set("context", "x"), "ERR_INPUTS", "invalid context"),
    Rule("unknown field", _set("surprise", 1), "ERR_INPUTS", "unknown field"),
    Rule("inputs", _inputs, "ERR_INPUTS", "inputs do not match the schema"),
]
NAMES: Final = [rule.name for rule in RULES]


def broken(service: Service, *rules: Rule) -> Request:
    """Return a request that breaks these *rules* and no other."""
    request = Request.good(service)
    for rule in sorted(rules, key=RULES.index, reverse=True):
        rule.break_it(request)
    return request


def is_echoed(rule: Rule, *also_broken: Rule) -> bool:
    """Whether the answer that *rule* gives names the execution: it was looked at before, and found valid."""
    judged = NAMES.index(rule.name) > NAMES.index("execution_id")
    return judged and "execution_id" not in {other.name for other in also_broken}

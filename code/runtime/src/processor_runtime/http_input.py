"""What is read of an HTTP request before its JSON: token, media type, size, trace (CONTRACT §1, §2)."""

import hmac
import re
from typing import Final

from starlette.types import Message, Receive, Scope

from .errors import BodyTooLargeError, Detail, MediaTypeError

_TRACEPARENT: Final = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(-.*)?")


class ClientLeftError(Exception):
    """The connection was closed before the body was complete; nobody waits for an answer."""


class Incoming:
    """An ASGI `receive` that knows whether more of the body is to come."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self.more = True

    async def __call__(self) -> Message:
        """Return the next message."""
        message = await self._receive()
        self.more = message.get("more_body", False)
        return message


def authorized(scope: Scope, expected: bytes) -> bool:
    """Whether the request carries exactly one `Authorization` header, equal to *expected*; in constant time."""
    given = [value for name, value in scope["headers"] if name == b"authorization"]
    return len(given) == 1 and hmac.compare_digest(given[0], expected)


async def body(scope: Scope, receive: Receive, limit: int) -> bytes:
    """Return the whole body, of at most *limit* bytes, announced or chunked.

    Raises:
        MediaTypeError: not plain `application/json`.
        BodyTooLargeError: more than *limit* bytes; the rest is not read.
        ClientLeftError: the connection was closed.
    """
    announced = _announced(scope)
    if announced > limit:
        raise BodyTooLargeError(Detail(path="", message=f"at most {limit} bytes"))
    message = await receive()
    if message["type"] == "http.disconnect":
        raise ClientLeftError
    first: bytes = message.get("body", b"")
    if not message.get("more_body", False) and len(first) <= limit:
        return first
    chunks = bytearray(first)
    while message.get("more_body", False) and len(chunks) <= limit:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientLeftError
        chunks += message.get("body", b"")
    if len(chunks) > limit:
        raise BodyTooLargeError(Detail(path="", message=f"at most {limit} bytes"))
    return bytes(chunks)


def _announced(scope: Scope) -> int:
    """Return the announced length, 0 for a chunked body; refuse what is not plain JSON."""
    length = 0
    media_types = 0
    for name, value in scope["headers"]:
        if name == b"content-type":
            media_types += 1
            if value.partition(b";")[0].strip().lower() != b"application/json":
                raise MediaTypeError(Detail(path="Content-Type", message="must be application/json"))
        elif name == b"content-encoding":
            raise MediaTypeError(Detail(path="Content-Encoding", message="must be absent"))
        elif name == b"content-length":
            length = int(value)
    if media_types != 1:
        raise MediaTypeError(Detail(path="Content-Type", message="must be given once"))
    return length


def trace_id(scope: Scope) -> str | None:
    """Return the trace id of a valid `traceparent`, 32 hexadecimal digits, or ``None``.

    Source: W3C Trace Context, level 1, §3.2.
    """
    given = [value for name, value in scope["headers"] if name == b"traceparent"]
    if len(given) != 1:
        return None
    match = _TRACEPARENT.fullmatch(given[0])
    if match is None:
        return None
    version, trace, parent, rest = match.groups()
    if version == b"ff" or (version == b"00" and rest) or not trace.strip(b"0") or not parent.strip(b"0"):
        return None
    return str(trace, "ascii")

"""What is read of an HTTP request before its JSON: media type, size, token and trace."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor_runtime.errors import BodyTooLargeError, MediaTypeError, ProcessorError
from processor_runtime.http_input import ClientLeftError, authorized, body, trace_id

JSON = (b"content-type", b"application/json")
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"

TRACEPARENTS = [
    pytest.param(f"00-{TRACE}-{PARENT}-01", True, id="sampled"),
    pytest.param(f"00-{TRACE}-{PARENT}-00", True, id="not sampled"),
    pytest.param(f"00-{TRACE}-{PARENT}-ff", True, id="flags of tomorrow"),
    pytest.param(f"01-{TRACE}-{PARENT}-01", True, id="a later version"),
    pytest.param(f"cc-{TRACE}-{PARENT}-01-what-the-future-brings", True, id="a later version with more"),
    pytest.param(f"cc-{TRACE}-{PARENT}-01-", True, id="a later version with an empty rest"),
    pytest.param(f"00-{TRACE}-{PARENT}-01-more", False, id="version 00 has no more"),
    pytest.param(f"00-{TRACE}-{PARENT}-01-", False, id="version 00 has no dash at its end"),
    pytest.param(f"cc-{TRACE}-{PARENT}-01.more", False, id="a rest without its dash"),
    pytest.param(f"cc-{TRACE}-{PARENT}-011", False, id="flags of three digits"),
    pytest.param(f"ff-{TRACE}-{PARENT}-01", False, id="the forbidden version"),
    pytest.param(f"0-{TRACE}-{PARENT}-01", False, id="a version of one digit"),
    pytest.param(f"000-{TRACE}-{PARENT}-01", False, id="a version of three digits"),
    pytest.param(f"0x-{TRACE}-{PARENT}-01", False, id="a version that is not hexadecimal"),
    pytest.param(f"00-{TRACE}-{PARENT}-1", False, id="flags of one digit"),
    pytest.param(f"00-{TRACE}-{PARENT}-0x", False, id="flags that are not hexadecimal"),
    pytest.param(f"00-{TRACE}-{PARENT}", False, id="no flags"),
    pytest.param(f"00-{TRACE}-{PARENT}-0F", False, id="upper-case flags"),
    pytest.param(f"00-{TRACE.upper()}-{PARENT}-01", False, id="an upper-case trace id"),
    pytest.param(f"00-{TRACE}-{PARENT.upper()}-01", False, id="an upper-case parent id"),
    pytest.param(f"00-{'0' * 32}-{PARENT}-01", False, id="a trace id of zeros"),
    pytest.param(f"00-{TRACE}-{'0' * 16}-01", False, id="a parent id of zeros"),
    pytest.param(f"00-{TRACE[:-1]}-{PARENT}-01", False, id="a short trace id"),
    pytest.param(f"00-{TRACE}0-{PARENT}-01", False, id="a long trace id"),
    pytest.param(f"00-{TRACE}-{PARENT[:-1]}-01", False, id="a short parent id"),
    pytest.param(f"00_{TRACE}_{PARENT}_01", False, id="underscores"),
    pytest.param(f" 00-{TRACE}-{PARENT}-01", False, id="a space before"),
    pytest.param(f"00-{TRACE}-{PARENT}-01\n", False, id="a line break"),
    pytest.param("", False, id="empty"),
    pytest.param("-" * 55, False, id="dashes"),
]


def _scope(*headers: tuple[bytes, bytes]) -> dict[str, Any]:
    return {"type": "http", "headers": list(headers)}


class Receive:
    """An ASGI `receive` that brings *chunks*, or hangs up at `None`; it counts what was taken."""

    def __init__(self, *chunks: bytes | None) -> None:
        self._chunks = list(chunks)
        self.taken = 0

    async def __call__(self) -> dict[str, Any]:
        """Return the next message."""
        chunk = self._chunks[self.taken]
        self.taken += 1
        if chunk is None:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": chunk, "more_body": self.taken < len(self._chunks)}


def _read(limit: int, receive: Receive, *headers: tuple[bytes, bytes]) -> bytes:
    return asyncio.run(body(_scope(*(headers or (JSON,))), receive, limit))


# --- media type


@pytest.mark.parametrize(
    "value",
    [
        b"application/json",
        b"application/json; charset=utf-8",
        b"application/json;charset=utf-8",
        b"application/json ; x=y",
        b"Application/JSON",
        b" application/json ",
    ],
)
def test_json_is_taken_with_parameters_and_in_any_case(value: bytes) -> None:
    """RFC 9110 section 8.3.1."""
    assert _read(10, Receive(b"{}"), (b"content-type", value)) == b"{}"


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"text/plain",
        b"application/jsonp",
        b"application/json-seq",
        b"application/problem+json",
        b"text/json",
        b"application/x-www-form-urlencoded",
        b"multipart/form-data; boundary=application/json",
        b"application/json, text/plain",
        b"*/*",
    ],
)
def test_another_media_type_is_refused_before_anything_is_read(value: bytes) -> None:
    """415, whatever the body is."""
    receive = Receive(b"{}")

    with pytest.raises(MediaTypeError) as refusal:
        _read(10, receive, (b"content-type", value))

    assert refusal.value.http_status == 415
    assert receive.taken == 0


def test_no_media_type_and_two_media_types_are_refused() -> None:
    """Two readers could each believe another one."""
    for headers in ([(b"accept", b"application/json")], [JSON, JSON]):
        with pytest.raises(MediaTypeError):
            _read(10, Receive(b"{}"), *headers)


@pytest.mark.parametrize("value", [b"gzip", b"identity", b"", b"br"])
def test_any_content_encoding_is_refused(value: bytes) -> None:
    """Even one that means none."""
    with pytest.raises(MediaTypeError):
        _read(10, Receive(b"{}"), JSON, (b"content-encoding", value))


def test_the_media_type_is_judged_before_the_size() -> None:
    """The contract's order, whatever the order of the headers."""
    for headers in (
        [(b"content-length", b"1000"), (b"content-type", b"text/plain")],
        [(b"content-type", b"text/plain"), (b"content-length", b"1000")],
        [JSON, (b"content-length", b"1000"), (b"content-encoding", b"gzip")],
        [(b"content-length", b"1000")],
    ):
        with pytest.raises(MediaTypeError):
            _read(10, Receive(b"x" * 1000), *headers)


# --- size


def test_an_announced_body_of_the_limit_is_taken_and_one_more_is_not() -> None:
    """The larger one is refused unread."""
    assert _read(10, Receive(b"x" * 10), JSON, (b"content-length", b"10")) == b"x" * 10
    receive = Receive(b"x" * 11)

    with pytest.raises(BodyTooLargeError) as refusal:
        _read(10, receive, JSON, (b"content-length", b"11"))

    assert refusal.value.http_status == 413
    assert receive.taken == 0


@pytest.mark.parametrize(
    "chunks", [[b"x" * 10], [b"x" * 9, b"x"], [b"x"] * 10, [b"", b"x" * 10, b""], [b"x" * 10, b"", b""]]
)
def test_a_chunked_body_of_the_limit_is_taken(chunks: list[bytes]) -> None:
    """However it is cut."""
    assert _read(10, Receive(*chunks)) == b"x" * 10


@pytest.mark.parametrize("chunks", [[b"x" * 11], [b"x" * 10, b"x"], [b"x"] * 11, [b"x" * 10, b"", b"x"]])
def test_a_chunked_body_over_the_limit_is_refused(chunks: list[bytes]) -> None:
    """Nothing announced it."""
    with pytest.raises(BodyTooLargeError):
        _read(10, Receive(*chunks))


def test_a_body_over_the_limit_is_not_read_to_its_end() -> None:
    """It may have none."""
    receive = Receive(*[b"x" * 8] * 1000)

    with pytest.raises(BodyTooLargeError):
        _read(10, receive)

    assert receive.taken == 2


@given(st.lists(st.binary(max_size=6), min_size=1, max_size=6), st.integers(0, 20))
def test_a_body_is_taken_whole_or_not_at_all(chunks: list[bytes], limit: int) -> None:
    """Whatever the chunks and the limit."""
    whole = b"".join(chunks)
    try:
        assert _read(limit, Receive(*chunks)) == whole
        assert len(whole) <= limit
    except ProcessorError:
        assert len(whole) > limit


@pytest.mark.parametrize("chunks", [[None], [b"x", None], [b"x", b"", b"y", None]])
def test_a_client_that_leaves_gets_no_answer(chunks: list[bytes | None]) -> None:
    """There is nobody to send one to."""
    with pytest.raises(ClientLeftError):
        _read(10, Receive(*chunks))


def test_an_empty_body_is_a_body() -> None:
    """It is the JSON that is wrong with it."""
    assert _read(10, Receive(b"")) == b""


# --- token


def test_the_token_is_given_once_and_is_the_expected_one() -> None:
    """Header names come in lower case."""
    expected = b"Bearer t0ken"

    assert authorized(_scope((b"authorization", expected)), expected)
    assert authorized(_scope((b"x", b"y"), (b"authorization", expected), (b"x", b"z")), expected)


@pytest.mark.parametrize(
    "given_headers",
    [
        [],
        [b""],
        [b"t0ken"],
        [b"bearer t0ken"],
        [b"Bearer  t0ken"],
        [b"Bearer t0ken "],
        [b"Bearer t0ke"],
        [b"Bearer t0ken2"],
        [b"Basic t0ken"],
        [b"Bearer t0ken", b"Bearer t0ken"],
        [b"Bearer \xff"],
    ],
)
def test_any_other_authorization_is_none(given_headers: list[bytes]) -> None:
    """Nearly is not enough, and twice is too much."""
    headers = [(b"authorization", value) for value in given_headers]

    assert not authorized(_scope(*headers), b"Bearer t0ken")


# --- trace


@pytest.mark.parametrize(("value", "valid"), TRACEPARENTS)
def test_a_traceparent_is_taken_where_the_w3c_says_that_it_is_valid(value: str, valid: object) -> None:
    """Trace Context level 1, section 3.2."""
    assert trace_id(_scope((b"traceparent", value.encode()))) == (TRACE if valid else None)


def test_no_traceparent_and_two_traceparents_are_none() -> None:
    """Which one would it be?"""
    good = (b"traceparent", f"00-{TRACE}-{PARENT}-01".encode())

    assert trace_id(_scope()) is None
    assert trace_id(_scope(good, good)) is None
    assert trace_id(_scope((b"x-traceparent", good[1]))) is None


@given(st.binary(max_size=60))
def test_any_bytes_are_a_trace_id_or_none(value: bytes) -> None:
    """Never an exception: a header must not fail a run."""
    found = trace_id(_scope((b"traceparent", value)))

    assert found is None or (len(found) == 32 and found.strip("0"))

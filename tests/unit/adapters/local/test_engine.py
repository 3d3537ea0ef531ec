"""The door to Docker Engine: what it sends, how it reads answers, and what each failure means."""

from __future__ import annotations

import asyncio
import errno
import json
from asyncio import StreamReader, StreamWriter, exceptions
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from apps.core.adapters.errors import DockerError
from apps.core.adapters.local import engine as module
from apps.core.adapters.local.engine import FAILURES, Engine, EngineRefusedError, translated

Answer = Callable[[StreamReader, StreamWriter], Awaitable[None]]

# What asyncio has that no stream raises: each is looked at here, so that a new one is noticed
NOT_OF_STREAMS = {"CancelledError", "InvalidStateError", "SendfileNotAvailableError", "BrokenBarrierError"}


def against(answer: Answer, work: Callable[[Engine], Awaitable[Any]], folder: Path) -> Any:
    """Return what *work* makes of an engine that answers with *answer*."""

    async def main() -> Any:
        path = folder / "s"
        async with await asyncio.start_unix_server(answer, path):
            return await work(Engine(f"unix://{path}"))

    return asyncio.run(main())


def saying(raw: bytes, heard: list[bytes] | None = None) -> Answer:
    """Return an engine that answers everything with *raw*, and closes."""

    async def answer(reader: StreamReader, writer: StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        if heard is not None:
            heard.append(head + await reader.readexactly(length))
        writer.write(raw)
        writer.close()

    return answer


OK = b"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n"


def test_a_question_is_http_and_its_answer_json(tmp_path: Path) -> None:
    """Method, path, parameters and body; no version, no chunks."""
    heard: list[bytes] = []

    async def ask(engine: Engine) -> Any:
        return await engine.ask("POST", "/x", {"a": 1}, name="n m", force=True, t=3, filters={"label": ["l"]})

    assert against(saying(OK + b'{"b": 2}\n', heard), ask, tmp_path) == {"b": 2}
    head, _, body = heard[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /x?name=n+m&force=1&t=3&filters=%7B%22label%22%3A%5B%22l%22%5D%7D HTTP/1.0\r\n")
    assert json.loads(body) == {"a": 1}


def test_no_content_is_none(tmp_path: Path) -> None:
    """A start and a removal answer nothing."""
    assert against(saying(b"HTTP/1.0 204 No Content\r\n\r\n"), lambda engine: engine.ask("GET", "/x"), tmp_path) is None


def test_a_refusal_has_its_status_and_its_reason(tmp_path: Path) -> None:
    """In the engine's own words, with what was asked."""
    raw = b'HTTP/1.0 404 Not Found\r\n\r\n{"message": "no such thing"}'

    with pytest.raises(EngineRefusedError) as refused:
        against(saying(raw), lambda engine: engine.ask("GET", "/x"), tmp_path)

    assert (refused.value.engine_status, refused.value.code) == (404, "ERR_DOCKER")
    assert refused.value.details == ({"path": "GET /x", "message": "no such thing"},)


def test_a_stream_is_given_as_it_comes(tmp_path: Path) -> None:
    """And a refusal is one there too."""

    async def read(engine: Engine) -> bytes:
        async with engine.stream("GET", "/x") as reader:
            return await reader.read()

    assert against(saying(OK + b"some bytes"), read, tmp_path) == b"some bytes"
    with pytest.raises(EngineRefusedError):
        against(saying(b'HTTP/1.0 500 Oh\r\n\r\n{"message": "no"}'), read, tmp_path)


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        pytest.param(b"", "went away", id="closed at once"),
        pytest.param(b"HTTP/1.0 200", "went away", id="closed in the middle"),
        pytest.param(OK, "went away", id="closed before the answer"),
        pytest.param(b"HTTP/1.0 200 OK\r\nContent-Length: 9\r\n\r\n{", "went away", id="closed in the answer"),
        pytest.param(b"SSH-2.0-x\r\n\r\n", "no Docker Engine", id="no HTTP"),
        pytest.param(b"HTTP/1.1 abc\r\n\r\n", "no Docker Engine", id="no status"),
        pytest.param(OK + b"<html>", "no Docker Engine", id="no JSON"),
        pytest.param(b"HTTP/1.0 200 OK\r\n" + b"x" * 70_000, "no Docker Engine", id="an endless head"),
    ],
)
def test_what_is_no_answer_says_what_to_do(tmp_path: Path, raw: bytes, words: str) -> None:
    """As `ERR_DOCKER`."""
    with pytest.raises(DockerError) as failed:
        against(saying(raw), lambda engine: engine.ask("GET", "/x"), tmp_path)

    assert words in failed.value.details[0]["message"]


def test_an_engine_that_is_silent_is_given_up(tmp_path: Path) -> None:
    """In time; a wait without end is asked for by name."""

    async def silent(reader: StreamReader, writer: StreamWriter) -> None:
        await reader.read()
        writer.close()

    with pytest.raises(DockerError) as failed:
        against(silent, lambda engine: engine.ask("GET", "/x", timeout_s=0.05), tmp_path)

    assert "did not answer in time" in failed.value.details[0]["message"]


@pytest.mark.parametrize(
    ("address", "words"),
    [
        pytest.param("unix:///nowhere/s", "start Docker, or use --adapter process", id="no socket"),
        pytest.param("tcp://127.0.0.1:1", "start Docker, or use --adapter process", id="nobody listens"),
        pytest.param("tcp://127.0.0.1", "DOCKER_HOST", id="no port"),
    ],
)
def test_without_an_engine_the_error_says_what_to_do(address: str, words: str) -> None:
    """Each names the address, and the next step."""
    with pytest.raises(DockerError) as failed:
        asyncio.run(Engine(address).ask("GET", "/_ping"))

    assert words in failed.value.details[0]["message"]
    assert address in failed.value.details[0]["message"]


def foreign() -> set[type[Exception]]:
    """Return each exception that a connection can raise: asyncio's own, and those of the operating system."""
    ours = {kind for kind in vars(exceptions).values() if isinstance(kind, type) and issubclass(kind, BaseException)}
    named = {kind for kind in ours if kind.__name__ not in NOT_OF_STREAMS}
    system = {type(OSError(number, "")) for number in errno.errorcode}
    return {kind for kind in named | system if issubclass(kind, Exception)}


def test_each_exception_of_a_connection_means_something() -> None:
    """A new one of asyncio's fails here, and not at a user's; of the system's, all that are not named are one."""
    assert {asyncio.IncompleteReadError, asyncio.LimitOverrunError, FileNotFoundError} <= foreign()
    for kind in foreign():
        assert any(base in FAILURES for base in kind.__mro__), kind


@pytest.mark.parametrize("kind", [pytest.param(kind, id=kind.__name__) for kind in FAILURES])
def test_a_translation_keeps_the_text_to_the_log(kind: type[Exception]) -> None:
    """What is sent is what to do; the exception's own text is only logged."""
    failure = kind.__new__(kind)
    failure.args = ("canary",)

    error = translated(failure, "GET /x", "unix:///s")

    assert error.details == ({"path": "GET /x", "message": f"unix:///s: {FAILURES[kind]}"},)
    assert "canary" not in str(error.details)


def test_a_permission_is_not_merely_an_os_error() -> None:
    """The nearest name counts."""
    assert "group" in translated(PermissionError(), "GET /x", "a").details[0]["message"]
    assert module.FAILURES[OSError] in translated(BlockingIOError(), "GET /x", "a").details[0]["message"]

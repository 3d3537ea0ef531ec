"""Every exception of httpx2 means something to whoever asked."""

from __future__ import annotations

import httpx2
import orjson
import pytest

from apps.core.adapters import http
from processor_runtime.errors import InternalError, ProcessorError


def exceptions_of_httpx2() -> set[type[Exception]]:
    """Return each exception class that httpx2 makes public, and each subclass of one that it holds."""
    found = {value for name, value in vars(httpx2).items() if isinstance(value, type) and issubclass(value, Exception)}
    todo = list(found)
    while todo:
        new = [kind for kind in todo.pop().__subclasses__() if kind.__module__.startswith("httpx2")]
        todo += [kind for kind in new if kind not in found]
        found |= set(new)
    return found


def test_each_exception_of_httpx2_is_translated_by_name() -> None:
    """A new release that adds one fails here, and not at a user's."""
    found = exceptions_of_httpx2()

    assert httpx2.ConnectError in found
    assert {kind.__name__ for kind in found ^ set(http.FAILURES)} == set()


@pytest.mark.parametrize("kind", [pytest.param(kind, id=kind.__name__) for kind in http.FAILURES])
def test_a_translation_names_the_kind_and_keeps_the_text_to_the_log(kind: type[Exception]) -> None:
    """The text may quote an address or an answer: it is logged, and not sent."""
    failure = kind.__new__(kind)
    failure.args = ("canary",)

    error = http.translated(failure)

    assert type(error) is http.FAILURES[kind]
    assert error.details == ({"path": "http", "message": kind.__name__},)
    assert "canary" not in error.text


def test_an_exception_that_nobody_foresaw_is_ours() -> None:
    """It is no reason to ask again."""
    error = http.translated(LookupError())

    assert isinstance(error, InternalError)
    assert isinstance(error, ProcessorError)
    assert not error.retryable


@pytest.mark.parametrize("base", ["http://127.0.0.1:8000", "http://processor", "https://a--b.modal.run/below/"])
def test_a_post_is_the_request_that_httpx2_would_make(base: str) -> None:
    """Made by hand, because that takes a fraction of the time."""
    client = httpx2.AsyncClient(base_url=base, headers={"authorization": "Bearer t"}, timeout=3.0)
    payload = {"execution_id": "e1", "inputs": {"text": "ä"}}
    theirs = client.build_request(
        "POST", "/run", content=orjson.dumps(payload), headers={"content-type": "application/json"}, timeout=None
    )

    ours = http.post(client, "/run", payload)

    assert (ours.method, ours.url, ours.extensions) == (theirs.method, theirs.url, theirs.extensions)
    assert sorted(ours.headers.raw) == sorted(theirs.headers.raw)
    assert ours.content == theirs.content


def test_the_timeout_of_one_post_is_not_that_of_the_next() -> None:
    """Who asks may set it on the request."""
    client = httpx2.AsyncClient(base_url="http://processor")
    http.post(client, "/run", {}).extensions["timeout"] = {"read": 1.0}

    assert http.post(client, "/run", {}).extensions["timeout"]["read"] is None

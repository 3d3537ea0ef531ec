"""Each exception of the SDK has its verdict, and says nothing of what the provider said."""

from __future__ import annotations

from collections.abc import Iterator

import httpx2
import openai
import pytest

from apps.core.processors.llm_chat.app.utils import VERDICTS, translate

# Subclasses of the SDK's base error that asking for a chat completion cannot raise, each with the reason.
ELSEWHERE = {
    "LengthFinishReasonError": "only `.parse()` raises it",
    "ContentFilterFinishReasonError": "only `.parse()` raises it",
    "WebSocketConnectionClosedError": "the realtime API",
    "WebSocketQueueFullError": "the realtime API",
    "SubjectTokenProviderError": "workload identity; ours has a key",
    "_AmbiguousModuleClientUsageError": "the client that is hidden in the module; ours is made in set-up",
}
REQUEST = httpx2.Request("POST", "http://127.0.0.1/v1/chat/completions")
SAID = "Incorrect API key provided: sk-planted-secret"


def exceptions_of_the_sdk() -> set[str]:
    """Return the names of all that `import openai` offers below its base error."""
    offered = {name for name in dir(openai) if _is_error(getattr(openai, name))}
    homes = {"openai", "openai._exceptions"}
    return offered | {cls.__name__ for cls in _below(openai.OpenAIError) if cls.__module__ in homes}


def _is_error(thing: object) -> bool:
    return isinstance(thing, type) and issubclass(thing, openai.OpenAIError)


def _below(cls: type[Exception]) -> Iterator[type[Exception]]:
    for sub in cls.__subclasses__():
        yield sub
        yield from _below(sub)


def with_status(status: int, code: str | None = None) -> openai.APIStatusError:
    """Return the error that the SDK makes of an answer with *status*."""
    body = {"error": {"message": SAID, "code": code}}
    client = openai.OpenAI(api_key="x", base_url="http://127.0.0.1/v1")
    with client:
        return client._make_status_error_from_response(httpx2.Response(status, json=body, request=REQUEST))


def test_each_exception_of_the_sdk_has_a_verdict_or_a_reason_to_have_none() -> None:
    """A new version of the SDK that adds one fails here, as does a row for one that is gone."""
    assert VERDICTS.keys() | ELSEWHERE.keys() == exceptions_of_the_sdk()
    assert not VERDICTS.keys() & ELSEWHERE.keys()


@pytest.mark.parametrize(
    ("status", "retryable"),
    [
        *((status, False) for status in (400, 401, 403, 404, 405, 413, 422, 451)),
        *((status, True) for status in (408, 409, 429, 500, 502, 503, 504, 529)),
    ],
)
def test_a_status_says_whether_asking_again_may_help(status: int, retryable: bool) -> None:  # noqa: FBT001
    """Requests that are wrong stay wrong; rushes, locks and failures pass."""
    assert translate(with_status(status)).retryable is retryable


def test_an_empty_account_is_no_passing_rush() -> None:
    """Both are 429, and only one of them ends by waiting."""
    assert translate(with_status(429, "rate_limit_exceeded")).retryable
    assert not translate(with_status(429, "insufficient_quota")).retryable


@pytest.mark.parametrize(
    "error",
    [openai.APIConnectionError(request=REQUEST), openai.APITimeoutError(request=REQUEST)],
    ids=["connection", "timeout"],
)
def test_a_failed_connection_may_be_tried_again(error: openai.APIError) -> None:
    """Nothing says that it would fail again."""
    assert translate(error).retryable


def test_an_exception_from_a_later_sdk_is_judged_by_its_nearest_ancestor() -> None:
    """At run time an unknown exception is no crash; the test above tells us about it."""

    class NewError(openai.RateLimitError):
        pass

    error = NewError(SAID, response=httpx2.Response(429, request=REQUEST), body=None)

    assert translate(error).details == translate(with_status(429)).details
    assert not translate(openai.OpenAIError(SAID)).retryable


@pytest.mark.parametrize("status", [400, 401, 429, 500])
def test_nothing_that_the_provider_said_is_repeated(status: int) -> None:
    """A provider's error quotes keys and inputs: only its type and status go on."""
    failure = translate(with_status(status))

    assert "planted" not in f"{failure} {failure.details} {failure.context}"
    assert failure.context["provider_status"] == status

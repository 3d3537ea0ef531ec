"""What the handler needs and a test can judge without a provider: question, answer, mock, and whom to blame."""

import codecs
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Final, Self
from urllib.parse import urlsplit

from processor_runtime import ProviderError

DEFAULT_MODEL: Final = "gpt-4.1-mini"  # registry.yaml documents the same name
DEFAULT_BASE_URL: Final = "https://api.openai.com/v1"

MAX_RETRIES: Final = 2  # after the first attempt, and only until the first byte of an answer
LONGEST_WAIT_S: Final = 10.0  # between two attempts; a provider that asks for more gets no further one
CONNECT_S: Final = 10.0
SILENCE_S: Final = 45.0  # a model may think for long before its first token, so two such waits fit into a run
SETTLE_S: Final = 2.0  # kept for writing the outputs
LONGEST_NAME: Final = 256  # of a model, as in the registry
MAX_ANSWER_CHARS: Final = 4_000_000  # above any model's longest answer; a stream that never ends must not fill memory


@dataclass(frozen=True, slots=True)
class Question:
    """What the provider is asked."""

    messages: tuple[Mapping[str, str], ...]
    model: str
    temperature: float | None
    max_tokens: int | None

    @classmethod
    def parse(cls, params: Mapping[str, Any]) -> Self:
        """Return the question that *params* asks: the registry's schema has judged them, defaults are applied here."""
        max_tokens = params.get("max_tokens")
        return cls(
            messages=tuple(params["messages"]),
            model=params.get("model", DEFAULT_MODEL),
            temperature=params.get("temperature"),
            max_tokens=None if max_tokens is None else int(max_tokens),  # 5.0 is an integer to JSON Schema
        )

    def request(self, base_url: str) -> dict[str, Any]:
        """Return the body of a chat-completions request to the server at *base_url*.

        OpenAI itself calls the limit ``max_completion_tokens``, and its reasoning models refuse the old name; of
        the servers that speak its protocol many know the old name only.
        """
        limit = "max_completion_tokens" if urlsplit(base_url).hostname == "api.openai.com" else "max_tokens"
        optional = {"temperature": self.temperature, limit: self.max_tokens}
        return {
            "model": self.model,
            "messages": [dict(message) for message in self.messages],
            "stream_options": {"include_usage": True},
            **{name: value for name, value in optional.items() if value is not None},
        }


@dataclass(frozen=True, slots=True)
class Tokens:
    """What an answer cost, as the provider counts."""

    prompt: int
    completion: int
    total: int


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, whole or so far. *finish_reason* is ``""`` and *tokens* is ``None`` until the provider says."""

    text: str
    model: str
    finish_reason: str = ""
    tokens: Tokens | None = None

    def metadata(self) -> dict[str, Any]:
        """Return the content of `outputs/metadata.json`."""
        tokens = self.tokens and {
            "prompt": self.tokens.prompt,
            "completion": self.tokens.completion,
            "total": self.tokens.total,
        }
        return {"model": self.model, "tokens": tokens, "finish_reason": self.finish_reason}


# --- mock ------------------------------------------------------------------------------------------------------------


def mock_answer(question: Question) -> Answer:
    """Return ``mock: <the last user message>``, cut after `max_tokens` words: the same for the same question, always.

    A word counts as one token. Without a user message it echoes the last message.
    """
    contents = [message["content"] for message in question.messages if message["role"] == "user"]
    whole = words(f"mock: {contents[-1] if contents else question.messages[-1]['content']}")
    kept = whole[: question.max_tokens]
    asked = sum(len(message["content"].split()) for message in question.messages)
    return Answer(
        text="".join(kept),
        model=question.model,
        finish_reason="stop" if kept == whole else "length",
        tokens=Tokens(asked, len(kept), asked + len(kept)),
    )


def words(text: str) -> list[str]:
    """Return *text* in pieces of one word and the white space after it; together they are *text* again."""
    return re.findall(r"\S+\s*|\s+", text)


# --- reading a stream ------------------------------------------------------------------------------------------------


class TextJoiner:
    """Deltas in, text that can be encoded out.

    JSON may cut a character above U+FFFF into two surrogates, and a provider may send one in each of two deltas.
    The first half waits here for the second; a half that stays alone becomes U+FFFD.
    """

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-16-le")("replace")

    def feed(self, delta: str) -> str:
        """Return what can be said of *delta* now."""
        return self._decoder.decode(delta.encode("utf-16-le", "surrogatepass"))

    def end(self) -> str:
        """Return what was still waiting."""
        return self._decoder.decode(b"", final=True)


def delta_of(chunk: object) -> str:
    """Return the text that one *chunk* of the stream adds to the first choice.

    The SDK does not check what it reads, and each server leaves out something else: whatever is not there, or is
    not of the protocol's type, counts as absent.
    """
    return _text(getattr(_choice(chunk), "delta", None), "content")


def absorb(answer: Answer, chunk: object) -> Answer:
    """Return *answer* with what *chunk* says about it besides the text: model, finish reason, tokens."""
    return replace(
        answer,
        model=_name(chunk, "model") or answer.model,
        finish_reason=_name(_choice(chunk), "finish_reason") or answer.finish_reason,
        tokens=_tokens(getattr(chunk, "usage", None)) or answer.tokens,
    )


def _choice(chunk: object) -> object:
    choices = getattr(chunk, "choices", None)
    # the chunk that carries the usage has no choice
    return choices[0] if isinstance(choices, list) and choices else None


def _text(holder: object, name: str) -> str:
    value = getattr(holder, name, None)
    return value if isinstance(value, str) else ""


def _name(holder: object, name: str) -> str:
    # half a surrogate pair cannot be written as UTF-8, and a name has no second half to wait for
    return _text(holder, name)[:LONGEST_NAME].encode("utf-8", "replace").decode()


def _tokens(usage: object) -> Tokens | None:
    counts = [getattr(usage, f"{name}_tokens", None) for name in ("prompt", "completion", "total")]
    good = [count for count in counts if type(count) is int and 0 <= count < 2**53]  # what JSON keeps exactly
    return Tokens(*good) if len(good) == len(counts) else None


# --- whom to blame ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether asking again may help, and what broke, in words of ours: the provider's may quote keys and inputs."""

    retryable: bool
    rule: str


# By name, because mock must not import the SDK. A test holds it against the SDK's exceptions.
VERDICTS: Final[Mapping[str, Verdict]] = MappingProxyType(
    {
        "OpenAIError": Verdict(retryable=False, rule="the SDK failed"),
        "APIError": Verdict(retryable=True, rule="reported an error in the middle of its answer"),
        "APIConnectionError": Verdict(retryable=True, rule="the connection failed"),
        "APITimeoutError": Verdict(retryable=True, rule="was silent for too long"),
        "APIResponseValidationError": Verdict(retryable=False, rule="does not speak the protocol"),
        "APIStatusError": Verdict(retryable=False, rule="refused the request"),
        "BadRequestError": Verdict(retryable=False, rule="calls the request invalid (400)"),
        "AuthenticationError": Verdict(retryable=False, rule="does not accept the key (401)"),
        "OAuthError": Verdict(retryable=False, rule="does not accept the key (401)"),
        "PermissionDeniedError": Verdict(retryable=False, rule="does not allow this (403)"),
        "NotFoundError": Verdict(retryable=False, rule="knows no such model or address (404)"),
        "ConflictError": Verdict(retryable=True, rule="was locked by another request (409)"),
        "UnprocessableEntityError": Verdict(retryable=False, rule="calls the request invalid (422)"),
        "RateLimitError": Verdict(retryable=True, rule="received too many requests (429)"),
        "InternalServerError": Verdict(retryable=True, rule="failed by itself (5xx)"),
    }
)

# Answers that are not the text that was asked for. `stop`, `length` and names that only one server knows are.
REFUSED_FINISH: Final[Mapping[str, Verdict]] = MappingProxyType(
    {
        "content_filter": Verdict(retryable=False, rule="withheld the answer (content filter)"),
        "tool_calls": Verdict(retryable=False, rule="called a tool, and none was offered"),
        "function_call": Verdict(retryable=False, rule="called a function, and none was offered"),
        "error": Verdict(retryable=True, rule="reported an error at the end of its answer"),
    }
)


def blame(verdict: Verdict, **context: object) -> ProviderError:
    """Return the failure that says *verdict* to the caller, and *context* to the log."""
    return ProviderError(
        {"path": "provider", "message": verdict.rule}, retryable=verdict.retryable, rule=verdict.rule, **context
    )


def translate(error: Exception) -> ProviderError:
    """Return the failure that *error*, which the SDK raised, means to a caller.

    Of the error itself only its type and the status are kept: its text quotes the provider's body.
    """
    names = (cls.__name__ for cls in type(error).__mro__)
    verdict = next((VERDICTS[name] for name in names if name in VERDICTS), VERDICTS["OpenAIError"])
    status = getattr(error, "status_code", None)
    if status == 408:  # noqa: PLR2004  # Request Timeout: the SDK has no class for it and retries it too
        verdict = replace(verdict, retryable=True)
    if getattr(error, "code", None) == "insufficient_quota":  # 429 as well, but waiting does not pay the bill
        verdict = Verdict(retryable=False, rule="says that the account has no quota left (429)")
    return blame(verdict, error=type(error).__name__, provider_status=status)


def accept(answer: Answer) -> Answer:
    """Return *answer* if it is one.

    Raises:
        ProviderError: it was cut off, is not text, or is empty. An empty answer within `max_tokens` may be better
            next time; one that used them all up (a model that thinks first) will not.
    """
    if not answer.finish_reason:
        raise blame(Verdict(retryable=True, rule="ended its answer in the middle"))
    if answer.finish_reason in REFUSED_FINISH:
        raise blame(REFUSED_FINISH[answer.finish_reason])
    if not answer.text:
        raise blame(Verdict(retryable=answer.finish_reason != "length", rule="gave an empty answer"))
    return answer


# --- set-up and time -------------------------------------------------------------------------------------------------


def api_key(secrets: Mapping[str, str]) -> str:
    """Return OPENAI_API_KEY.

    Raises:
        ValueError: it cannot be sent in a header; the usual cause is a file's last newline.
    """
    key = secrets["OPENAI_API_KEY"]
    if not re.fullmatch(r"[!-~]+", key):
        raise ValueError("OPENAI_API_KEY holds white space or a character outside ASCII")
    return key


def base_url(secrets: Mapping[str, str]) -> str:
    """Return OPENAI_BASE_URL, or OpenAI's own.

    Raises:
        ValueError: it is no http or https address.
    """
    url = secrets.get("OPENAI_BASE_URL") or DEFAULT_BASE_URL
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("OPENAI_BASE_URL must be an address such as https://host/v1")
    return url


def asks_for_a_long_wait(headers: Mapping[str, str]) -> bool:
    """Whether a provider's ``Retry-After`` is above `LONGEST_WAIT_S`; a date is left to the SDK."""
    try:
        return float(headers.get("retry-after", "0")) > LONGEST_WAIT_S
    except ValueError:
        return False


def budget_s(remaining_s: float) -> float:
    """Return how long the provider may take, so that a provider that hangs is blamed before the run's own deadline."""
    return remaining_s - min(SETTLE_S, remaining_s / 10)

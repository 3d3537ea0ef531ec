"""What the handler needs and a test can judge without a provider: question, answer, mock, and whom to blame."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

from processor_runtime import ProviderError

DEFAULT_MODEL: Final = "gpt-4.1-mini"  # registry.yaml documents the same name
DEFAULT_BASE_URL: Final = "https://api.openai.com/v1"
MAX_RETRIES: Final = 2  # after the first attempt

_RETRYABLE_STATUS: Final = frozenset({408, 409, 429})
_SERVER_ERROR: Final = 500  # and above


@dataclass(frozen=True, slots=True)
class Question:
    """What the provider is asked."""

    prompt: str
    model: str
    max_tokens: int | None

    @classmethod
    def parse(cls, params: Mapping[str, Any]) -> Self:
        """Return the question that *params* asks: the registry's schema has judged them, defaults are applied here."""
        max_tokens = params.get("max_tokens")
        return cls(
            prompt=params["prompt"],
            model=params.get("model", DEFAULT_MODEL),
            max_tokens=None if max_tokens is None else int(max_tokens),  # 5.0 is an integer to JSON Schema
        )

    def request(self) -> dict[str, Any]:
        """Return the body of a chat-completions request."""
        limit = {} if self.max_tokens is None else {"max_tokens": self.max_tokens}
        return {"model": self.model, "messages": [{"role": "user", "content": self.prompt}], **limit}


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. A token count is ``None`` where the provider does not say."""

    text: str
    model: str
    finish_reason: str
    prompt_tokens: int | None
    answer_tokens: int | None

    def metadata(self) -> dict[str, Any]:
        """Return the content of `outputs/metadata.json`."""
        return {
            "model": self.model,
            "tokens": {"prompt": self.prompt_tokens, "answer": self.answer_tokens},
            "finish_reason": self.finish_reason,
        }


def mock_answer(question: Question) -> Answer:
    """Return ``mock: <prompt>``, cut after `max_tokens` words: the same for the same question, always."""
    words = f"mock: {question.prompt}".split(" ")
    kept = words[: question.max_tokens]
    return Answer(
        text=" ".join(kept),
        model=question.model,
        finish_reason="stop" if kept == words else "length",
        prompt_tokens=len(words) - 1,
        answer_tokens=len(kept),
    )


def read(completion: object, question: Question) -> Answer:
    """Return the answer in what the provider sent; servers leave out some of what the SDK's types promise.

    Raises:
        ProviderError: it holds no text.
    """
    choice = next(iter(getattr(completion, "choices", None) or ()), None)
    text = getattr(getattr(choice, "message", None), "content", None)
    if not isinstance(text, str) or not text:
        raise ProviderError({"path": "provider", "message": "gave an empty answer"})
    usage = getattr(completion, "usage", None)
    return Answer(
        text=text,
        model=getattr(completion, "model", None) or question.model,
        finish_reason=getattr(choice, "finish_reason", None) or "unknown",
        prompt_tokens=getattr(usage, "prompt_tokens", None),
        answer_tokens=getattr(usage, "completion_tokens", None),
    )


def translate(error: Exception) -> ProviderError:
    """Return the failure that *error*, which the SDK raised, means to a caller: asking again may help, or not.

    Of the error itself only its type and the status are kept: its text quotes the provider's.
    """
    status = getattr(error, "status_code", None)  # an error without one is a connection that failed
    passing = status is None or status in _RETRYABLE_STATUS or status >= _SERVER_ERROR
    return ProviderError(
        {"path": "provider", "message": "failed" if status is None else f"answered {status}"},
        retryable=passing,
        error=type(error).__name__,
        status=status,
    )

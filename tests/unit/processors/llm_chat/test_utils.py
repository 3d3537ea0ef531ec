"""Question, mock, one chunk's meaning, and what counts as an answer: all without a provider."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.core.processors.llm_chat.app import utils
from apps.core.processors.llm_chat.app.utils import Answer, Question, TextJoiner, Tokens
from processor_runtime.declaration import Declaration
from processor_runtime.errors import ProviderError

FOLDER = Path(utils.__file__).parents[1]
ASKED = Answer("", "asked-model")
MESSAGES = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "one"},
    {"role": "assistant", "content": "two"},
    {"role": "user", "content": "three four"},
    {"role": "assistant", "content": "five"},
]


def question(**params: Any) -> Question:
    """Return what *params* ask about `MESSAGES`."""
    return Question.parse({"messages": MESSAGES, **params})


def chunk(content: object = None, finish_reason: object = None, **fields: object) -> SimpleNamespace:
    """Return one chunk as the SDK would, of whatever types."""
    choice = SimpleNamespace(delta=SimpleNamespace(content=content), finish_reason=finish_reason)
    return SimpleNamespace(**{"choices": [choice], "usage": None, **fields})


# --- question --------------------------------------------------------------------------------------------------------


def test_what_was_not_asked_for_is_not_sent() -> None:
    """The provider's own defaults stand for an absent temperature and limit, and the registry's for the model."""
    assert question().request("http://host/v1") == {
        "model": utils.DEFAULT_MODEL,
        "messages": MESSAGES,
        "stream_options": {"include_usage": True},
    }


def test_a_temperature_of_zero_is_sent() -> None:
    """Zero is a wish, not an absence."""
    assert question(temperature=0).request("http://host/v1")["temperature"] == 0


@pytest.mark.parametrize(
    ("url", "name"),
    [
        pytest.param(utils.DEFAULT_BASE_URL, "max_completion_tokens", id="OpenAI itself"),
        pytest.param("http://localhost:11434/v1", "max_tokens", id="a compatible server"),
    ],
)
def test_the_limit_has_the_name_that_the_server_knows(url: str, name: str) -> None:
    """OpenAI's newer models refuse the old name, and many other servers ignore the new one."""
    request = question(max_tokens=5).request(url)

    assert {key: request[key] for key in request if key.startswith("max")} == {name: 5}


def test_a_limit_written_as_a_float_is_sent_as_an_integer() -> None:
    """JSON Schema calls 5.0 an integer; providers do not."""
    sent = question(max_tokens=5.0).request("http://host/v1")["max_tokens"]

    assert (sent, type(sent)) == (5, int)


def test_the_registry_documents_the_default_model() -> None:
    """`default` is an annotation: nothing but this keeps the two names equal."""
    schema = Declaration.load(FOLDER / "registry.yaml").inputs

    assert schema["properties"]["params"]["properties"]["model"]["default"] == utils.DEFAULT_MODEL


# --- mock ------------------------------------------------------------------------------------------------------------


def test_mock_echoes_the_last_user_message_and_counts_words() -> None:
    """A test can foretell all of it."""
    assert utils.mock_answer(question(model="m")) == Answer("mock: three four", "m", "stop", Tokens(7, 3, 10))


def test_mock_without_a_user_message_echoes_the_last_one() -> None:
    """The schema allows it, so mock answers it."""
    alone = Question.parse({"messages": [{"role": "system", "content": "Be brief."}]})

    assert utils.mock_answer(alone).text == "mock: Be brief."


def test_mock_stops_at_max_tokens() -> None:
    """So that a caller can test what it does with a cut answer."""
    answer = utils.mock_answer(question(max_tokens=2))

    assert (answer.text, answer.finish_reason, answer.tokens) == ("mock: three ", "length", Tokens(7, 2, 9))


def test_mock_that_just_fits_is_not_cut() -> None:
    """The limit itself is allowed."""
    assert utils.mock_answer(question(max_tokens=3)).finish_reason == "stop"


@given(st.text(min_size=1))
def test_words_lose_nothing(text: str) -> None:
    """The streamed tokens together are the file."""
    pieces = utils.words(text)

    assert "".join(pieces) == text
    assert all(pieces)


# --- reading a stream ------------------------------------------------------------------------------------------------


@given(st.text(), st.data())
def test_a_text_cut_anywhere_between_its_surrogates_is_whole_again(text: str, data: st.DataObject) -> None:
    """A delta may end in the middle of an emoji: each half is a lone surrogate in JSON."""
    units = text.encode("utf-16-le")
    halves = [units[at : at + 2].decode("utf-16-le", "surrogatepass") for at in range(0, len(units), 2)]
    joiner, said = TextJoiner(), ""
    while halves:
        size = data.draw(st.integers(1, len(halves)))
        piece = joiner.feed("".join(halves[:size]))
        piece.encode()  # what a token event needs
        said += piece
        del halves[:size]

    assert said + joiner.end() == text


@pytest.mark.parametrize(
    "deltas",
    [
        pytest.param(["a\ud83d"], id="a first half at the end"),
        pytest.param(["a\ud83d", "b"], id="a first half before another character"),
        pytest.param(["a", "\udc00"], id="a second half alone"),
    ],
)
def test_half_a_character_becomes_the_replacement_character(deltas: list[str]) -> None:
    """It cannot be written as UTF-8, and the rest of the answer is worth having."""
    joiner = TextJoiner()
    said = "".join(joiner.feed(delta) for delta in deltas) + joiner.end()

    assert said.replace("b", "") == "a\ufffd"


def test_a_chunk_adds_its_text() -> None:
    """The usual case."""
    assert utils.delta_of(chunk("Hello")) == "Hello"


@pytest.mark.parametrize(
    "odd",
    [
        pytest.param(None, id="nothing"),
        pytest.param(42, id="a number"),
        pytest.param("text", id="a string"),
        pytest.param(SimpleNamespace(), id="no choices"),
        pytest.param(SimpleNamespace(choices=None), id="null choices"),
        pytest.param(SimpleNamespace(choices=[]), id="the usage chunk"),
        pytest.param(SimpleNamespace(choices={"a": 1}), id="choices not a list"),
        pytest.param(SimpleNamespace(choices=[None]), id="a null choice"),
        pytest.param(SimpleNamespace(choices=[SimpleNamespace(delta=5)]), id="a delta that is a number"),
        pytest.param(chunk(["a"], 5, model=7, usage="x"), id="wrong types throughout"),
        pytest.param(chunk(usage=SimpleNamespace(prompt_tokens=1, completion_tokens=None)), id="half a usage"),
        pytest.param(
            chunk(usage=SimpleNamespace(prompt_tokens=True, completion_tokens=-1, total_tokens=2**53)),
            id="counts that are none",
        ),
    ],
)
def test_whatever_else_a_chunk_is_it_says_nothing(odd: object) -> None:
    """The SDK hands on what it reads, unchecked."""
    assert (utils.delta_of(odd), utils.absorb(ASKED, odd)) == ("", ASKED)


def test_the_last_word_on_model_reason_and_tokens_counts() -> None:
    """Some servers count in every chunk, others once at the end, in a chunk without a choice."""
    first = SimpleNamespace(prompt_tokens=3, completion_tokens=1, total_tokens=4)
    last = SimpleNamespace(prompt_tokens=3, completion_tokens=2, total_tokens=5)
    answer = ASKED
    for each in (
        chunk("a", model="served-model", usage=first),
        chunk(finish_reason="stop", model="served-model"),
        SimpleNamespace(choices=[], usage=last),
    ):
        answer = utils.absorb(answer, each)

    assert answer == Answer("", "served-model", "stop", Tokens(3, 2, 5))


def test_names_can_always_be_written() -> None:
    """`metadata.json` is UTF-8, and no place for a flood."""
    answer = utils.absorb(ASKED, chunk(model="m\ud83d" + "x" * 1000, finish_reason="\ud83d"))

    assert answer.model.encode() == b"m?" + b"x" * 254
    assert answer.finish_reason == "?"


# --- what counts as an answer ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("reason", ["stop", "length", "eos_token"])
def test_text_with_a_reason_to_end_is_an_answer(reason: str) -> None:
    """`length` is what `max_tokens` asks for, and some servers have reasons of their own."""
    answer = Answer("Hello", "m", reason)

    assert utils.accept(answer) is answer


@pytest.mark.parametrize(
    ("answer", "retryable"),
    [
        pytest.param(Answer("Hel", "m"), True, id="cut off"),
        pytest.param(Answer("", "m", "stop"), True, id="empty"),
        pytest.param(Answer("", "m", "length"), False, id="all tokens spent on thinking"),
        pytest.param(Answer("Hel", "m", "content_filter"), False, id="withheld"),
        pytest.param(Answer("", "m", "tool_calls"), False, id="a tool that nobody offered"),
        pytest.param(Answer("", "m", "function_call"), False, id="a function that nobody offered"),
        pytest.param(Answer("Hel", "m", "error"), True, id="an error at the end"),
    ],
)
def test_anything_else_is_the_providers_failure(answer: Answer, retryable: bool) -> None:  # noqa: FBT001
    """A success means that `response.txt` holds what was asked for."""
    with pytest.raises(ProviderError) as caught:
        utils.accept(answer)

    assert caught.value.retryable is retryable
    assert [detail["path"] for detail in caught.value.details] == ["provider"]


def test_metadata_says_null_where_nobody_counted() -> None:
    """Zero would be a claim."""
    assert Answer("Hello", "m", "stop").metadata() == {"model": "m", "tokens": None, "finish_reason": "stop"}


# --- set-up and time -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["sk-1\n", " sk-1", "sk 1", "clé", "\u200bsk-1"])
def test_a_key_that_no_header_can_carry_fails_in_set_up_and_is_not_repeated(key: str) -> None:
    """Else each run would fail as if the network did."""
    with pytest.raises(ValueError, match="OPENAI_API_KEY") as caught:
        utils.api_key({"OPENAI_API_KEY": key})

    assert key not in str(caught.value)


@pytest.mark.parametrize("url", ["localhost:8080/v1", "ftp://host/v1", "https://", "/v1", "host"])
def test_an_address_that_is_none_fails_in_set_up(url: str) -> None:
    """The name of the variable says what to mend."""
    with pytest.raises(ValueError, match="OPENAI_BASE_URL"):
        utils.base_url({"OPENAI_BASE_URL": url})


@pytest.mark.parametrize("secrets", [{}, {"OPENAI_BASE_URL": ""}], ids=["unset", "empty"])
def test_without_an_address_openai_itself_is_asked(secrets: dict[str, str]) -> None:
    """As the SDK does."""
    assert utils.base_url(secrets) == utils.DEFAULT_BASE_URL


@given(st.floats(min_value=0.01, max_value=86_400))
def test_the_provider_is_out_of_time_before_the_run_is(remaining_s: float) -> None:
    """So that a provider that hangs is blamed, and not the run."""
    assert 0 < utils.budget_s(remaining_s) < remaining_s


@pytest.mark.parametrize(
    ("header", "long"),
    [("0.5", False), ("10", False), ("11", True), ("inf", True), ("Wed, 21 Oct 2015 07:28:00 GMT", False)],
)
def test_only_a_wait_that_is_worth_it_is_waited_for(header: str, long: bool) -> None:  # noqa: FBT001
    """A slot is not for sleeping."""
    assert utils.asks_for_a_long_wait({"retry-after": header}) is long


def test_no_wanted_wait_is_no_long_one() -> None:
    """Most answers have no such header."""
    assert not utils.asks_for_a_long_wait({})

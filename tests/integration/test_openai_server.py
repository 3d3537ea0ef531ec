"""The provider that our tests play speaks the protocol as the SDK expects it, in both forms."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest

from tests.support.openai_server import FAULTS, OpenAIServer, reply_answer

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def server() -> Iterator[OpenAIServer]:
    """A provider of this test's own."""
    with OpenAIServer() as running:
        yield running


@pytest.fixture
def client(server: OpenAIServer) -> Iterator[openai.OpenAI]:
    """The SDK's plain client, without retries."""
    with openai.OpenAI(api_key=server.key, base_url=server.base_url, max_retries=0) as sdk:
        yield sdk


def test_it_echoes_in_one_piece(client: openai.OpenAI) -> None:
    """Without `stream`, as the SDK's shortest example asks."""
    answer = client.chat.completions.create(model="m", messages=[{"role": "user", "content": "Hello there"}])

    assert answer.choices[0].message.content == "You said: Hello there"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.total_tokens == 6


@pytest.mark.parametrize("counted", [True, False], ids=["with usage", "without usage"])
def test_it_echoes_word_by_word(client: openai.OpenAI, counted: bool) -> None:  # noqa: FBT001
    """Tokens are counted only for those who ask, in a last chunk without a choice."""
    stream = client.chat.completions.create(
        model="m",
        messages=[{"role": "user", "content": "Hello there"}],
        stream=True,
        stream_options={"include_usage": counted},
    )
    chunks = list(stream)
    said = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]

    assert [word for word in said if word] == ["You", " said:", " Hello", " there"]
    assert [chunk.usage.total_tokens for chunk in chunks if chunk.usage] == ([6] if counted else [])


@pytest.mark.parametrize("fault", sorted(name for name in FAULTS if name[:3].isdigit()))
def test_a_planted_status_arrives_as_that_status(client: openai.OpenAI, server: OpenAIServer, fault: str) -> None:
    """And the next request is answered again."""
    server.play(fault)

    with pytest.raises(openai.APIStatusError) as caught:
        client.chat.completions.create(model="m", messages=[{"role": "user", "content": "Hello"}])

    assert caught.value.status_code == int(fault[:3])
    assert client.chat.completions.create(model="m", messages=[{"role": "user", "content": "Hello"}]).choices


def test_another_key_is_refused(server: OpenAIServer) -> None:
    """Else no test could tell whether the key arrives."""
    with (
        openai.OpenAI(api_key="sk-other", base_url=server.base_url) as other,
        pytest.raises(openai.AuthenticationError),
    ):
        other.chat.completions.create(model="m", messages=[{"role": "user", "content": "Hello"}])


def test_a_client_that_leaves_a_silent_server_is_noticed(client: openai.OpenAI, server: OpenAIServer) -> None:
    """So that tests can see a connection closed."""
    server.play("hang")

    with pytest.raises(openai.APITimeoutError):
        client.chat.completions.create(model="m", messages=[{"role": "user", "content": "Hello"}], timeout=0.05)

    server.wait_for_clients_gone(1)


def test_what_is_held_back_comes_after_the_release(client: openai.OpenAI, server: OpenAIServer) -> None:
    """The rest of the stream waits for the test."""
    server.play(reply_answer("one two", hold_after=1))
    stream = client.chat.completions.create(model="m", messages=[{"role": "user", "content": "Hello"}], stream=True)
    said = ""
    for chunk in stream:
        said += chunk.choices[0].delta.content or ""
        if said == "one":
            server.release()

    assert said == "one two"


def test_it_runs_by_itself_and_says_where() -> None:
    """For whoever tries a processor by hand."""
    command = [sys.executable, "-m", "tests.support.openai_server", "--play", "404"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = dict(pair.split("=", 1) for pair in process.stdout.readline().split())
        try:
            with openai.OpenAI(api_key=said["OPENAI_API_KEY"], base_url=said["OPENAI_BASE_URL"]) as sdk:
                with pytest.raises(openai.NotFoundError):
                    sdk.chat.completions.create(model="m", messages=[{"role": "user", "content": "Hello"}])
                answer = sdk.chat.completions.create(model="m", messages=[{"role": "user", "content": "Hello"}])
        finally:
            process.terminate()

    assert answer.choices[0].message.content == "You said: Hello"

"""One answer of a chat model, streamed from the provider and written as a file."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import TYPE_CHECKING, cast

from processor_runtime import Run, processor

from . import utils

if TYPE_CHECKING:
    from collections.abc import Mapping

    import httpx2
    from openai import AsyncOpenAI


def connect(secrets: Mapping[str, str]) -> AsyncOpenAI:
    """Return the client of one provider. It opens no connection yet.

    Raises:
        ValueError: the key or the address cannot be right.
    """
    from openai import AsyncOpenAI, DefaultAsyncHttpxClient  # noqa: PLC0415  # seconds, and mock does without

    client = AsyncOpenAI(
        api_key=utils.api_key(secrets),
        base_url=utils.base_url(secrets),
        max_retries=utils.MAX_RETRIES,
        http_client=DefaultAsyncHttpxClient(event_hooks={"response": [_refuse_long_waits]}),
    )
    _ = client.chat.completions  # the SDK imports its parts on first use: now, rather than in the first run
    return client


async def _refuse_long_waits(response: httpx2.Response) -> None:
    # The SDK sleeps for up to two minutes if told so, and holds the run's slot meanwhile. This header, which it
    # obeys, makes it give up: the caller, who may wait elsewhere, is told that asking again later may help.
    if utils.asks_for_a_long_wait(response.headers):
        response.headers["x-should-retry"] = "false"


@processor(setup=connect)
async def entry(run: Run) -> None:
    """Write the model's answer to `outputs/response.txt` and what is known about it to `outputs/metadata.json`."""
    question = utils.Question.parse(run.params)
    started = time.monotonic()
    answer = mock(run, question) if run.mock else await ask(run, question)
    run.log(
        "llm.ok",
        model=question.model,
        messages=len(question.messages),
        chars=len(answer.text),
        tokens=answer.metadata()["tokens"],
        duration_ms=round((time.monotonic() - started) * 1000),
    )
    run.write_text("outputs/response.txt", answer.text)
    run.write_json("outputs/metadata.json", answer.metadata())


def mock(run: Run, question: utils.Question) -> utils.Answer:
    """Return the answer that nobody gave, told word by word."""
    answer = utils.mock_answer(question)
    for word in utils.words(answer.text):
        run.token(word)
    return answer


async def ask(run: Run, question: utils.Question) -> utils.Answer:
    """Return the provider's answer, told as it comes.

    Raises:
        ProviderError: there is none, or it is not what was asked for. Never chained to the SDK's error, whose text
            quotes the provider's body.
    """
    from openai import OpenAIError  # noqa: PLC0415  # as in `connect`

    budget_s = utils.budget_s(run.remaining_s())
    run.progress(None, "waiting for the provider")
    try:
        async with asyncio.timeout(budget_s):
            answer = await _read(run, question, budget_s)
    except TimeoutError:
        timed_out = utils.VERDICTS["APITimeoutError"]
        raise utils.blame(timed_out, budget_s=round(budget_s, 1)) from None
    except OpenAIError as error:
        raise utils.translate(error) from None
    except (ValueError, RecursionError) as error:
        # the SDK decodes UTF-8 and JSON and lets their errors through
        no_protocol = utils.VERDICTS["APIResponseValidationError"]
        raise utils.blame(no_protocol, error=type(error).__name__) from None
    return utils.accept(answer)


async def _read(run: Run, question: utils.Question, budget_s: float) -> utils.Answer:
    from openai import Timeout  # noqa: PLC0415  # as in `connect`

    client = cast("AsyncOpenAI", run.resource)
    timeout = Timeout(min(utils.SILENCE_S, budget_s), connect=min(utils.CONNECT_S, budget_s))
    stream = await client.chat.completions.create(
        **question.request(str(client.base_url)), stream=True, timeout=timeout
    )
    try:
        if "text/event-stream" not in stream.response.headers.get("content-type", ""):
            # a portal's page, or a server that knows no streams: the SDK would read an empty answer
            raise utils.blame(utils.VERDICTS["APIResponseValidationError"], error="not an event stream")
        answer, joiner, parts, length = utils.Answer("", question.model), utils.TextJoiner(), list[str](), 0
        async for chunk in stream:
            answer = utils.absorb(answer, chunk)
            if text := joiner.feed(utils.delta_of(chunk)):
                run.token(text)
                parts.append(text)
                length += len(text)
            if length > utils.MAX_ANSWER_CHARS:
                raise utils.blame(utils.Verdict(retryable=False, rule="gave an answer without end"))
        if text := joiner.end():
            run.token(text)
            parts.append(text)
    finally:
        # shielded: `token` may end a run that is being cancelled, and a cancellation that arrives while the
        # connection is being closed would leave it open, with a provider that goes on and is paid
        await asyncio.shield(stream.close())
    return replace(answer, text="".join(parts))

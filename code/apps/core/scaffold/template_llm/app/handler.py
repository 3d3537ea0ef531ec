"""One answer of a language model: `entry` is called once for each run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from processor_runtime import Run, processor

from . import utils

if TYPE_CHECKING:
    from collections.abc import Mapping

    from openai import AsyncOpenAI


def connect(secrets: Mapping[str, str]) -> AsyncOpenAI:
    """Return the provider's client. It opens no connection yet."""
    from openai import AsyncOpenAI  # noqa: PLC0415  # seconds to import, and mock does without

    return AsyncOpenAI(
        api_key=secrets["OPENAI_API_KEY"],
        base_url=secrets.get("OPENAI_BASE_URL") or utils.DEFAULT_BASE_URL,
        max_retries=utils.MAX_RETRIES,
    )


@processor(setup=connect)
async def entry(run: Run) -> None:
    """Write the model's answer to `outputs/response.txt` and what is known about it to `outputs/metadata.json`."""
    question = utils.Question.parse(run.params)
    answer = utils.mock_answer(question) if run.mock else await ask(run, question)
    run.log("llm.ok", model=answer.model, prompt_tokens=answer.prompt_tokens, answer_tokens=answer.answer_tokens)
    run.write_text("outputs/response.txt", answer.text)
    run.write_json("outputs/metadata.json", answer.metadata())


async def ask(run: Run, question: utils.Question) -> utils.Answer:
    """Return the provider's answer.

    Raises:
        ProviderError: there is none. Never chained to the SDK's error, whose text quotes the provider's.
    """
    from openai import OpenAIError  # noqa: PLC0415  # as in `connect`

    client: AsyncOpenAI = run.resource
    run.progress(None, "waiting for the provider")
    try:
        completion = await client.chat.completions.create(**question.request(), timeout=run.remaining_s())
    except (OpenAIError, ValueError) as error:  # the SDK lets errors of JSON and UTF-8 through
        raise utils.translate(error) from None
    return utils.read(completion, question)

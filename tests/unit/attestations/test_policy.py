"""The policy is what it says, a mistyped one is none, and `require` starts nothing that nobody attests."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping

import pytest

from apps.core.adapters.base import Event, Payload
from apps.core.adapters.journal import Journal
from apps.core.adapters.signature import SignatureChecked
from apps.core.attestations.errors import SignatureError
from apps.core.attestations.policy import Policy, judge
from apps.core.registry import Ref
from processor_runtime.envelopes import Envelope

REF = Ref.parse("llm/chat@1")


@pytest.mark.parametrize(
    ("text", "policy"), [("", Policy.OFF), ("off", Policy.OFF), (" Warn ", Policy.WARN), ("require", Policy.REQUIRE)]
)
def test_a_policy_is_read_from_the_environment(text: str, policy: Policy) -> None:
    """Nothing said is `off`."""
    assert Policy.from_env({"SIGNATURE_POLICY": text}) is policy


def test_a_mistyped_policy_is_refused() -> None:
    """`required` must not mean `off`."""
    with pytest.raises(SignatureError) as caught:
        Policy.from_env({"SIGNATURE_POLICY": "required"})

    assert caught.value.details == ({"path": "SIGNATURE_POLICY", "message": "must be one of off, warn, require"},)


class Counting:
    """An adapter that counts how often it is asked."""

    runs = 0

    async def run(self, payload: Payload, *, timeout_s: float) -> Envelope:
        """Answer with an envelope."""
        assert payload is not None
        assert timeout_s
        self.runs += 1
        return {"status": "success"}

    async def stream(self, payload: Payload, *, timeout_s: float) -> AsyncGenerator[Event, None]:
        """Answer with the last event alone."""
        yield Event("done", await self.run(payload, timeout_s=timeout_s))


def checked(environ: Mapping[str, str], told: list[bytes]) -> tuple[Counting, SignatureChecked]:
    """Return an adapter behind the check of an image that is not pinned, and the check."""
    inner = Counting()
    return inner, SignatureChecked(inner, None, REF, environ, Journal(told.append))


async def last(adapter: SignatureChecked) -> Envelope:
    """Return what the stream of *adapter* ends in."""
    return [event async for event in adapter.stream({}, timeout_s=1)][-1].data


@pytest.mark.parametrize("streams", [False, True], ids=["run", "stream"])
@pytest.mark.parametrize(("policy", "lines"), [("off", 0), ("warn", 1)])
def test_a_lax_policy_lets_it_run(policy: str, lines: int, *, streams: bool) -> None:
    """And `warn` says what `require` would have refused."""
    told: list[bytes] = []
    inner, adapter = checked({"SIGNATURE_POLICY": policy}, told)

    envelope = asyncio.run(last(adapter) if streams else adapter.run({}, timeout_s=1))

    assert (envelope["status"], inner.runs) == ("success", 1)
    warnings = [json.loads(line) for line in told]
    assert [(line["event"], line["code"]) for line in warnings] == [("adapter.signature", "ERR_SIGNATURE")] * lines


@pytest.mark.parametrize("streams", [False, True], ids=["run", "stream"])
def test_a_strict_policy_starts_nothing(*, streams: bool) -> None:
    """The inner adapter is not even asked."""
    inner, adapter = checked({"SIGNATURE_POLICY": "require"}, [])

    with pytest.raises(SignatureError):
        asyncio.run(last(adapter) if streams else adapter.run({}, timeout_s=1))

    assert inner.runs == 0


def test_nobody_is_trusted_by_default() -> None:
    """`require` without keys refuses every image: there is no key that could have signed it."""
    with pytest.raises(SignatureError, match="signature not accepted"):
        asyncio.run(judge(None, REF, {"SIGNATURE_POLICY": "require"}))

"""Ten thousand requests of every kind, sixty-four at a time: no answer is lost, and memory stays where it was."""

from __future__ import annotations

import asyncio
import json
import random
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import httpx2
import pytest

from tests.contract.slots import with_runtime
from tests.support.callers import HELLO
from tests.support.service import WAIT_S, JsonObject, Service, wait_until

REQUESTS: Final = 10_000
WARM_UP: Final = 2_500
AT_ONCE: Final = 64
GROWTH: Final = 1.1  # of resident memory, between the warm-up and the end


@pytest.fixture(params=["sync", "async"])
def service(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Service]:
    """The fixture with slots and places enough for all who ask at the same time."""
    folder = with_runtime(tmp_path, concurrency=8)
    environ = {"PROCESSOR_MODE": "mock", "PROCESSOR_QUEUE": str(AT_ONCE), "FIXTURE_KIND": request.param}
    with Service(folder, tmp_path / "room", environ) as service:
        yield service


class Soak:
    """One caller of many: what it asks for, and what it has to be answered."""

    def __init__(self, service: Service, client: httpx2.AsyncClient) -> None:
        self.service = service
        self.client = client
        self.seen: Counter[str] = Counter()
        self.ran: list[str] = []  # the ids of those that must have settled in the end, once each
        self._random = random.Random(7)  # noqa: S311 - the same requests each time
        self._settled: list[tuple[JsonObject, bytes]] = []
        self._kinds = [
            *[self.run] * 8,
            *[self.stream] * 4,
            *[self.fail] * 2,
            *[self.replay] * 2,
            self.refuse,
            self.lose,
            self.conflict,
            self.cancel,
            self.time_out,
            self.leave,
        ]

    async def ask(self, number: int) -> None:
        """Ask for something, and fail unless the answer is the one that it has to be."""
        kind = self._random.choice(self._kinds)
        await kind(f"soak-{number}")
        self.seen[kind.__name__] += 1

    def payload(self, execution_id: str, *do: list[Any], **changes: object) -> JsonObject:
        """Return a request for these steps."""
        inputs = {"schema": "v1", "params": {"do": list(do)}}
        return self.service.payload(execution_id=execution_id, inputs=inputs, **changes)

    async def run(self, execution_id: str) -> None:
        """A run with outputs: 200."""
        size = self._random.choice([0, 100, 100_000])
        payload = self.payload(execution_id, ["token", "x"], ["write_size", "outputs/blob.bin", size], HELLO)
        answer = await self.client.post("/run", json=payload)
        assert (answer.status_code, answer.json()["execution_id"]) == (200, execution_id), answer.text
        assert "idempotent-replayed" not in answer.headers
        self.ran.append(execution_id)
        if len(self._settled) < 200:
            self._settled.append((payload, answer.content))

    async def stream(self, execution_id: str) -> None:
        """A stream: 200, all of the text, and one `done`."""
        payload = self.payload(execution_id, ["tokens", 50], ["progress", 0.5, "x"], HELLO)
        async with self.client.stream("POST", "/run-stream", json=payload) as response:
            assert response.status_code == 200
            events = [(event.event, json.loads(event.data)) async for event in httpx2.EventSource(response)]
        assert "".join(data["text"] for name, data in events if name == "token") == "".join(f"{n} " for n in range(50))
        assert [data["status"] for name, data in events if name == "done"] == ["success"]
        self.ran.append(execution_id)

    async def fail(self, execution_id: str) -> None:
        """A handler that fails: 500."""
        answer = await self.client.post("/run", json=self.payload(execution_id, ["raise", "ValueError", "x"]))
        assert (answer.status_code, answer.json()["error"]["code"]) == (500, "ERR_RUNTIME")
        self.ran.append(execution_id)

    async def replay(self, execution_id: str) -> None:
        """A run that has settled: the same bytes again."""
        if not self._settled:
            await self.run(execution_id)
            return
        payload, content = self._random.choice(self._settled)
        answer = await self.client.post("/run", json=payload)
        assert (answer.status_code, answer.content) == (200, content)
        assert answer.headers["idempotent-replayed"] == "true"

    async def refuse(self, execution_id: str) -> None:
        """A request that breaks a rule: 400."""
        answer = await self.client.post("/run", json=self.payload(execution_id, HELLO, mode="dream"))
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "ERR_MODE_INVALID")

    async def lose(self, execution_id: str) -> None:
        """A route that is none: 404."""
        answer = await self.client.get(f"/nowhere/{execution_id}")
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "ERR_NOT_FOUND")

    async def conflict(self, execution_id: str) -> None:
        """Something else under a settled prefix: 409."""
        if not self._settled:
            await self.run(execution_id)
            return
        payload, _ = self._random.choice(self._settled)
        other = payload | {"inputs": self.payload("x", ["token", execution_id])["inputs"]}
        answer = await self.client.post("/run", json=other)
        assert (answer.status_code, answer.json()["error"]["code"]) == (409, "ERR_EXECUTION_CONFLICT")

    async def cancel(self, execution_id: str) -> None:
        """A run that is cancelled while it waits: 202 and 499."""
        held = "await_until" if self.service.environ["FIXTURE_KIND"] == "async" else "check_until"
        asked = asyncio.create_task(self.client.post("/run", json=self.payload(execution_id, [held, execution_id])))
        while (await self.client.delete(f"/run/{execution_id}")).status_code != 202:
            assert not asked.done()
            await asyncio.sleep(0.01)
        answer = await asked
        assert (answer.status_code, answer.json()["error"]["code"]) == (499, "ERR_CANCELLED")
        self.ran.append(execution_id)

    async def time_out(self, execution_id: str) -> None:
        """A run past its deadline: 504; or 429, where it waited longer for a slot."""
        held = "await_until" if self.service.environ["FIXTURE_KIND"] == "async" else "check_until"
        payload = self.payload(execution_id, [held, execution_id], timeout_s=0.2)
        answer = await self.client.post("/run", json=payload)
        assert (answer.status_code, answer.json()["error"]["code"]) in {(504, "ERR_TIMEOUT"), (429, "ERR_BUSY")}
        if answer.status_code == 504:
            self.ran.append(execution_id)

    async def leave(self, execution_id: str) -> None:
        """A stream whose reader goes away at the first word: it is cancelled, and its slot free again."""
        held = "await_until" if self.service.environ["FIXTURE_KIND"] == "async" else "check_until"
        payload = self.payload(execution_id, ["token", "x"], [held, execution_id])
        async with self.client.stream("POST", "/run-stream", json=payload) as response:
            assert response.status_code == 200
            async for event in httpx2.EventSource(response):
                if event.event == "token":
                    break
        self.ran.append(execution_id)


def resident_bytes(service: Service) -> int:
    """Return how much memory the service's process holds."""
    status = Path(f"/proc/{service.process.pid}/status").read_text("ascii")
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    assert found
    return int(found[1]) * 1024


@pytest.mark.slow
def test_ten_thousand_requests_lose_no_answer_and_no_memory(
    service: Service, record_property: Callable[[str, object], None], capsys: pytest.CaptureFixture[str]
) -> None:
    """Each is answered once and with what it has to be answered; the process is no larger after than before."""
    began = time.monotonic()

    async def soak() -> tuple[Soak, int, int]:
        limits = httpx2.Limits(max_connections=None, max_keepalive_connections=AT_ONCE)
        address = f"http://127.0.0.1:{service.port}"
        async with httpx2.AsyncClient(base_url=address, timeout=WAIT_S, trust_env=False, limits=limits) as client:
            caller = Soak(service, client)
            numbers = iter(range(REQUESTS))
            after_warm_up = 0

            async def keep_asking() -> None:
                nonlocal after_warm_up
                for number in numbers:
                    if number == WARM_UP:
                        after_warm_up = resident_bytes(service)
                    await caller.ask(number)

            async with asyncio.TaskGroup() as tasks:
                for _ in range(AT_ONCE):
                    tasks.create_task(keep_asking())
            return caller, after_warm_up, resident_bytes(service)

    caller, after_warm_up, at_the_end = asyncio.run(soak())

    took_s = time.monotonic() - began
    with capsys.disabled():
        print(  # noqa: T201 - what a soak is for
            f"\n{REQUESTS} requests, {AT_ONCE} at a time: {took_s:.1f} s, "
            f"{after_warm_up / 2**20:.1f} MiB after {WARM_UP}, {at_the_end / 2**20:.1f} MiB at the end, "
            f"{dict(caller.seen)}"
        )
    record_property("rss_after_warm_up", after_warm_up)
    record_property("rss_at_the_end", at_the_end)
    assert caller.seen.total() == REQUESTS
    assert at_the_end <= after_warm_up * GROWTH
    assert service.health() == {"ok": True}
    assert took_s < 120
    wait_until(lambda: len(settled(service)) >= len(caller.ran), lambda: "the runs without a reader to settle")
    assert sorted(settled(service)) == sorted(caller.ran)


def settled(service: Service) -> list[str]:
    """Return the ids of the runs that have settled, as often as they did."""
    return [line["execution_id"] for line in service.lines(event="http.run.settle")]

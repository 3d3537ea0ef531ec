"""Reading `/run-stream` event by event, and judging what came (§6)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Self

import httpx2

from processor_runtime.schemas import validator
from tests.support.service import JsonObject, Service

NAMES: Final = {"progress", "token", "log", "output", "done"}


@dataclass(frozen=True, slots=True)
class Event:
    """One event as it was sent."""

    id: str
    name: str
    data: JsonObject


class Stream:
    """The events in *response*, each taken when it is asked for."""

    def __init__(self, response: httpx2.Response) -> None:
        self.response = response
        self._events = _read(response)

    @classmethod
    @contextmanager
    def opened(cls, service: Service, payload: object, headers: Mapping[str, str] | None = None) -> Iterator[Self]:
        """Open `/run-stream` with *payload*; leaving the `with` closes the connection, read to the end or not."""
        with service.http.stream("POST", "/run-stream", json=payload, headers=headers) as response:
            if response.status_code != httpx2.codes.OK:
                response.read()
            yield cls(response)

    def until(self, name: str, **fields: object) -> Event:
        """Return the next event of this *name* whose data has these *fields*, and forget those before it."""
        for event in self._events:
            if event.name == name and fields.items() <= event.data.items():
                return event
        raise AssertionError(f"the stream ended without {name} {fields}")

    def rest(self) -> list[Event]:
        """Return all events that are still to come."""
        return list(self._events)

    def checked(self, execution_id: str) -> list[Event]:
        """Return all events of a stream of which none was taken; fails unless the contract has them so."""
        assert self.response.status_code == httpx2.codes.OK, self.response.text
        assert self.response.headers["content-type"].partition(";")[0] == "text/event-stream"
        events = self.rest()
        check_events(events, execution_id)
        return events


def check_events(events: Sequence[Event], execution_id: str) -> None:
    """Fail unless *events* are those of a whole stream: numbered from 1, of known form, and `done` last and once."""
    assert [event.id for event in events] == [str(number) for number in range(1, len(events) + 1)]
    judge = validator("event")
    for event in events:
        assert event.name in NAMES, event
        assert [error.message for error in judge.iter_errors({"event": event.name, "data": event.data})] == [], event
        assert event.data["execution_id"] == execution_id, event
    assert [event.name for event in events].count("done") == 1
    assert events[-1].name == "done"
    assert [error.message for error in validator("envelope").iter_errors(events[-1].data)] == []


def parsed_stream(headers: Mapping[str, str], body: bytes) -> Stream:
    """Return the stream that was received as *body*."""
    request = httpx2.Request("POST", "http://127.0.0.1/run-stream")
    return Stream(httpx2.Response(200, headers=dict(headers), content=body, request=request))


def texts(events: Sequence[Event]) -> str:
    """Return what the tokens among *events* say together."""
    return "".join(event.data["text"] for event in events if event.name == "token")


def _read(response: httpx2.Response) -> Iterator[Event]:
    for event in httpx2.EventSource(response, max_event_size=None):
        data = json.loads(event.data)
        assert isinstance(data, dict), event
        yield Event(event.id, event.event, data)

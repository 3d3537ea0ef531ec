"""Server-Sent Events as they were sent, read strictly: the kit judges them, so it repairs nothing."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Event:
    """One event. *data* is the parsed JSON, ``None`` where it is none; *id* and *name* are ``""`` where absent."""

    id: str
    name: str
    text: str
    data: Any


@dataclass
class Told:
    """What a stream has told so far.

    Attributes:
        events: In the order in which they came.
        comments: When each comment line came, in seconds of the monotonic clock.
        rest: What came after the last complete event.
    """

    events: list[Event] = field(default_factory=list)
    comments: list[float] = field(default_factory=list)
    rest: bytes = b""

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes."""
        *lines, self.rest = (self.rest + chunk).replace(b"\r\n", b"\n").split(b"\n\n")
        for block in lines:
            self._block(block.decode(errors="replace"))

    def _block(self, block: str) -> None:
        fields: dict[str, list[str]] = {}
        for line in block.split("\n"):
            if line.startswith(":"):
                self.comments.append(time.monotonic())
            elif line:
                name, _, value = line.partition(":")
                fields.setdefault(name, []).append(value.removeprefix(" "))
        if not fields:
            return
        text = "\n".join(fields.get("data", []))
        try:
            data = json.loads(text)
        except ValueError:
            data = None
        self.events.append(Event("".join(fields.get("id", [])), "".join(fields.get("event", [])), text, data))

    def named(self, name: str) -> list[Event]:
        """Return the events of one name."""
        return [event for event in self.events if event.name == name]

    @property
    def done(self) -> dict[str, Any]:
        """The envelope in the last event, empty where the last event is not `done`."""
        last = self.events[-1] if self.events else None
        return last.data if last is not None and last.name == "done" and isinstance(last.data, dict) else {}

"""One line at a terminal that says what is being done; warnings and errors stay above it."""

from types import TracebackType
from typing import Any, Final, Self

import orjson
from rich.console import Console
from rich.text import Text

_SAID_IN_WORDS: Final = {
    "execution.start": "starting",
    "adapter.environment.wait": "waiting for another run to build the environment",
    "adapter.environment.build": "building the environment, about a minute the first time",
    "adapter.process.start": "starting the processor",
    "adapter.process.healthy": "running",
    "http.run.start": "running",
    "http.run.settle": "checking the outputs",
}
_LOUD: Final = frozenset({"warning", "error"})


class ProgressLine:
    """Takes a journal's lines, and shows the last one as one line of text; use it in a `with` block."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True, highlight=False)
        self._status = self._console.status("starting")

    def __enter__(self) -> Self:
        self._status.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._status.stop()

    def tell(self, line: bytes) -> None:
        """Show one NDJSON *line*."""
        record: dict[str, Any] = orjson.loads(line)
        if record.get("level") in _LOUD:
            self._console.print(Text(line.decode()), soft_wrap=True)
        elif words := said(record):
            self._status.update(Text(words, no_wrap=True, overflow="ellipsis"))


def said(record: dict[str, Any]) -> str:
    """Return in words what *record* tells, or ``""`` where it is nothing to a person."""
    event = str(record.get("event", ""))
    if event.startswith(("handler.", "adapter.environment.uv")):
        return " ".join(filter(None, [event.removeprefix("adapter.environment."), str(record.get("message", ""))]))
    return _SAID_IN_WORDS.get(event, "")

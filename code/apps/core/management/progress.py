"""What a terminal shows while a run goes on: one line, or its stream; warnings and errors stay above it."""

from types import TracebackType
from typing import Any, Final, Self

import orjson
from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn
from rich.text import Text

from apps.core.adapters.base import Event

_SAID_IN_WORDS: Final = {
    "execution.start": "starting",
    "adapter.environment.wait": "waiting for another run to build the environment",
    "adapter.environment.build": "building the environment, about a minute the first time",
    "adapter.process.start": "starting the processor",
    "adapter.process.healthy": "running",
    "adapter.local.pull": "pulling the image",
    "adapter.local.build": "building the image, a minute or so the first time",
    "adapter.local.start": "starting the container",
    "adapter.local.warm": "joining a warm container",
    "adapter.local.healthy": "running",
    "adapter.local.stop": "stopping the container",
    "adapter.local.dev": "up, and waiting for the source to change: Ctrl-C ends it",
    "adapter.local.changed": "the source changed",
    "adapter.modal.resolve": "asking Modal",
    "adapter.modal.upload": "attachments uploaded, asking Modal",
    "adapter.modal.collect": "collecting a result that was left waiting",
    "adapter.modal.wait": "running on Modal",
    "modalctl.deploy": "deploying: Modal pulls the image",
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
            self._say(words)

    def _say(self, text: str) -> None:
        self._status.update(Text(text, no_wrap=True, overflow="ellipsis"))


def said(record: dict[str, Any]) -> str:
    """Return in words what *record* tells, or ``""`` where it is nothing to a person."""
    event = str(record.get("event", ""))
    if event.startswith("image."):
        return str(record.get("message", ""))
    if event.startswith(("handler.", "adapter.environment.uv")):
        return " ".join(filter(None, [event.removeprefix("adapter.environment."), str(record.get("message", ""))]))
    return _SAID_IN_WORDS.get(event, "")


class LiveStream(ProgressLine):
    """Shows a run's events too: tokens as text, progress as a bar, each output as it appears."""

    def __init__(self, console: Console | None = None) -> None:
        super().__init__(console)
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TaskProgressColumn(),
            console=self._console,
            transient=True,
        )
        self._task = self._bar.add_task("starting", total=None)
        self._text = ""
        self._live = Live(console=self._console, transient=True, get_renderable=self._picture)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()
        if self._text:
            self._console.print(Text(self._text))

    def show(self, event: Event) -> None:
        """Show one *event* of the stream."""
        data = event.data
        if event.name == "token":
            # finished lines stay; only the last one is drawn again and again
            *lines, self._text = (self._text + data["text"]).split("\n")
            for line in lines:
                self._console.print(Text(line))
        elif event.name == "progress":
            fraction = data["fraction"]
            self._bar.update(
                self._task,
                description=data["message"],
                total=None if fraction is None else 1.0,
                completed=fraction or 0,
            )
        elif event.name == "output":
            self._console.print(Text(f"wrote {data['path']}", "dim"))

    def _say(self, text: str) -> None:
        self._bar.update(self._task, description=text)

    def _picture(self) -> Group:
        return Group(*([Text(self._text)] if self._text else []), self._bar)

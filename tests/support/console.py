"""The commands of README and docs: which there are, what their parsers say, and which of them run as written."""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from scripts.reference import commands as parsers

ROOT: Final = Path(__file__).resolve().parents[2]

# What a command needs beyond a test host, by program or by the command of manage.py. One that is in neither table runs.
NEEDS: Final[Mapping[str, str]] = {
    "make": "a target is what CI calls; the one that is running now would call itself",
    "localctl": "needs Docker Engine and a built image; tests/integration runs it where there is one",
    "attestctl": "needs an image registry and a key; tests/acceptance/test_lanes.py has both",
    "git": "is about branches that lanes make",
    "processorctl": "needs Docker Engine and an image registry; tests/acceptance/test_lanes.py has both",
    "modalctl": "needs a Modal account; tests/acceptance/test_lanes.py runs it against a local one",
    "--adapter local": "needs Docker Engine and a built image; tests/integration runs it where there is one",
    "--adapter modal": "needs a Modal account; the lanes run it against a local one",
    "processor_conformance": "takes a minute; tests/contract runs it against every processor",
}
RUNS: Final = frozenset({"cd", "curl", "export", "run_processor", "scaffold_processor", "source", "uvicorn"})

# What a reader puts in for himself. A command that is only parsed is parsed with these.
EXAMPLES: Final[Mapping[str, str]] = {
    "REF": "llm/chat@1",
    "DIGEST": f"sha256:{'0' * 64}",
    "LANE": "prod",
    "VERSION": "v3",
    "IMAGE": f"ghcr.io/owner/llm_chat@sha256:{'0' * 64}",
}


class UnreadableError(Exception):
    """A command of the docs that its own parser refuses, or that nobody has judged; the message says which and why."""


@dataclass(frozen=True, slots=True)
class Command:
    """One command of a `console` block: its page, line and text, continuation lines included, and its block's line."""

    page: str
    line: int
    text: str
    block: int = 0

    @property
    def place(self) -> str:
        """Where to look, as editors open it."""
        return f"{self.page}:{self.line}"

    def parts(self) -> list[list[str]]:
        """Return the words of each simple command in it: what stands between `&&`, `|` and `;`, without settings.

        Raises:
            ValueError: a quotation that nothing closes.
        """
        # what `$(…)` answers is one word, or part of one
        text = re.sub(r"\$\([^()]*\)", "answer", self.text.replace("\\\n", " "))
        lexer = shlex.shlex(text, posix=True, punctuation_chars="&|;<>")
        lexer.whitespace_split = True
        simple: list[list[str]] = [[]]
        for word in lexer:
            if set(word) <= set("&|;"):
                simple.append([])
            elif simple[-1] or not re.match(r"[A-Z_]+=", word):
                simple[-1].append(word)
        return [words for words in simple if words]


def pages(root: Path = ROOT) -> list[Path]:
    """Return every page whose commands are promised to work."""
    return [root / "README.md", root / "CONTRIBUTING.md", *sorted((root / "docs").rglob("*.md"))]


def collect(page: Path, root: Path = ROOT) -> Iterator[Command]:
    """Yield the commands of *page*'s `console` blocks in order; lines without a prompt are what they answer."""
    block, began, lines = 0, 0, list[str]()
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), start=1):
        if line.startswith("```"):
            block = number if line.rstrip() == "```console" else 0
            continue
        if not block:
            continue
        if not lines and line.startswith("$ "):
            began, lines = number, [line.removeprefix("$ ")]
        elif lines:
            lines.append(line)
        if lines and _whole(command := Command(page.relative_to(root).as_posix(), began, "\n".join(lines), block)):
            yield command
            lines = []
    if lines:
        raise UnreadableError(f"{page.name}:{began}: this command never ends")


def _whole(command: Command) -> bool:
    if command.text.endswith("\\"):
        return False
    try:
        command.parts()
    except ValueError:
        return False  # inside a quotation
    return True


def is_server(command: Command) -> bool:
    """Return whether *command* goes on until it is ended: what stands in its block has a shell of its own."""
    return any(_program(words)[0] == "uvicorn" for words in command.parts())


def why_not_run(command: Command) -> str | None:
    """Return the reason why *command* is only parsed, or None where it runs as it is written.

    Raises:
        UnreadableError: one of its programs is in neither table.
    """
    reasons = []
    for words in command.parts():
        name, rest = _program(words)
        adapter = f"--adapter {_after('--adapter', rest, 'local')}"
        reason = NEEDS.get(adapter) if name == "run_processor" else NEEDS.get(name)
        if reason is None and name not in RUNS:
            raise UnreadableError(f"{command.place}: say in tests/support/console.py whether `{name}` runs")
        reasons.append(reason)
    return next((reason for reason in reasons if reason), None)


def parse(command: Command, environ: Mapping[str, str] = EXAMPLES) -> None:
    """Hold every part of *command* against the parser of its program, or the Makefile's targets.

    Raises:
        UnreadableError: a target, command, option or value that does not exist, or a variable without an example.
    """
    known = parsers()
    for words in command.parts():
        name, rest = _program(words)
        if name == "make":
            targets = {word for word in rest if re.fullmatch(r"[a-z][a-z-]*", word)}
            if missing := targets - make_targets():
                raise UnreadableError(f"{command.place}: no target {', '.join(sorted(missing))}")
            continue
        parser = known.get(f"python manage.py {name}") or known.get(f"python -m {name}")
        if parser is not None:
            _parse(parser, [_filled(word, environ, command) for word in rest], command)
        elif Path(words[0]).name.startswith("python"):
            raise UnreadableError(f"{command.place}: no command {name}")


def make_targets(root: Path = ROOT) -> set[str]:
    """Return what may be called as `make <target>`."""
    return set(re.findall(r"(?m)^([a-z][a-z-]*):", (root / "Makefile").read_text(encoding="utf-8")))


def _program(words: list[str]) -> tuple[str, list[str]]:
    """Return what *words* call, `manage.py x` as x and `python -m x` as x, and its arguments."""
    for at, word in enumerate(words[:-1]):
        if Path(word).name == "manage.py" or (word == "-m" and at):
            return words[at + 1], words[at + 2 :]
    return Path(words[0]).name, words[1:]


def _parse(parser: argparse.ArgumentParser, words: list[str], command: Command) -> None:
    complaints: list[str] = []

    def error(message: str) -> None:
        complaints.append(message)
        raise UnreadableError(f"{command.place}: {message}")

    each = [parser]
    while each:
        one = each.pop()
        one.error = error  # type: ignore[method-assign,assignment]  # the real one prints the usage and ends the process
        for action in one._actions:
            if isinstance(action, argparse._SubParsersAction):
                each += action.choices.values()
    until = next((at for at, word in enumerate(words) if set(word) <= set("<>")), len(words))
    parser.parse_args(words[:until])


def _filled(word: str, environ: Mapping[str, str], command: Command) -> str:
    missing = [name for name in re.findall(r"\$\{?([A-Z_]+)", word) if name not in environ]
    if missing:
        raise UnreadableError(f"{command.place}: ${missing[0]} has no example in tests/support/console.py")
    return re.sub(r"\$\{?([A-Z_]+)\}?", lambda found: environ[found[1]], word)


def _after(option: str, words: list[str], default: str) -> str:
    for word, following in zip(words, [*words[1:], ""], strict=True):
        if word == option:
            return following
        if word.startswith(f"{option}="):
            return word.partition("=")[2]
    return default

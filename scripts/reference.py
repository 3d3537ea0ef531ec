"""Reference pages that are made from parsers and schemas; `scripts.generate` writes them."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import django
from django.core.management import get_commands, load_command_class

from processor_conformance import cli as kit

ROOT = Path(__file__).resolve().parents[1]
OUR_APP = "apps.core"


def commands() -> dict[str, argparse.ArgumentParser]:
    """Return the parser of every command line of ours by how it is called: all of `manage.py`, and the kit."""
    if str(ROOT / "code") not in sys.path:
        sys.path.insert(0, str(ROOT / "code"))  # where `apps` and `backend` lie
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "backend.settings.test")
    django.setup()
    names = sorted(name for name, app in get_commands().items() if app == OUR_APP)
    parsers = {
        f"python manage.py {name}": load_command_class(OUR_APP, name).create_parser("manage.py", name) for name in names
    }
    return {**parsers, kit.PROGRAM: kit.parser()}


def command_page() -> dict[str, str]:
    """Return the page of every command and option, the same with every version of Python."""
    lines = [
        "# Commands",
        "",
        "Generated from the parsers by `make generate`: what `--help` prints, on one page. `manage.py` lies in the",
        "folder `code`. An option in bold is required.",
        "",
    ]
    for call, parser in commands().items():
        lines += _section(call, parser, level=2)
    return {"docs/reference/cli.md": "\n".join(lines).rstrip("\n") + "\n"}


def _section(call: str, parser: argparse.ArgumentParser, level: int) -> list[str]:
    lines = [f"{'#' * level} `{call}`", ""]
    if parser.description:
        lines += [" ".join(parser.description.split()), ""]
    subcommands = {}
    options = []
    for action in parser._actions:  # noqa: SLF001 - argparse has no public way to ask what a parser takes
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001 - the same
            subcommands = dict(action.choices)
        elif not isinstance(action, argparse._HelpAction) and action.help != argparse.SUPPRESS:  # noqa: SLF001 - the same
            options.append(_option(action, parser))
    lines += [*options, ""] if options else []
    if parser.epilog:
        lines += ["```text", parser.epilog.strip("\n"), "```", ""]
    for name, subparser in subcommands.items():
        lines += _section(f"{call} {name}", subparser, level + 1)
    return lines


def _option(action: argparse.Action, parser: argparse.ArgumentParser) -> str:
    names = ", ".join(action.option_strings)
    value = " ".join(_values(action))
    shown = f"`{' '.join(part for part in (names, value) if part)}`"
    if action.required and action.option_strings:
        shown = f"**{shown}**"
    notes = [
        " ".join(_expanded(action, parser).split()),
        *_rivalries(action, parser),
    ]
    return f"- {shown}: {'. '.join(note for note in notes if note)}".rstrip(": ")


def _values(action: argparse.Action) -> Iterator[str]:
    if action.nargs == 0:
        return
    name = action.metavar or ("|".join(map(str, action.choices)) if action.choices else action.dest.upper())
    text = " ".join(name) if isinstance(name, tuple) else name
    form = {"?": f"[{text}]", "*": f"[{text} …]", "+": f"{text} …"}
    yield form.get(str(action.nargs), text)


def _rivalries(action: argparse.Action, parser: argparse.ArgumentParser) -> Iterator[str]:
    for group in parser._mutually_exclusive_groups:  # noqa: SLF001 - as above
        members = group._group_actions  # noqa: SLF001 - as above
        if action in members:
            names = [f"`{other.option_strings[0]}`" for other in members if other is not action]
            yield f"This or {' or '.join(names)} is required" if group.required else f"Not with {', '.join(names)}"


def _expanded(action: argparse.Action, parser: argparse.ArgumentParser) -> str:
    """Return the help text with its `%(default)s` and the like filled in, as argparse itself does it."""
    words = {name: value for name, value in vars(action).items() if value is not argparse.SUPPRESS}
    if action.choices is not None:
        words["choices"] = ", ".join(map(str, action.choices))
    return (action.help or "") % {**words, "prog": parser.prog}


def schema_page() -> dict[str, str]:
    """Return the page that names every JSON Schema of the contract and links to it."""
    rows = []
    folder = resources.files("processor_runtime") / "schemas"
    for file in sorted(folder.iterdir(), key=lambda file: file.name):
        if not file.name.endswith(".json"):
            continue
        schema = json.loads(file.read_text(encoding="utf-8"))
        rows.append(f"| [{file.name}](../contract/{file.name}) | `{schema['$id']}` | {schema['title']} |")
    page = [
        "# Schemas",
        "",
        "Generated by `make generate`. The wheel `processor-runtime` ships the same files in",
        "`processor_runtime/schemas/`; a running service tells its own part at `GET /contract`.",
        "",
        "| schema | id | describes |",
        "| --- | --- | --- |",
        *rows,
    ]
    return {"docs/reference/schemas.md": "\n".join(page) + "\n"}

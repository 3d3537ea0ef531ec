"""Every command of README and docs is one that its real parser takes, and is either run or named with its reason."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from scripts.reference import commands as parsers
from tests.support import console
from tests.support.console import Command, UnreadableError

ALL = [command for page in console.pages() for command in console.collect(page)]


@pytest.mark.parametrize("command", [pytest.param(each, id=each.place) for each in ALL])
def test_a_command_of_the_docs_parses(command: Command) -> None:
    """Its target, command, options and values exist, whether it is run elsewhere or not."""
    console.parse(command)


def test_each_is_run_or_has_its_reason() -> None:
    """tests/acceptance/test_docs_commands.py runs the ones without a reason; there are some of both."""
    reasons = {each.place: console.why_not_run(each) for each in ALL}

    assert [place for place, reason in reasons.items() if reason is None]
    assert {reason for reason in reasons.values() if reason} <= set(console.NEEDS.values())


def test_a_command_hides_in_no_other_kind_of_block() -> None:
    """`sh` or `bash` would be collected by nobody."""
    blocks = {page: re.findall(r"(?m)^```(\w+)", page.read_text(encoding="utf-8")) for page in console.pages()}

    assert {page.name: kinds for page, kinds in blocks.items() if {"sh", "bash", "shell"} & set(kinds)} == {}


def test_the_examples_of_every_help_parse() -> None:
    """What the end of a help text offers to paste, the same parser takes."""
    seen = 0
    for call, parser in parsers().items():
        text = (parser.epilog or "").replace("\\\n", " ")
        for line in re.findall(r"(?m)^\s*((?:\w+=\S+ )*python (?:manage\.py|-m) .*)$", text):
            console.parse(Command(f"{call} --help", 1, line.replace("…", "0" * 64)))
            seen += 1

    assert seen >= len(parsers())


WRONG = [
    pytest.param("make no-such-target", "no target no-such-target", id="target"),
    pytest.param("python manage.py no_such_command", "no command no_such_command", id="command"),
    pytest.param("cd code && python manage.py run_processor --reff x", "--ref", id="option"),
    pytest.param("python manage.py run_processor --ref a/b@1 --adapter cloud --inputs-json 1", "cloud", id="choice"),
    pytest.param("python manage.py run_processor --ref $NOBODY --inputs-json 1", "$NOBODY has no example", id="name"),
    pytest.param("A=b ../.venv/bin/python -m processor_conformance --no", "--no", id="the kit"),
]


@pytest.mark.parametrize(("text", "complaint"), WRONG)
def test_a_command_that_does_not_parse_is_found(text: str, complaint: str) -> None:
    """With its place and the parser's own reason."""
    with pytest.raises(UnreadableError, match=re.escape(complaint)) as caught:
        console.parse(Command("docs/x.md", 7, text))

    assert str(caught.value).startswith("docs/x.md:7: ")


def test_a_program_that_nobody_judged_is_found() -> None:
    """A new kind of command is neither run nor skipped in silence."""
    with pytest.raises(UnreadableError, match=r"say in tests/support/console\.py whether `rm` runs"):
        console.why_not_run(Command("docs/x.md", 7, "cd code && rm -rf var"))


def test_commands_are_read_as_a_shell_reads_them(tmp_path: Path) -> None:
    """Continuation lines, quotations over lines, comments and answers; blocks of another kind are no commands."""
    page = tmp_path / "page.md"
    page.write_text(
        "```console\n$ make demo    # a comment\nan answer\n$ curl -d '{\n  \"a\": 1}' \\\n    http://x\n```\n"
        "```python\n$ make no\n```\n",
        encoding="utf-8",
    )

    found = [(each.line, each.parts()) for each in console.collect(page, tmp_path)]

    assert found == [(2, [["make", "demo"]]), (4, [["curl", "-d", '{\n  "a": 1}', "http://x"]])]


def test_a_command_that_never_ends_is_found(tmp_path: Path) -> None:
    """A quotation left open swallows what follows: better to say so."""
    page = tmp_path / "page.md"
    page.write_text("```console\n$ echo 'a\n```\n", encoding="utf-8")

    with pytest.raises(UnreadableError, match=r"page\.md:2"):
        list(console.collect(page, tmp_path))

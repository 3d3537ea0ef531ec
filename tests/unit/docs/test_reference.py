"""The reference pages follow the parsers and schemas by themselves."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from scripts import reference

COMMANDS = reference.ROOT / "code" / "apps" / "core" / "management" / "commands"


def test_every_command_has_its_part_of_the_page() -> None:
    """One per module in management/commands, and the kit: a new command cannot be forgotten."""
    (page,) = reference.command_page().values()
    names = {path.stem for path in COMMANDS.glob("*.py") if path.stem != "__init__"}

    assert {"run_processor", "scaffold_processor"} <= names
    assert [name for name in names if f"\n## `python manage.py {name}`\n" not in page] == []
    assert "\n## `python -m processor_conformance`\n" in page


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the page of one made-up command with subcommands."""
    parser = argparse.ArgumentParser(prog="x", description="Do things.", epilog="example:\n  x up --n 2")
    up = parser.add_subparsers().add_parser("up", description="Raise it.")
    up.add_argument("what", nargs="+", metavar="WHAT", help="what to raise")
    up.add_argument("--n", type=int, default=3, metavar="N", help="how often (default: %(default)s)")
    up.add_argument("--hidden", help=argparse.SUPPRESS)
    either = up.add_mutually_exclusive_group(required=True)
    either.add_argument("--a", choices=["b", "c"], help="one of %(choices)s")
    either.add_argument("--d", action="store_true", help="a flag")
    monkeypatch.setattr(reference, "commands", lambda: {"python x": parser})
    (text,) = reference.command_page().values()
    return text


@pytest.mark.parametrize(
    "line",
    [
        "## `python x`",
        "### `python x up`",
        "- `WHAT …`: what to raise",
        "- `--n N`: how often (default: 3)",
        "- `--a b|c`: one of b, c. This or `--d` is required",
        "- `--d`: a flag. This or `--a` is required",
        "  x up --n 2",
    ],
)
def test_the_page_says_what_the_help_says(page: str, line: str) -> None:
    """Subcommands, defaults, choices, rivals and examples."""
    assert line in page.splitlines()


def test_what_the_help_hides_the_page_hides(page: str) -> None:
    """A suppressed option and `--help` itself are not on the page."""
    assert "--hidden" not in page
    assert "--help" not in page.replace("what `--help` prints", "")


def test_every_schema_is_linked() -> None:
    """The page of schemas names each file that lies beside the contract."""
    (text,) = reference.schema_page().values()
    files = sorted(Path(reference.ROOT, "docs", "contract").glob("*.schema.json"))

    assert files
    assert [file.name for file in files if f"(../contract/{file.name})" not in text] == []

"""What every command of ours shares: one line of refusal, examples in help, and status 0, 1 or 2."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from typing import Any

import pytest
from django.core.management.base import CommandParser

from apps.core.management.command import FAILED, WRONG_USAGE, ProcessorCommand, until_signalled
from processor_runtime.errors import Detail, StorageError


class Command(ProcessorCommand):
    """A command with actions."""

    epilog = "examples:\n  manage.py test_command greet --name you\n"

    def add_arguments(self, parser: CommandParser) -> None:
        """Add one action."""
        action = self.actions(parser)
        action("greet", "Greet somebody.", "example:\n  greet --name you\n").add_argument("--name", required=True)

    def handle(self, **options: Any) -> None:
        """Greet by name, and only those who can be greeted."""
        if not options["name"]:
            self.fail("nobody\nto greet")
        self.answer(f"{options['action']}ings, {options['name']}")


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    """Run the command as `manage.py` does."""
    monkeypatch.setattr(sys, "argv", ["manage.py", "test_command", *arguments])
    Command().run_from_argv(sys.argv)


def test_an_action_answers_on_stdout(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Stderr stays empty where there is no story."""
    run(monkeypatch, "greet", "--name", "you")

    assert capsys.readouterr() == ("greetings, you\n", "")


@pytest.mark.parametrize(
    ("arguments", "status", "reason"),
    [
        pytest.param([], WRONG_USAGE, "required: ACTION; see test_command --help", id="no action"),
        pytest.param(["dance"], WRONG_USAGE, "invalid choice: 'dance'", id="unknown action"),
        pytest.param(["greet"], WRONG_USAGE, "required: --name; see test_command --help", id="no option"),
        pytest.param(["greet", "--nam", "you"], WRONG_USAGE, "required: --name", id="abbreviated option"),
        pytest.param(["greet", "--name", ""], FAILED, "nobody to greet", id="not done"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    *,
    status: int,
    reason: str,
) -> None:
    """On stderr, after the command's name, and never with a page of usage."""
    with pytest.raises(SystemExit) as ended:
        run(monkeypatch, *arguments)

    answer, story = capsys.readouterr()
    assert (ended.value.code, answer) == (status, "")
    assert story.startswith("test_command: ")
    assert story.count("\n") == 1
    assert reason in story


def test_with_json_the_refusal_is_ndjson(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    """A program that asked for JSON reads nothing else."""
    with pytest.raises(SystemExit):
        run(monkeypatch, "greet", "--json")

    assert json.loads(capfd.readouterr().err)["event"] == "cli.usage"


@pytest.mark.parametrize("as_json", [True, False], ids=["for a program", "for a person"])
def test_an_error_of_the_contract_is_told_with_its_code(capsys: pytest.CaptureFixture[str], *, as_json: bool) -> None:
    """As one object on stdout, or as some lines on stderr that end in what to do."""
    error = StorageError(Detail(path="/artifacts", message="No space left on device"))

    with pytest.raises(SystemExit) as ended:
        Command().fail_by(error, as_json=as_json)

    answer, story = capsys.readouterr()
    assert ended.value.code == FAILED
    if as_json:
        told = json.loads(answer)["error"]
        assert (told["code"], told["retryable"], story) == ("ERR_STORAGE", True, "")
        assert told["details"] == [{"path": "/artifacts", "message": "No space left on device"}]
    else:
        first, second, third = story.splitlines()
        assert first.endswith("ERR_STORAGE: cannot write artifacts")
        assert second == "  /artifacts: No space left on device"
        assert third.startswith("  Free space")
        assert answer == ""


@pytest.mark.parametrize(
    ("arguments", "example"), [(["--help"], "greet --name you"), (["greet", "--help"], "  greet --name you")]
)
def test_help_ends_with_an_example_as_it_is_written(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], example: str
) -> None:
    """Line breaks are kept, so that it can be pasted."""
    with pytest.raises(SystemExit) as ended:
        run(monkeypatch, *arguments)

    assert ended.value.code == 0
    assert example in capsys.readouterr().out.splitlines()[-1]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_cancels_the_work_and_lets_it_clean_up(number: signal.Signals) -> None:
    """What would end this process ends what it does."""
    cleaned = []

    async def work() -> None:
        try:
            os.kill(os.getpid(), number)
            await asyncio.sleep(60)
        finally:
            cleaned.append(number)

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(until_signalled(work()))
    assert cleaned == [number]


def test_work_that_nothing_disturbs_returns() -> None:
    """Its own result, or its own error."""

    async def work() -> str:
        return "done"

    assert asyncio.run(until_signalled(work())) == "done"

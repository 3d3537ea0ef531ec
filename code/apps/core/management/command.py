"""What our commands share: the form of their parsers, their exit status, and how they say what is wrong.

Nothing but Django is imported before it is needed: `--help` and a mistyped
option should not wait for an HTTP client.
"""

import os
import signal
import sys
from argparse import RawDescriptionHelpFormatter
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, TypeVar

from django.core.management.base import BaseCommand, CommandParser, DjangoHelpFormatter

if TYPE_CHECKING:
    from processor_runtime.errors import ProcessorError

SUCCESS, FAILED, WRONG_USAGE = 0, 1, 2

T = TypeVar("T")
AddAction = Callable[[str, str, str], CommandParser]


class UsageError(Exception):
    """The command line cannot mean anything; the message is one line."""


class HelpFormatter(DjangoHelpFormatter, RawDescriptionHelpFormatter):
    """Django's own options last, and the examples as they are written."""


class ProcessorCommand(BaseCommand):
    """A command that answers on stdout, tells the story on stderr, and ends with 0, 1 or 2.

    Attributes:
        epilog: What `--help` ends with: examples to paste, and the exit status.
    """

    epilog: ClassVar[str] = ""
    requires_system_checks: list[str] = []  # noqa: RUF012  # Django's own form; nothing here has a model or a route
    # they still work; they say nothing about what a command of ours does
    suppressed_base_arguments = {  # noqa: RUF012  # Django's own form
        "--version",
        "--verbosity",
        "--pythonpath",
        "--traceback",
        "--no-color",
        "--force-color",
    }

    @property
    def name(self) -> str:
        """What is typed after `manage.py`."""
        return type(self).__module__.rpartition(".")[2]

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        """Return the parser, with examples that can be pasted and errors of one line."""
        options = {**self._form(self.epilog), **kwargs}
        return self._formed(super().create_parser(prog_name, subcommand, **options))

    def actions(self, parser: CommandParser) -> AddAction:
        """Return what adds an action to *parser*: called with its name, its help and its epilog, it returns a parser.

        `options["action"]` is then the name of the action that was asked for.
        """
        subparsers = parser.add_subparsers(dest="action", required=True, metavar="ACTION", title="actions")

        def add(name: str, text: str, epilog: str) -> CommandParser:
            made = subparsers.add_parser(name, help=text, description=text, **self._form(epilog))
            return self._formed(made)

        return add

    def answer(self, text: str) -> None:
        """Write the answer to stdout; one that nobody can read is no success."""
        try:
            self.stdout.write(text)
            self.stdout.flush()
        except OSError:
            # Nobody reads, or the disk behind stdout is full: the answer is lost, which is no success. What Python
            # would flush at its end goes nowhere, so that it does not complain a second time.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(FAILED)

    def refuse(self, message: str) -> NoReturn:
        """Say in one line why the command line cannot mean anything, and end with status 2.

        Raises:
            SystemExit: always.
        """
        self._say("cli.usage", f"{message}; see {self.name} --help")
        sys.exit(WRONG_USAGE)

    def fail(self, message: str) -> NoReturn:
        """Say in one line what stands in the way, and end with status 1.

        Raises:
            SystemExit: always.
        """
        self._say("cli.error", message)
        sys.exit(FAILED)

    def fail_by(self, error: "ProcessorError", *, as_json: bool) -> NoReturn:
        """Say what went wrong and what to do, as JSON on stdout or in words on stderr, and end with status 1.

        Raises:
            SystemExit: always.
        """
        from processor_runtime.errors import ERRORS  # noqa: PLC0415  # see the module's docstring

        if as_json:
            import json  # noqa: PLC0415  # the same

            details = list(error.details)
            told = {"code": error.code, "message": error.text, "retryable": error.retryable, "details": details}
            self.answer(json.dumps({"status": "error", "error": told}, separators=(",", ":")))
        else:
            lines = [f"{self.name}: {error.code}: {error.text}"]
            lines += [f"  {': '.join(filter(None, (row['path'], row['message'])))}" for row in error.details]
            self.stderr.write("\n".join([*lines, f"  {ERRORS[error.code].next_step}"]))
        sys.exit(FAILED)

    def _say(self, event: str, message: str) -> None:
        text = f"{self.name}: {' '.join(message.split())}"
        if "--json" in sys.argv:
            from apps.core.adapters.journal import Journal  # noqa: PLC0415  # see the module's docstring

            Journal().event(event, level="error", message=text)
        else:
            sys.stderr.write(f"{text}\n")

    def _formed(self, parser: CommandParser) -> CommandParser:
        parser.error = self.refuse  # type: ignore[method-assign]  # argparse would print all of the usage first
        return parser

    @staticmethod
    def _form(epilog: str) -> dict[str, Any]:
        return {"formatter_class": HelpFormatter, "epilog": epilog, "allow_abbrev": False}


async def until_signalled(work: Coroutine[Any, Any, T]) -> T:
    """Return what *work* returns; a signal that would end this process cancels it, so that it can clean up.

    Raises:
        asyncio.CancelledError: there was such a signal, and *work* has ended.
    """
    import asyncio  # noqa: PLC0415  # see the module's docstring

    task = asyncio.ensure_future(work)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    return await task

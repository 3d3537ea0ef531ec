"""`manage.py scaffold_processor`: a new processor, ready to run in mock mode."""

import json
import shlex
import sys
from argparse import RawDescriptionHelpFormatter
from pathlib import Path
from typing import Any, Final, NoReturn

from django.core.management.base import BaseCommand, CommandParser, DjangoHelpFormatter

from apps.core.registry import FILE_NAME, RegistryInvalidError, load_registration
from apps.core.scaffold import FolderExistsError, Plan, PlanError, Scaffolded, Template, scaffold

FAILED, WRONG_USAGE = 1, 2

EXAMPLE: Final = "python manage.py scaffold_processor --ref acme/summary@1 --template llm --memory-gb 2 --timeout-s 120"
EPILOG: Final = f"""\
example, from the folder code/:
  {EXAMPLE}

exit status: 0 made, 1 something is in the way, 2 wrong usage
"""


class HelpFormatter(DjangoHelpFormatter, RawDescriptionHelpFormatter):
    """Django's own options last, and the example as it is written."""


class Command(BaseCommand):
    """Parses options, calls `scaffold`, answers with the new folder and says what to do next."""

    help = "Make a new processor that runs in mock mode as it is: apps/core/processors/{namespace}_{name}."
    requires_system_checks: list[str] = []  # noqa: RUF012  # Django's own form; nothing here has a model or a route
    # they still work; they say nothing about making a processor
    suppressed_base_arguments = {  # noqa: RUF012  # Django's own form
        "--version",
        "--verbosity",
        "--pythonpath",
        "--traceback",
        "--no-color",
        "--force-color",
    }

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        """Return the parser, with an example that can be pasted and errors of one line."""
        options = {"formatter_class": HelpFormatter, "epilog": EPILOG, "allow_abbrev": False, **kwargs}
        parser = super().create_parser(prog_name, subcommand, **options)
        parser.error = _refuse  # type: ignore[method-assign]  # argparse would print all of the usage before the reason
        return parser

    def add_arguments(self, parser: CommandParser) -> None:
        add = parser.add_argument
        add("--ref", required=True, metavar="NS/NAME@VERSION", help="which processor this will be")
        add("--template", default="generic", metavar="|".join(Template), help="what its handler does at first")
        add("--secrets", default="", metavar="A,B", help="environment variables that real mode requires")
        add("--cpu", default="1", metavar="CORES", help="cores, such as 1 or 0.5 (default: 1)")
        add("--memory-gb", metavar="GIB", help="memory in GiB (default: 1)")
        add("--timeout-s", metavar="SECONDS", help="the longest run (default: 600; llm: 120)")
        add("--gpu", metavar="NAME[:COUNT]", help="the GPU it needs, such as A100 or H100:2 (default: none)")
        add("--concurrency", metavar="N", help="runs at the same time in one container (default: 1; llm: 8)")
        add("--force", action="store_true", help="take over a folder that exists; files of your own stay")
        add("--json", action="store_true", help="answer with one JSON object; stderr is NDJSON")

    def handle(self, **options: Any) -> None:
        try:
            made = scaffold(_plan(options), force=options["force"])
        except PlanError as exc:
            _refuse(str(exc))
        except (FolderExistsError, RegistryInvalidError) as exc:
            _fail(str(exc))
        except OSError as exc:
            _fail(f"cannot write the processor: {exc.strerror or exc}")
        if options["json"]:
            self.stdout.write(json.dumps(_answer(made)))
        else:
            self.stdout.write(_shown(made.folder))
            self.stderr.write(_next_steps(made), style_func=str)


def _plan(options: dict[str, Any]) -> Plan:
    names = ("template", "secrets", "cpu", "memory_gb", "timeout_s", "gpu", "concurrency")
    return Plan.parse(options["ref"], **{name: options[name] for name in names})


def _answer(made: Scaffolded) -> dict[str, Any]:
    return {
        "ref": str(made.plan.ref),
        "template": made.plan.template,
        "folder": _shown(made.folder),
        "files": list(made.files),
    }


def _next_steps(made: Scaffolded) -> str:
    """Return what to do with the new processor; the inputs are the example in its own registry file."""
    (inputs,) = load_registration(made.folder).declaration.inputs["examples"]
    asked = shlex.quote(json.dumps(inputs))
    folder = _shown(made.folder)
    return f"""\
made {len(made.files)} files from the template {made.plan.template}. Next:
  python manage.py run_processor --ref {made.plan.ref} --adapter process --inputs-json {asked}
  edit {folder}/app/handler.py, and {folder}/{FILE_NAME} for inputs and outputs
  make check test"""


def _shown(path: Path) -> str:
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def _refuse(message: str) -> NoReturn:
    """Say why the command line cannot mean anything, and end with status 2."""
    _say("cli.usage", f"{message}; see scaffold_processor --help")
    sys.exit(WRONG_USAGE)


def _fail(message: str) -> NoReturn:
    """Say what stands in the way, and end with status 1."""
    _say("cli.error", message)
    sys.exit(FAILED)


def _say(event: str, message: str) -> None:
    text = f"scaffold_processor: {' '.join(message.split())}"
    if "--json" in sys.argv:
        from apps.core.adapters.journal import Journal  # noqa: PLC0415  # only an error needs it

        Journal().event(event, level="error", message=text)
    else:
        sys.stderr.write(f"{text}\n")

"""`manage.py scaffold_processor`: a new processor, ready to run in mock mode."""

import json
import shlex
from argparse import RawDescriptionHelpFormatter
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser, DjangoHelpFormatter

from apps.core.registry import FILE_NAME, RegistryInvalidError, load_registration
from apps.core.scaffold import FolderExistsError, Plan, PlanError, Scaffolded, Template, scaffold

EXAMPLE = "python manage.py scaffold_processor --ref acme/summary@1 --template llm --memory-gb 2 --timeout-s 120"

WRONG_USAGE = 2


class HelpFormatter(DjangoHelpFormatter, RawDescriptionHelpFormatter):
    """Django's own options last, and the example as it is written."""


class Command(BaseCommand):
    """Parses options, calls `scaffold`, and says what to do next."""

    help = "Make a new processor that runs in mock mode as it is: apps/core/processors/{namespace}_{name}."
    requires_system_checks: list[str] = []  # noqa: RUF012  # Django's own form; a broken project must not stop this

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        """Return the parser, with an example that can be pasted."""
        return super().create_parser(
            prog_name,
            subcommand,
            formatter_class=HelpFormatter,
            epilog=f"example:\n  {EXAMPLE}",
            **kwargs,
        )

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
        add("--json", action="store_true", help="answer with one JSON object")

    def handle(self, **options: Any) -> None:
        try:
            plan = Plan.parse(
                options["ref"],
                template=options["template"],
                secrets=options["secrets"],
                cpu=options["cpu"],
                memory_gb=options["memory_gb"],
                timeout_s=options["timeout_s"],
                gpu=options["gpu"],
                concurrency=options["concurrency"],
            )
            made = scaffold(plan, force=options["force"])
        except PlanError as exc:
            raise CommandError(str(exc), returncode=WRONG_USAGE) from exc
        except (FolderExistsError, RegistryInvalidError) as exc:
            raise CommandError(str(exc)) from exc
        except OSError as exc:
            raise CommandError(f"cannot write the processor: {exc.strerror or exc}") from exc
        if options["json"]:
            self.stdout.write(json.dumps(_answer(made)))
        else:
            self.stdout.write(_shown(made.folder))
            self.stderr.write(_next_steps(made), style_func=str)


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
    run = f"python manage.py run_processor --ref {made.plan.ref} --adapter process --inputs-json {asked}"
    folder = _shown(made.folder)
    return f"""\
made {len(made.files)} files from the template {made.plan.template}. Next:
  {run}
  edit {folder}/app/handler.py, and {folder}/{FILE_NAME} for inputs and outputs
  make check test"""


def _shown(path: Path) -> str:
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)

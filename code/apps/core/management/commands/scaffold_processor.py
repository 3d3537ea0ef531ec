"""`manage.py scaffold_processor`: a new processor, ready to run in mock mode."""

import json
import shlex
from pathlib import Path
from typing import Any, Final

from django.core.management.base import CommandParser

from apps.core.management.command import ProcessorCommand
from apps.core.registry import FILE_NAME, RegistryInvalidError, load_registration
from apps.core.scaffold import FolderExistsError, Plan, PlanError, Scaffolded, Template, scaffold

EXAMPLE: Final = "python manage.py scaffold_processor --ref acme/summary@1 --template llm --memory-gb 2 --timeout-s 120"
EPILOG: Final = f"""\
example, from the folder code/:
  {EXAMPLE}

exit status: 0 made, 1 something is in the way, 2 wrong usage
"""


class Command(ProcessorCommand):
    """Parses options, calls `scaffold`, answers with the new folder and says what to do next."""

    help = "Make a new processor that runs in mock mode as it is: apps/core/processors/{namespace}_{name}."
    epilog = EPILOG

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
            self.refuse(str(exc))
        except (FolderExistsError, RegistryInvalidError) as exc:
            self.fail(str(exc))
        except OSError as exc:
            self.fail(f"cannot write the processor: {exc.strerror or exc}")
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
  make -C .. check test"""


def _shown(path: Path) -> str:
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)

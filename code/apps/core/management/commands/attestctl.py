"""`manage.py attestctl`: sign what is known of a pinned image, and prove what is signed.

Little is imported before it is needed, as in `run_processor`.
"""

import json
import sys
from typing import TYPE_CHECKING, Any, Final

from django.core.management.base import CommandParser

from apps.core.management.command import FAILED, ProcessorCommand, until_signalled

if TYPE_CHECKING:
    from apps.core.management.attestation_rows import Row

PLATFORMS: Final = ("amd64", "arm64")
EPILOG: Final = """\
examples, from the folder code/:
  python manage.py attestctl sign --all
  python manage.py attestctl verify --ref llm/chat@1 --json

environment: SIGNING_KEY is the private key as PEM, or its path; SIGNATURE_KEYS the trusted public keys:
PEM blocks, or paths separated by colons. Neither is ever printed.
exit status: 0 all of it is attested, 1 some of it is not, and it is said why; 2 wrong usage
"""
ACTIONS: Final = {
    "sign": "Attest how each pinned image was built and what is in it, unless this key has.",
    "verify": "Prove that a trusted key attests both of each pinned image.",
}


class Command(ProcessorCommand):
    """Parses options, looks at every pinned image that is asked for, and answers with one row for each."""

    help = "Sign what is known of pinned images, and prove what is signed."
    epilog = EPILOG

    def add_arguments(self, parser: CommandParser) -> None:
        add = self.actions(parser)
        for name, text in ACTIONS.items():
            action = add(name, text, f"example, from the folder code/:\n  python manage.py attestctl {name} --all\n")
            which = action.add_mutually_exclusive_group(required=True)
            which.add_argument("--ref", action="append", metavar="NS/NAME@VERSION", help="which processor; repeatable")
            which.add_argument("--all", action="store_true", help="every processor that there is")
            platforms = "for which; repeatable (default: all that are pinned)"
            action.add_argument("--platform", action="append", choices=PLATFORMS, help=platforms)
            action.add_argument("--json", action="store_true", help="stdout is one line of JSON; stderr is NDJSON")

    def handle(self, **options: Any) -> None:
        import asyncio  # noqa: PLC0415  # see the module's docstring

        from apps.core.host import Host  # noqa: PLC0415  # the same
        from apps.core.management.attestation_rows import rows  # noqa: PLC0415  # the same

        refs, platforms = tuple(options["ref"] or ()), tuple(options["platform"] or ())
        try:
            made = asyncio.run(until_signalled(rows(options["action"], refs, platforms, Host.here())))
        except (asyncio.CancelledError, KeyboardInterrupt):
            self.fail("cancelled")
        if options["json"]:
            self.answer(json.dumps({"images": [row.as_json() for row in made]}, separators=(",", ":")))
        else:
            self.answer(_text(made))
        if any(row.error for row in made):
            sys.exit(FAILED)


def _text(rows: "list[Row]") -> str:
    return "\n".join(line for row in rows for line in row.lines())

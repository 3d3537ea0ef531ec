"""`manage.py modalctl`: deploy processors to Modal, prove what runs there, and operate them.

Little is imported before it is needed: `--help`, a mistyped option and a plan
should not wait for Modal's SDK.
"""

import json
import sys
from argparse import ArgumentTypeError
from typing import TYPE_CHECKING, Any, Final

from django.core.management.base import CommandParser

from apps.core.management.command import FAILED, ProcessorCommand, until_signalled

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import modal

    from apps.core.adapters.journal import Journal
    from apps.core.deployments.actions import Outcome, Site
    from apps.core.deployments.plan import Plan
    from apps.core.host import Host
    from apps.core.registry import Registration

DEPLOY_S: Final = 1800
LINES: Final = 100
REGISTRY_SECRET: Final = "MODAL_REGISTRY_SECRET"  # noqa: S105  # the name of a variable

EXAMPLES: Final = """\
examples, from the folder code/:
  python manage.py modalctl deploy --ref llm/chat@1 --env dev --dry-run
  python manage.py modalctl secrets sync --env dev --ref llm/chat@1
  python manage.py modalctl verify --ref llm/chat@1 --env prod --json

exit status: 0 success, 1 failed, or not what it should be, 2 wrong usage
"""


class Command(ProcessorCommand):
    """Parses options, calls one action, answers on stdout and tells the story on stderr."""

    help = "Deploy processors to Modal by digest, verify what runs there, and operate them."
    epilog = EXAMPLES

    def add_arguments(self, parser: CommandParser) -> None:
        add = self.actions(parser)

        deploy = add("deploy", "Deploy a processor by the digest of its image.", _example("deploy --ref llm/chat@1"))
        _target(deploy)
        deploy.add_argument("--oci", metavar="IMAGE", help="repository@sha256:…, instead of the registry's amd64 pin")
        deploy.add_argument(
            "--registry-secret",
            metavar="NAME",
            help=f"the Modal secret that reads a private image registry (default: ${REGISTRY_SECRET}, or none)",
        )
        deploy.add_argument("--public", action="store_true", help="want no proxy token: anybody may call it")
        deploy.add_argument("--timeout-s", type=_count, default=DEPLOY_S, metavar="SECONDS", help="for all of it")
        _changes(deploy)

        _target(add("status", "Say what is deployed.", _example("status --ref llm/chat@1")))

        verify = add("verify", "Prove which image is deployed.", _example("verify --ref llm/chat@1"))
        _target(verify)
        verify.add_argument("--oci", metavar="IMAGE", help="repository@sha256:…, instead of the registry's amd64 pin")

        _environment(add("list", "List the processors of an environment.", _example("list")))

        logs = add("logs", "Show what containers wrote last.", _example("logs --ref llm/chat@1 --lines 20"))
        _target(logs)
        logs.add_argument("--lines", type=_count, default=LINES, metavar="N", help="how many (default: %(default)s)")

        stop = add("stop", "Stop a deployed processor.", _example("stop --ref llm/chat@1 --dry-run"))
        _target(stop)
        _changes(stop)

        secrets = add(
            "secrets", "Write secrets from this environment to Modal.", _example("secrets sync --ref llm/chat@1")
        )
        secrets.add_argument("what", choices=("sync",), metavar="sync", help="replace the values that Modal holds")
        secrets.add_argument("--ref", metavar="NS/NAME@VERSION", help="whose secrets (default: every processor's)")
        _environment(secrets)
        _changes(secrets)

        rollback = add("rollback", "Deploy an earlier version again.", _example("rollback --ref llm/chat@1 --to v3"))
        _target(rollback)
        rollback.add_argument("--to", type=_version, metavar="vN", help="which one (default: the one before)")
        _changes(rollback)

        gc = add("gc", "Stop apps in dev whose branch is gone.", _example("gc --dry-run"))
        _environment(gc)
        gc.add_argument("--all-users", action="store_true", help="look at everybody's: for CI, where all is pushed")
        _changes(gc)

    def handle(self, **options: Any) -> None:
        import asyncio  # noqa: PLC0415  # see the module's docstring

        from apps.core.host import Host  # noqa: PLC0415  # the same
        from processor_runtime.errors import CancelledRunError, ProcessorError  # noqa: PLC0415  # the same

        try:
            value, ok = _answer(options, Host.here())
        except ProcessorError as exc:
            self.fail_by(exc, as_json=options["json"])
        except (asyncio.CancelledError, KeyboardInterrupt):
            self.fail_by(CancelledRunError(), as_json=options["json"])
        else:
            if options["json"]:
                text = json.dumps(value, separators=(",", ":"))
            else:
                from apps.core.management.modal_text import text_of  # noqa: PLC0415  # see the module's docstring

                text = text_of(options["action"], value)
            self.answer(text)
            if not ok:
                sys.exit(FAILED)


# --- what is done


def _answer(options: dict[str, Any], host: "Host") -> tuple[dict[str, Any], bool]:
    """Return the answer, and whether it is a success.

    Raises:
        ProcessorError: there is none.
    """
    if options["action"] == "deploy" and options["dry_run"]:  # a plan needs neither token nor network
        return {"dry_run": True, "plan": _plan(options, _registration(options, host), host).as_json()}, True

    import asyncio  # noqa: PLC0415  # see the module's docstring

    from apps.core.adapters.journal import Journal  # noqa: PLC0415  # the same

    if options["json"] or not sys.stderr.isatty():
        outcome = asyncio.run(until_signalled(_work(options, host, Journal())))
    else:
        from apps.core.management.progress import ProgressLine  # noqa: PLC0415  # the same

        with ProgressLine() as line:
            outcome = asyncio.run(until_signalled(_work(options, host, Journal(line.tell))))
    return outcome.value, outcome.ok


async def _work(options: dict[str, Any], host: "Host", journal: "Journal") -> "Outcome":
    """Return what the action in *options* answers; what needs no Modal is looked at first."""
    registration = _registration(options, host) if options.get("ref") else None
    work = _on_one(options, registration, host) if registration and options["action"] != "secrets" else None

    from apps.core.adapters.modal import sdk  # noqa: PLC0415  # see the module's docstring
    from apps.core.deployments.actions import Site  # noqa: PLC0415  # the same

    async with sdk.client(host.environ) as client:
        if registration is not None and work is not None:
            return await work(Site.of(registration, options["env"], client, host, journal))
        return await _on_all(options, registration, client, host, journal)


def _on_one(
    options: dict[str, Any], registration: "Registration", host: "Host"
) -> "Callable[[Site], Awaitable[Outcome]]":
    """Return what is done with the one app that *options* name."""
    from apps.core.deployments import actions  # noqa: PLC0415  # see the module's docstring

    match options["action"]:
        case "deploy":
            plan = _plan(options, registration, host)
            return lambda site: actions.deploy_app(site, plan, timeout_s=options["timeout_s"])
        case "verify":
            image = _image(options, registration)
            return lambda site: actions.verify_app(site, image)
        case "status":
            return actions.show_status
        case "logs":
            return lambda site: actions.show_logs(site, options["lines"])
        case "stop":
            return lambda site: actions.stop_app(site, dry_run=options["dry_run"])
        case _:
            return lambda site: actions.roll_back(site, options["to"], dry_run=options["dry_run"])


async def _on_all(
    options: dict[str, Any],
    registration: "Registration | None",
    client: "modal.Client",
    host: "Host",
    journal: "Journal",
) -> "Outcome":
    """Return what is done with an environment."""
    from apps.core.deployments import actions  # noqa: PLC0415  # see the module's docstring

    environment = options["env"]
    match options["action"]:
        case "list":
            return await actions.list_apps(client, environment)
        case "secrets":
            chosen = [registration] if registration else _registrations(host)
            return await actions.sync_secrets(chosen, client, environment, host, dry_run=options["dry_run"])
        case _:
            flags = {"all_users": options["all_users"], "dry_run": options["dry_run"]}
            return await actions.collect_garbage(client, environment, host, journal, **flags)


def _registration(options: dict[str, Any], host: "Host") -> "Registration":
    from apps.core.executions import resolve  # noqa: PLC0415  # see the module's docstring

    return resolve(options["ref"], host.processors)


def _registrations(host: "Host") -> list["Registration"]:
    from apps.core.registry import load_registry  # noqa: PLC0415  # see the module's docstring

    return list(load_registry(host.processors))


def _plan(options: dict[str, Any], registration: "Registration", host: "Host") -> "Plan":
    from apps.core.adapters.modal.lanes import lane_here  # noqa: PLC0415  # see the module's docstring
    from apps.core.deployments.plan import planned  # noqa: PLC0415  # the same

    lane = lane_here(options["env"], host.environ, registration.folder)
    secret = options["registry_secret"] or host.environ.get(REGISTRY_SECRET) or None
    image = _image(options, registration)
    return planned(registration, lane, image, registry_secret=secret, proxy_auth=not options["public"])


def _image(options: dict[str, Any], registration: "Registration") -> Any:
    from apps.core.deployments.plan import image_of  # noqa: PLC0415  # see the module's docstring

    return image_of(registration, options["oci"])


# --- options


def _target(parser: CommandParser) -> None:
    parser.add_argument("--ref", required=True, metavar="NS/NAME@VERSION", help="which processor, such as llm/chat@1")
    _environment(parser)


def _environment(parser: CommandParser) -> None:
    parser.add_argument("--env", required=True, help="Modal's environment: dev, staging, prod")
    parser.add_argument("--json", action="store_true", help="stdout is one line, a JSON object; stderr is NDJSON")


def _changes(parser: CommandParser) -> None:
    parser.add_argument("--dry-run", action="store_true", help="change nothing, and say what would be done")


def _example(text: str) -> str:
    return f"example, from the folder code/:\n  python manage.py modalctl {text} --env dev\n"


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not int(text):
        raise ArgumentTypeError("must be a whole number of at least 1")
    return int(text)


def _version(text: str) -> int:
    return _count(text.removeprefix("v"))

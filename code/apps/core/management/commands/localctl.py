"""`manage.py localctl`: containers of processors on this machine, kept warm, listed, cleaned up.

Little is imported before it is needed: `--help` and a mistyped option should
not wait for anything.
"""

import json
import sys
from argparse import ArgumentTypeError
from typing import TYPE_CHECKING, Any, Final

from django.core.management.base import CommandParser

from apps.core.management.command import ProcessorCommand, UsageError, until_signalled

if TYPE_CHECKING:
    from collections.abc import Callable

    from apps.core.adapters.journal import Journal
    from apps.core.adapters.local.control import Found
    from apps.core.adapters.local.engine import Engine
    from apps.core.adapters.local.site import Site
    from apps.core.host import Host

EXAMPLES: Final = """\
examples, from the folder code/:
  python manage.py localctl up --ref llm/chat@1 --build
  python manage.py localctl status --json
  python manage.py localctl logs --ref llm/chat@1 --follow
  python manage.py localctl down --ref llm/chat@1
  python manage.py localctl dev --ref llm/chat@1

exit status: 0 success, 1 failed, 2 wrong usage
"""

Answer = dict[str, Any]


class Command(ProcessorCommand):
    """Parses options, calls one action, answers on stdout and tells the story on stderr."""

    help = "Keep containers of processors warm on this machine, list them, and remove what was left behind."
    epilog = EXAMPLES

    def add_arguments(self, parser: CommandParser) -> None:
        add = self.actions(parser)

        up = add("up", "Start a warm container, which runs use from then on.", _example("up --ref llm/chat@1 --build"))
        _one(up)
        _image(up)
        _json(up)

        down = add("down", "Stop warm containers; runs in flight have some seconds.", _example("down --all"))
        _which(down)
        down.add_argument("--all", action="store_true", help="every processor's")
        _json(down)

        _json(add("status", "List the containers, and say which were left behind.", _example("status")))

        logs = add("logs", "Show what a warm container wrote.", _example("logs --ref llm/chat@1 --tail 20"))
        _one(logs)
        logs.add_argument("--follow", action="store_true", help="go on until it ends")
        logs.add_argument("--tail", type=_count, metavar="N", help="only the last lines")
        _json(logs)

        prune = add("prune", "Remove what callers that were killed left behind.", _example("prune"))
        prune.add_argument("--networks", action="store_true", help="our networks too, unless they are in use")
        _json(prune)

        dev = add(
            "dev", "Keep a warm container of the source as it is, until Ctrl-C.", _example("dev --ref llm/chat@1")
        )
        _one(dev)
        _json(dev)

    def handle(self, **options: Any) -> None:
        import asyncio  # noqa: PLC0415  # see the module's docstring

        from apps.core.host import Host  # noqa: PLC0415  # the same
        from processor_runtime.errors import CancelledRunError, ProcessorError  # noqa: PLC0415  # the same

        host = Host.here()
        try:
            if options["action"] == "logs":
                asyncio.run(until_signalled(_logs(options, host)))
                return
            answer = _told(options, host)
        except UsageError as exc:
            self.refuse(str(exc))
        except ProcessorError as exc:
            self.fail_by(exc, as_json=options["json"])
        except (asyncio.CancelledError, KeyboardInterrupt):
            if options["action"] in {"dev", "logs"}:  # how both end
                return
            self.fail_by(CancelledRunError(), as_json=options["json"])
        else:
            self.answer(json.dumps(answer, separators=(",", ":")) if options["json"] else _text(options, answer))


# --- what is done


def _told(options: dict[str, Any], host: "Host") -> Answer:
    """Return the answer; at a terminal, one line says meanwhile what is done.

    Raises:
        ProcessorError: there is none.
    """
    import asyncio  # noqa: PLC0415  # see the module's docstring

    from apps.core.adapters.journal import Journal  # noqa: PLC0415  # the same

    if options["json"] or not sys.stderr.isatty():
        return asyncio.run(until_signalled(_done(options, host, Journal())))
    from apps.core.management.progress import ProgressLine  # noqa: PLC0415  # see the module's docstring

    with ProgressLine() as line:
        return asyncio.run(until_signalled(_done(options, host, Journal(line.tell))))


async def _done(options: dict[str, Any], host: "Host", journal: "Journal") -> Answer:
    from apps.core.adapters.local import control  # noqa: PLC0415  # see the module's docstring

    match options["action"]:
        case "up":
            site, journal = _site(options, host)(), journal.bind(ref=options["ref"])
            return {"container": (await control.up(site, options["mode"], _hiding(journal, site))).shown()}
        case "dev":
            return await _dev(options, host, journal.bind(ref=options["ref"]))
        case "down":
            engine, found = await _found(options, host)
            await control.down(engine, found, journal)
        case "prune":
            found = await control.prune(_engine(host), networks=options["networks"])
        case _:
            found = await control.containers(_engine(host))
    return {"containers": [each.shown() for each in found]}


async def _dev(options: dict[str, Any], host: "Host", journal: "Journal") -> Answer:
    from apps.core.adapters.local.dev import dev  # noqa: PLC0415  # see the module's docstring

    site = _site({**options, "build": True, "platform": None}, host)
    first = site()
    await dev(first.registration.folder, site, options["mode"], _hiding(journal, first))
    return {}


async def _logs(options: dict[str, Any], host: "Host") -> None:
    import os  # noqa: PLC0415  # see the module's docstring

    from apps.core.adapters.journal import Journal  # noqa: PLC0415  # the same
    from apps.core.adapters.local import control  # noqa: PLC0415  # the same

    def tell(line: bytes) -> None:
        os.write(sys.stdout.fileno(), line + b"\n")  # the lines are the answer

    engine, found = await _found(options, host)
    if not found:
        raise UsageError(f"there is no warm container of {options['ref']} in {options['mode']}: see localctl status")
    await control.logs(engine, found[0], Journal(tell), follow=options["follow"], tail=options["tail"])


async def _found(options: dict[str, Any], host: "Host") -> "tuple[Engine, list[Found]]":
    """Return the warm containers that *options* name."""
    from apps.core.adapters.local import control  # noqa: PLC0415  # see the module's docstring

    if options["action"] == "down" and bool(options["ref"]) == options["all"]:
        raise UsageError("down wants --ref or --all")
    engine = _engine(host)
    wanted = {name: options[name] for name in ("ref", "mode") if options[name]}
    found = [each for each in await control.containers(engine) if each.labels.kind == "warm"]
    return engine, [each for each in found if all(getattr(each.labels, name) == wanted[name] for name in wanted)]


def _engine(host: "Host") -> "Engine":
    from apps.core.adapters.local.address import engine_address  # noqa: PLC0415  # see the module's docstring
    from apps.core.adapters.local.engine import Engine  # noqa: PLC0415  # the same

    return Engine(engine_address(host.environ))


def _site(options: dict[str, Any], host: "Host") -> "Callable[[], Site]":
    """Return what reads the processor that *options* name, and refuses what a run would be refused for."""
    from apps.core.executions import local_site, resolve  # noqa: PLC0415  # see the module's docstring
    from apps.core.request import ExecutionRequest, guard  # noqa: PLC0415  # the same

    request = ExecutionRequest(
        ref=options["ref"],
        adapter="local",
        inputs=None,
        execution_id="warm",
        mode=options["mode"],
        platform=options["platform"],
        build=options["build"],
    )

    def site() -> "Site":
        registration = resolve(request.ref, host.processors)
        guard(request, registration, host.environ, request.roots(host.artifacts_root))
        return local_site(request, registration, host)

    return site


def _hiding(journal: "Journal", site: "Site") -> "Journal":
    return journal.hiding(*(site.environ.get(name, "") for name in site.registration.declaration.secrets))


# --- how it is told


def _text(options: dict[str, Any], answer: Answer) -> str:
    """Return *answer* as a person reads it."""
    rows: list[Answer] = [answer["container"]] if "container" in answer else answer.get("containers", [])
    said = {"down": "stopped", "prune": "removed"}.get(options["action"], "")
    if not rows:
        return {"down": "nothing was up", "prune": "nothing was left behind", "dev": ""}.get(
            options["action"], "no containers"
        )
    cells = [
        [said or ("left behind" if row["left"] else row["kind"]), row["ref"], row["mode"], row["state"], row["url"]]
        for row in rows
    ]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ["  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip() for line in cells]
    if options["action"] == "status" and any(row["left"] for row in rows):
        lines.append("run `localctl prune` to remove what was left behind")
    return "\n".join(lines)


# --- options


def _one(parser: CommandParser) -> None:
    parser.add_argument("--ref", required=True, metavar="NS/NAME@VERSION", help="which processor, such as llm/chat@1")
    parser.add_argument("--mode", default="mock", metavar="mock|real", help="what it serves (default: mock)")


def _which(parser: CommandParser) -> None:
    parser.add_argument("--ref", metavar="NS/NAME@VERSION", help="which processor, such as llm/chat@1")
    parser.add_argument("--mode", metavar="mock|real", help="what it serves (default: both)")


def _image(parser: CommandParser) -> None:
    parser.add_argument("--build", action="store_true", help="an image built from the source here; it is not pinned")
    parser.add_argument(
        "--platform",
        type=lambda text: text.removeprefix("linux/"),
        metavar="amd64|arm64",
        help="whose pin (default: this machine's)",
    )


def _json(parser: CommandParser) -> None:
    parser.add_argument("--json", action="store_true", help="stdout is one line, a JSON object; stderr is NDJSON")


def _example(text: str) -> str:
    return f"example, from the folder code/:\n  python manage.py localctl {text}\n"


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not int(text):
        raise ArgumentTypeError("must be a whole number of at least 1")
    return int(text)

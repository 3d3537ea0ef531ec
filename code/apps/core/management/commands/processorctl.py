"""`manage.py processorctl`: the way of an image, from source to a pinned digest.

Little is imported before it is needed, as in `run_processor`.
"""

import sys
from argparse import ArgumentTypeError
from typing import TYPE_CHECKING, Any, Final

from django.core.management.base import CommandParser

from apps.core.management.command import FAILED, ProcessorCommand, UsageError, until_signalled

if TYPE_CHECKING:
    from apps.core.management.image_actions import Asked
    from apps.core.management.image_rows import Row
    from apps.core.registry import ImageReference

PLATFORMS: Final = ("amd64", "arm64")
EPILOG: Final = """\
examples, from the folder code/:
  python manage.py processorctl build --ref llm/chat@1
  python manage.py processorctl publish --ref llm/chat@1 --repository ghcr.io/owner/repo
  python manage.py processorctl verify --json

exit status: 0 all of it is done, or holds; 1 some of it is not, and it is said why; 2 wrong usage
"""

# by name: what it does, and how it may be called
ACTIONS: Final = {
    "build": (
        "Build images from their source, unless the engine has them.",
        "build --ref llm/chat@1 --base-image python:3.12-slim-bookworm",
    ),
    "push": (
        "Push what was built to an image registry, with its bill of materials.",
        "push --ref llm/chat@1 --repository ghcr.io/owner/repo",
    ),
    "pin": (
        "Write an image's digest into registry.yaml, if its image registry holds it for that platform.",
        "pin --ref llm/chat@1 --platform amd64 --image ghcr.io/owner/repo/llm_chat@sha256:…",
    ),
    "publish": (
        "Build, push and pin, unless this source is published already.",
        "publish --all --platform amd64 --platform arm64 --repository ghcr.io/owner/repo",
    ),
    "verify": (
        "Prove of each pin that the image is there, for its platform, of this ref and of this source.",
        "verify --ref llm/chat@1 --json",
    ),
    "list": ("Show each processor's pins; nobody is asked.", "list --json"),
}


class Command(ProcessorCommand):
    """Parses options, carries out one action for each image that is asked for, and answers with one row for each."""

    help = "Build, store, pin and prove the images of processors."
    epilog = EPILOG

    def add_arguments(self, parser: CommandParser) -> None:
        add = self.actions(parser)
        for name, (text, example) in ACTIONS.items():
            action = add(name, text, f"example, from the folder code/:\n  python manage.py processorctl {example}\n")
            _add_processors(action, name)
            _add_platforms(action, name)
            if name in {"build", "publish"}:
                base = "default: build.args in registry.yaml, else $BASE_IMAGE, else the Dockerfile's own"
                action.add_argument("--base-image", metavar="IMAGE", help=f"what to build on ({base})")
                action.add_argument("--rebuild", action="store_true", help="also what is there: for a newer base image")
            if name in {"push", "publish"}:
                base = "default: $IMAGE_REPOSITORY, else where the processor's pins are"
                action.add_argument("--repository", metavar="BASE", help=f"store images as BASE/ns_name ({base})")
            if name == "pin":
                which = "the platform's own image, by its digest"
                action.add_argument("--image", required=True, type=_image, metavar="REPOSITORY@DIGEST", help=which)
            action.add_argument("--json", action="store_true", help="stdout is one line of JSON; stderr is NDJSON")

    def handle(self, **options: Any) -> None:
        import asyncio  # noqa: PLC0415  # see the module's docstring
        import json  # noqa: PLC0415  # the same

        from apps.core.management.image_rows import answer  # noqa: PLC0415  # the same

        try:
            rows = _rows(options["action"], _asked(options), as_json=options["json"])
        except UsageError as exc:
            self.refuse(str(exc))
        except (asyncio.CancelledError, KeyboardInterrupt):
            self.fail("cancelled")
        if options["json"]:
            self.answer(json.dumps(answer(options["action"], rows), separators=(",", ":")))
        else:
            self.answer("\n".join(line for row in rows for line in row.lines()))
        if any(row.error for row in rows):
            sys.exit(FAILED)


def _add_processors(action: CommandParser, name: str) -> None:
    if name == "pin":
        action.add_argument("--ref", required=True, metavar="NS/NAME@VERSION", help="which processor")
    elif name in {"verify", "list"}:
        text = "only this processor; repeatable"
        action.add_argument("--ref", action="append", metavar="NS/NAME@VERSION", help=text)
    else:
        which = action.add_mutually_exclusive_group(required=True)
        which.add_argument("--ref", action="append", metavar="NS/NAME@VERSION", help="which processor; repeatable")
        which.add_argument("--all", action="store_true", help="every processor that there is")


def _add_platforms(action: CommandParser, name: str) -> None:
    if name == "pin":
        text = "for which it is (default: the processor's default_platform)"
        action.add_argument("--platform", choices=PLATFORMS, help=text)
    elif name != "list":
        default = "all that are pinned" if name == "verify" else "the engine's own"
        text = f"for which; repeatable (default: {default})"
        action.add_argument("--platform", action="append", choices=PLATFORMS, help=text)


def _asked(options: dict[str, Any]) -> "Asked":
    from apps.core.management.image_actions import Asked  # noqa: PLC0415  # see the module's docstring

    def several(value: str | list[str] | None) -> tuple[str, ...]:
        return (value,) if isinstance(value, str) else tuple(dict.fromkeys(value or ()))

    return Asked(
        refs=several(options["ref"]),
        platforms=several(options.get("platform")),
        repository=options.get("repository") or "",
        base_image=options.get("base_image"),
        rebuild=options.get("rebuild", False),
        image=options.get("image"),
    )


def _rows(action: str, asked: "Asked", *, as_json: bool) -> "list[Row]":
    """Return the rows of *action*; at a terminal, one line says meanwhile what is done.

    Raises:
        UsageError: what is asked for cannot mean anything.
    """
    import asyncio  # noqa: PLC0415  # see the module's docstring

    from apps.core.adapters.journal import Journal  # noqa: PLC0415  # the same
    from apps.core.host import Host  # noqa: PLC0415  # the same
    from apps.core.management.image_actions import carried_out  # noqa: PLC0415  # the same

    host = Host.here()
    if as_json or not sys.stderr.isatty():
        return asyncio.run(until_signalled(carried_out(action, asked, host, Journal())))
    from apps.core.management.progress import ProgressLine  # noqa: PLC0415  # see the module's docstring

    with ProgressLine() as line:
        return asyncio.run(until_signalled(carried_out(action, asked, host, Journal(line.tell))))


def _image(text: str) -> "ImageReference":
    from apps.core.registry import ImageReference, ImageReferenceError  # noqa: PLC0415  # see the module's docstring

    try:
        return ImageReference.parse(text)
    except ImageReferenceError as exc:
        raise ArgumentTypeError(str(exc)) from exc

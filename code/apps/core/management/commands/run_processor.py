"""`manage.py run_processor`: run one processor once, and answer with its envelope.

Little is imported before it is needed: `--help` and a mistyped option should
not wait for an HTTP client.
"""

import math
import os
import sys
from argparse import ArgumentTypeError
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from django.conf import settings
from django.core.management.base import CommandParser

from apps.core.management.command import FAILED, ProcessorCommand, UsageError, until_signalled

if TYPE_CHECKING:
    from apps.core.adapters.journal import Journal
    from apps.core.executions import Watch
    from apps.core.host import Host
    from apps.core.request import ExecutionRequest
    from processor_runtime.envelopes import Envelope
    from processor_runtime.values import Digest

EXAMPLES: Final = """\
examples, from the folder code/:
  python manage.py run_processor --ref llm/chat@1 --adapter process --json \\
    --inputs-json '{"schema":"v1","params":{"messages":[{"role":"user","content":"Hello"}]}}'

  python manage.py run_processor --ref llm/chat@1 --adapter process --stream \\
    --inputs-json '{"schema":"v1","params":{"messages":[{"role":"user","content":"Hello"}]}}'

  python manage.py run_processor --ref doc/ocr@1 --adapter process --mode real --save-dir /tmp/page \\
    --attach document=apps/core/processors/doc_ocr/samples/page.png \\
    --inputs-json '{"schema":"v1","params":{"document":{"$attach":"document"}}}'

exit status: 0 success, 1 error envelope, 2 wrong usage
"""


class Command(ProcessorCommand):
    """Parses options, calls `execute`, answers on stdout and tells the story on stderr."""

    help = "Run one processor once, and answer with its envelope."
    epilog = EXAMPLES

    def add_arguments(self, parser: CommandParser) -> None:
        add = parser.add_argument
        adapters = tuple(settings.ADAPTERS)
        add("--ref", required=True, metavar="NS/NAME@VERSION", help="which processor, such as llm/chat@1")
        add(
            "--adapter",
            default="local",
            choices=adapters,
            help="what runs it: its source on this machine, its image in Docker, or Modal (default: %(default)s)",
        )
        # not `choices`: an unknown mode has an error code of its own
        add("--mode", default="mock", metavar="mock|real", help="mock costs nothing, needs no secret (default: mock)")
        add(
            "--write-prefix",
            metavar="PATH",
            help="logical folder of all that the run writes (default: /artifacts/outputs/{execution_id}/)",
        )
        inputs = parser.add_mutually_exclusive_group(required=True)
        inputs.add_argument("--inputs-json", metavar="JSON", help="the inputs, as the processor's registry.yaml says")
        inputs.add_argument("--inputs-file", metavar="PATH", help="a file that holds them; - is stdin")
        add(
            "--attach",
            action="append",
            default=[],
            type=_attachment,
            metavar="NAME=PATH",
            help='a local file, named by {"$attach": "NAME"} in the params; repeatable',
        )
        add("--execution-id", metavar="ID", help="a name for this execution (default: a new one that sorts by time)")
        add("--timeout-s", type=_seconds, metavar="SECONDS", help="the longest run; lowers the registry's limit")
        add("--save-dir", type=Path, metavar="DIR", help="copy the outputs here; files of the same name are replaced")
        add("--build", action="store_true", help="local: run an image built from the source here; it is not pinned")
        add(
            "--platform",
            type=_platform,
            metavar="amd64|arm64",
            help="local: whose pin to run (default: this machine's)",
        )
        add("--expected-digest", type=_digest, metavar="SHA256", help="refuse the answer of any image but this one")
        add("--stream", action="store_true", help="show what the run tells while it goes on: progress, tokens, outputs")
        add("--json", action="store_true", help="stdout is one line, the envelope; stderr is NDJSON")

    def handle(self, **options: Any) -> None:
        try:
            envelope = _envelope(options)
        except UsageError as exc:
            self.refuse(str(exc))
        if options["json"]:
            import json  # noqa: PLC0415  # see the module's docstring

            # ASCII: one line in any encoding, whatever a reader takes for a line break
            text = json.dumps(envelope, separators=(",", ":"))
        else:
            from apps.core.management.summary import summary  # noqa: PLC0415  # see the module's docstring

            text = summary(envelope, options["mode"], Path(settings.ARTIFACTS_ROOT))
        self.answer(text)
        if envelope["status"] != "success":
            sys.exit(FAILED)


def _envelope(options: dict[str, Any]) -> "Envelope":
    """Return the envelope of what *options* ask for.

    Raises:
        UsageError: they cannot mean anything.
    """
    try:
        return _asked(options)
    except KeyboardInterrupt:  # before anything was started: from then on signals cancel the execution
        from apps.core.executions import refusal  # noqa: PLC0415  # see the module's docstring
        from apps.core.host import Host  # noqa: PLC0415  # the same
        from processor_runtime.errors import CancelledRunError  # noqa: PLC0415  # the same

        return refusal(_request(options), Host.here(), CancelledRunError())


def _asked(options: dict[str, Any]) -> "Envelope":
    from apps.core.executions import refusal  # noqa: PLC0415  # see the module's docstring
    from apps.core.host import Host  # noqa: PLC0415  # the same
    from apps.core.request import refuse_real_in_ci  # noqa: PLC0415  # the same
    from processor_runtime.errors import CiSafetyError  # noqa: PLC0415  # the same

    host, request = Host.here(), _request(options)
    if request.adapter != "local" and (request.build or request.platform):
        raise UsageError("--build and --platform go with --adapter local")
    try:
        refuse_real_in_ci(request.mode, host.environ)
    except CiSafetyError as exc:
        return refusal(request, host, exc)
    inputs = _inputs(options["inputs_json"], options["inputs_file"])
    attachments = _attachments(options["attach"])
    _prepare(request.save_dir)
    request = replace(request, inputs=inputs, attachments=attachments)
    return _executed(request, host, as_json=options["json"], streams=options["stream"])


def _request(options: dict[str, Any]) -> "ExecutionRequest":
    """Return what *options* ask for, without the parts that are read from files."""
    from apps.core.request import DEFAULT_PREFIX, ExecutionRequest, new_execution_id  # noqa: PLC0415  # as above

    execution_id, write_prefix = options["execution_id"], options["write_prefix"]
    return ExecutionRequest(
        ref=options["ref"],
        adapter=options["adapter"],
        inputs=None,
        # an empty one is refused by the contract's rule, not replaced
        execution_id=new_execution_id() if execution_id is None else execution_id,
        mode=options["mode"],
        write_prefix=DEFAULT_PREFIX if write_prefix is None else write_prefix,
        timeout_s=options["timeout_s"],
        expected_digest=options["expected_digest"],
        save_dir=options["save_dir"],
        platform=options["platform"],
        build=options["build"],
    )


def _executed(request: "ExecutionRequest", host: "Host", *, as_json: bool, streams: bool) -> "Envelope":
    """Return the envelope of *request*; at a terminal, one line says meanwhile what is done, or shows the stream.

    Raises:
        UsageError: attachments and params do not fit together.
    """
    import asyncio  # noqa: PLC0415  # see the module's docstring

    from apps.core.adapters.journal import Journal  # noqa: PLC0415  # the same
    from apps.core.artifacts import AttachmentError  # noqa: PLC0415  # the same

    try:
        if as_json or not sys.stderr.isatty():
            journal = Journal()
            watch = journal.bind(ref=request.ref).stream if streams else None
            return asyncio.run(_settled(request, host, journal, watch))
        from apps.core.management.progress import LiveStream, ProgressLine  # noqa: PLC0415  # see the module's docstring

        with LiveStream() if streams else ProgressLine() as line:
            watch = line.show if isinstance(line, LiveStream) else None
            return asyncio.run(_settled(request, host, Journal(line.tell), watch))
    except AttachmentError as exc:
        raise UsageError(str(exc)) from exc


async def _settled(request: "ExecutionRequest", host: "Host", journal: "Journal", watch: "Watch | None") -> "Envelope":
    """Return the envelope of *request*, also when a signal ends it."""
    import asyncio  # noqa: PLC0415  # see the module's docstring

    from apps.core.executions import execute, refusal  # noqa: PLC0415  # the same
    from processor_runtime.errors import CancelledRunError  # noqa: PLC0415  # the same

    try:
        return await until_signalled(execute(request, host, journal, watch))
    except asyncio.CancelledError:
        return refusal(request, host, CancelledRunError())


# --- options


def _attachment(text: str) -> tuple[str, Path]:
    name, equals, path = text.partition("=")
    if not (name and equals and path):
        raise ArgumentTypeError("must be NAME=PATH")
    return name, Path(path)


def _attachments(pairs: list[tuple[str, Path]]) -> dict[str, Path]:
    attachments = dict(pairs)
    if len(attachments) < len(pairs):
        raise UsageError("--attach: each NAME may be given once")
    return attachments


def _platform(text: str) -> str:
    return text.removeprefix("linux/")


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise ArgumentTypeError("must be a number of seconds above 0")
    return seconds


def _digest(text: str) -> "Digest":
    from processor_runtime.values import Digest, DigestError  # noqa: PLC0415  # see the module's docstring

    try:
        return Digest.parse(text)
    except DigestError as exc:
        raise ArgumentTypeError(str(exc)) from exc


def _inputs(text: str | None, path: str | None) -> Any:  # any JSON value
    from processor_runtime import strict_json  # noqa: PLC0415  # see the module's docstring

    option = "--inputs-json" if path is None else "--inputs-file"
    try:
        if path is None:
            raw = os.fsencode(text or "")
        else:
            raw = sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
        return strict_json.loads(raw)
    except OSError as exc:
        raise UsageError(f"{option}: {exc.strerror or exc}") from exc
    except ValueError as exc:  # a JsonError; or a NUL in the path
        raise UsageError(f"{option}: not JSON: {exc}") from exc


def _prepare(save_dir: Path | None) -> None:
    if save_dir is None:
        return
    try:
        save_dir.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise UsageError(f"--save-dir: {exc.strerror or exc}") from exc
    if not os.access(save_dir, os.W_OK | os.X_OK):
        raise UsageError("--save-dir: cannot be written")

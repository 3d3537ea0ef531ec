"""The envelope for a person: what happened, and where the outputs lie on this host."""

import io
from pathlib import Path

from rich.console import Console
from rich.text import Text

from processor_runtime.envelopes import Envelope
from processor_runtime.errors import ERRORS, ErrorCode
from processor_runtime.prefix import INPUTS, Roots

_KIB = 1024


def summary(envelope: Envelope, mode: str, artifacts_root: Path) -> str:
    """Return *envelope* as some lines of text, in colour where stdout is a terminal.

    Args:
        envelope: Any envelope.
        mode: The mode of its run.
        artifacts_root: What stands for `/artifacts` on this host.
    """
    lines = _success(envelope, mode, artifacts_root) if envelope["status"] == "success" else _error(envelope)
    text = Text("\n").join(lines)
    screen = Console(highlight=False)
    if not screen.is_terminal:
        return text.plain
    into = Console(file=io.StringIO(), force_terminal=True, color_system="standard", highlight=False, soft_wrap=True)
    into.no_color = screen.no_color
    with into.capture() as captured:
        into.print(text, end="")
    return captured.get()


def _success(envelope: Envelope, mode: str, artifacts_root: Path) -> list[Text]:
    meta = envelope["meta"]
    roots = Roots.of("/artifacts", INPUTS, str(artifacts_root))
    head = f"  {meta['ref']}  {mode}  {meta['duration_ms'] / 1000:.2f} s  {envelope['execution_id']}"
    rows = [(size(row["size_bytes"]), roots.host(row["path"])) for row in envelope["outputs"]]
    width = max((len(shown) for shown, _ in rows), default=0)
    return [
        Text.assemble(("success", "bold green"), head),
        *(Text.assemble((f"  {shown:>{width}}  ", "dim"), path) for shown, path in rows),
    ]


def _error(envelope: Envelope) -> list[Text]:
    error, meta = envelope["error"], envelope["meta"]
    known = ERRORS.get(error["code"]) if error["code"] in list(ErrorCode) else None
    return [
        Text.assemble(("error", "bold red"), f"  {meta['ref'] or '-'}  {error['code']}: {error['message']}"),
        *(Text(f"  {': '.join(filter(None, (row['path'], row['message'])))}") for row in error["details"]),
        *([Text(f"  {known.next_step}", "dim")] if known else []),
    ]


def size(size_bytes: int) -> str:
    """Return a number of bytes as a person reads it: ``17 B``, ``4.2 KiB``."""
    number, unit = float(size_bytes), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if number < _KIB:
            break
        number, unit = number / _KIB, larger
    return f"{number:.0f} B" if unit == "B" else f"{number:.1f} {unit}"

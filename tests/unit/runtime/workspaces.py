"""A workspace over a folder of this machine, and what its tests do with it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from processor_runtime.declaration import Output
from processor_runtime.prefix import Roots
from processor_runtime.workspace import Workspace

PREFIX: Final = "/artifacts/outputs/e1/"
OUTPUTS: Final = (
    Output("outputs/a.txt", "text/plain", "", optional=False),
    Output("outputs/b.txt", "text/plain", "", optional=True),
    Output("outputs/pages/*.png", "image/png", "", optional=True),
    Output("outputs/any/*", "", "", optional=True),
    Output("outputs/file/below.txt", "text/plain", "", optional=True),
    Output("outputs/file", "text/plain", "", optional=True),
)

Make = Callable[..., Workspace]


def workspace_in(
    root: Path,
    prefix: str = PREFIX,
    guard: Callable[[Callable[[], None]], None] = lambda step: step(),
    announce: Callable[[dict[str, Any]], None] = lambda _: None,
) -> Workspace:
    """Return a workspace below *root*, which stands for `/artifacts`."""
    outputs = [(output, output.pattern().fullmatch) for output in OUTPUTS]
    roots = Roots.of("/artifacts", "/artifacts/inputs", str(root))
    return Workspace(roots.check_write_lexically(prefix), outputs, guard, announce)


def files_of(folder: Path) -> list[str]:
    """Return the paths of all files below *folder*."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir())


def write_output(workspace: Workspace, path: str, data: bytes = b"x", mime: str | None = None) -> None:
    """Write one whole output."""
    with workspace.open_output(path, mime) as file:
        file.write(data)


def failing(
    call: Callable[..., Any], number: int, *, when: Callable[..., bool] = lambda *_: True
) -> Callable[..., Any]:
    """Return *call*, failing with errno *number* where *when* says so."""

    def fails(*arguments: Any, **keywords: Any) -> Any:
        if when(*arguments):
            raise OSError(number, os.strerror(number))
        return call(*arguments, **keywords)

    return fails

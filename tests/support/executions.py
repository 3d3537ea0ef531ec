"""What tests of adapters and executions share: this machine as a host in a folder of the test's own, and its journal.

host = host_in(tmp_path)
story = Story()
envelope = asyncio.run(execute(request(do="hello"), host, story.journal))
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

from apps.core.adapters.journal import Journal
from apps.core.adapters.process.adapter import ProcessAdapter
from apps.core.host import Host
from apps.core.registry import load_registration
from apps.core.request import ExecutionRequest, new_execution_id
from tests.support.service import WAIT_S, wait_until

ROOT: Final = Path(__file__).resolve().parents[2]
FIXTURES: Final = ROOT / "tests" / "support" / "processors"
OWN: Final = ROOT / "code" / "apps" / "core" / "processors"
SECRET: Final = "a-secret-of-some-length"

JsonObject = dict[str, Any]
T = TypeVar("T")


class Story:
    """Everything a journal told, as objects."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.journal = Journal(self.lines.append)

    @property
    def records(self) -> list[JsonObject]:
        """Every line, parsed."""
        return [json.loads(line) for line in self.lines]

    def events(self, event: str) -> list[JsonObject]:
        """Return the lines of one kind."""
        return [record for record in self.records if record["event"] == event]


def host_in(
    folder: Path,
    environ: Mapping[str, str] | None = None,
    *,
    processors: Path = FIXTURES,
    start_allowance_s: float = WAIT_S,
) -> Host:
    """Return this machine with all that it writes below *folder*, running processors with the tests' own Python."""
    return Host(
        processors=processors,
        artifacts_root=folder / "artifacts",
        var=folder / "var",
        adapters=("process", "local", "modal"),
        environ={"PATH": os.environ["PATH"], **(environ or {})},
        start_allowance_s=start_allowance_s,
        python=Path(sys.executable),
    )


def request(ref: str = "fix/trouble@1", **changes: Any) -> ExecutionRequest:
    """Return a request to `fix/trouble@1` with an id of its own and *changes* made; `do` goes to the params."""
    params = {name: changes.pop(name) for name in ("do", "mark", "files") if name in changes}
    fields: JsonObject = {
        "ref": ref,
        "adapter": "process",
        "inputs": {"schema": "v1", "params": {"do": "hello", **params}},
        "execution_id": new_execution_id(),
        **changes,
    }
    return ExecutionRequest(**fields)


def raw_request(body: object, *, status: int = 200, **changes: Any) -> ExecutionRequest:
    """Return a request to `fix/raw@1`, which answers it with *body*."""
    text = body if isinstance(body, str) else json.dumps(body)
    return request("fix/raw@1", inputs={"schema": "v1", "params": {"status": status, "body": text}}, **changes)


def behaving(word: str, into: Path) -> Path:
    """Return a folder of processors, made below *into*, with a `fix/raw@1` that starts as *word* says."""
    copy = into / "processors" / "fix_raw"
    shutil.copytree(FIXTURES / "fix_raw", copy, ignore=shutil.ignore_patterns("__pycache__"))
    (copy / "behaviour").write_text(word, encoding="utf-8")
    return copy.parent


def adapter(host: Host, folder: str, story: Story, **changes: Any) -> ProcessAdapter:
    """Return the process adapter of the processor in *folder*."""
    fields: JsonObject = {
        "artifacts_root": host.artifacts_root,
        "venvs": host.var / "venvs",
        "environ": host.environ,
        "start_allowance_s": host.start_allowance_s,
        "journal": story.journal,
        "python": host.python,
        **changes,
    }
    return ProcessAdapter(load_registration(host.processors / folder), **fields)


def payload(ref: str = "fix/trouble@1", **params: object) -> JsonObject:
    """Return the body of `POST /run` for *ref*, in mock mode, with an id of its own."""
    return {
        "schema": "v1",
        "execution_id": new_execution_id(),
        "write_prefix": "/artifacts/outputs/{execution_id}/",
        "mode": "mock",
        "ref": ref,
        "inputs": {"schema": "v1", "params": {"do": "hello", **params}},
    }


async def marked(mark: Path) -> int:
    """Return the id of the process whose handler has made *mark*, once it is under way."""

    def text() -> str:
        return mark.read_text("utf-8") if mark.exists() else ""

    return int(await asyncio.to_thread(wait_until, text, lambda: "a mark"))


def meanwhile(carrier: ProcessAdapter, body: JsonObject, mark: Path, look: Callable[[int], T]) -> T:
    """Return what *look*, told the process's id, sees while the handler of *body* sleeps; the run is cancelled then."""

    async def main() -> T:
        running = asyncio.ensure_future(carrier.run(body, timeout_s=WAIT_S))
        try:
            return await asyncio.to_thread(look, await marked(mark))
        finally:
            running.cancel()
            await asyncio.wait([running])

    return asyncio.run(main())


def alive(pid: int) -> bool:
    """Whether a process with this id runs; one that has ended and waits for its parent does not."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except FileNotFoundError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"

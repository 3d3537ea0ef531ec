"""A stranger pastes what README and docs say, page by page: every command that this machine can run succeeds.

tests/support/console.py names the others, each with its reason; tests/unit/docs holds those to their parsers.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import console
from tests.support.console import Command

ROOT = console.ROOT
RUN = {
    page.relative_to(ROOT).as_posix(): commands
    for page in console.pages()
    if (commands := [each for each in console.collect(page) if console.why_not_run(each) is None])
}

BEGIN = """
set -euo pipefail
servers=()
trap 'for server in "${servers[@]}"; do kill "$server"; wait "$server" || true; done' EXIT
await() {
    until curl -fsS -o /dev/null "$1"; do
        kill -0 "${servers[-1]}" || { cat server.log >&2; exit 1; }
        sleep 0.05
    done 2>/dev/null
}
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Return a copy of what a clone has, with the environment of this one: pages make processors and run them."""
    copy = tmp_path / "clone"
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in listed.stdout.split("\0"):
        if name and (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, copy / name)
    (copy / ".venv").symlink_to(ROOT / ".venv")
    return copy


@pytest.mark.slow
@pytest.mark.network
@pytest.mark.parametrize("page", RUN)
def test_a_page_runs_as_it_is_written(page: str, tree: Path, tmp_path: Path) -> None:
    """In one shell, in order, a server in a shell of its own; only the port and /tmp/e1 are exchanged."""
    done = subprocess.run(
        ["bash", "-c", script(RUN[page], free_port(), tmp_path / "e1")],
        cwd=tree,
        env={name: value for name, value in os.environ.items() if not name.startswith("DJANGO_")},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert [each for each in envelopes(done.stdout) if each["status"] != "success"] == []
    asked = [each for each in RUN[page] if "--json" in each.text or "/run" in each.text]
    assert len(list(envelopes(done.stdout))) == len(asked)


def test_a_command_that_fails_fails_its_page(tmp_path: Path) -> None:
    """Nothing after it runs, and its place is the last that was said."""
    commands = [Command("docs/x.md", line, text) for line, text in ((3, "cd ."), (4, "cd nowhere"), (5, "cd .."))]

    done = subprocess.run(
        ["bash", "-c", script(commands, 1, tmp_path)], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert done.returncode != 0
    assert re.findall("== (.*)", done.stderr) == ["docs/x.md:3", "docs/x.md:4"]


def script(commands: list[Command], port: int, prefix: Path) -> str:
    """Return the shell script of *commands*, each with its place on stderr before it runs."""
    lines = [BEGIN]
    for _, group in itertools.groupby(commands, key=lambda command: command.block):
        block = list(group)
        told = [line for each in block for line in (f"echo '== {each.place}' >&2", each.text)]
        if any(console.is_server(each) for each in block):
            lines += ["(", *told[:-1], f"exec env {told[-1]}", ") >server.log 2>&1 &", "servers+=($!)"]
            lines += [f"await http://127.0.0.1:{port}/healthz"]
        else:
            lines += told
    return re.sub(r"\b8000\b", str(port), "\n".join(lines)).replace("/tmp/e1", str(prefix))


def envelopes(stdout: str) -> Iterator[dict[str, str]]:
    """Yield each envelope on *stdout*, wherever it begins: `curl` ends no line."""
    decoder = json.JSONDecoder()
    at = stdout.find('{"status":')
    while at >= 0:
        envelope, end = decoder.raw_decode(stdout, at)
        yield envelope
        at = stdout.find('{"status":', end)


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port

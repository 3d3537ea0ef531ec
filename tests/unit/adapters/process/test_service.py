"""A process is listened to as long as it lives, and stopped whatever it thinks of it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import pytest

from apps.core.adapters.lines import TAIL_BYTES
from apps.core.adapters.process import service
from apps.core.adapters.process.launch import mortal
from apps.core.adapters.process.service import Service, described, serving
from tests.support.executions import Story, alive
from tests.support.service import wait_until

T = TypeVar("T")


def during(program: str, work: Callable[[Service], Awaitable[T]], story: Story | None = None) -> T:
    """Return what *work* makes of a process that runs the Python *program*."""

    async def main() -> T:
        journal = (story or Story()).journal
        command = [sys.executable, "-u", "-c", program]
        async with serving(command, cwd=Path.cwd(), environ=os.environ, journal=journal) as running:
            return await work(running)

    return asyncio.run(main())


async def ended(running: Service) -> Service:
    """Return once the process has ended and all that it wrote was heard."""
    await running.exited
    await running.drained()
    return running


async def said(story: Story, word: str) -> int:
    """Return the number that follows *word* on a line of stderr, once it is there."""

    def number() -> str:
        lines = [str(record.get("message", "")) for record in story.records]
        return next((line.removeprefix(f"{word} ") for line in lines if line.startswith(f"{word} ")), "")

    return int(await asyncio.to_thread(wait_until, number, lambda: word))


STUBBORN = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
word = "child" if os.fork() == 0 else "parent"
os.write(2, f"{word} {os.getpid()}\\n".encode())
time.sleep(3600)
"""


def test_a_group_that_ignores_sigterm_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parent and child: SIGKILL after a grace."""
    monkeypatch.setattr(service, "STOP_GRACE_S", 0.3)
    story = Story()

    async def both(_: Service) -> tuple[int, int]:
        return await said(story, "parent"), await said(story, "child")

    parent, child = during(STUBBORN, both, story)

    assert not alive(parent)
    wait_until(lambda: not alive(child), lambda: "the end of an orphan: the kernel takes a moment")


POLITE = """
import os, signal, time
def end(*_):
    os.write(2, b"bye\\n")
    os._exit(0)
signal.signal(signal.SIGTERM, end)
os.write(2, f"pid {os.getpid()}\\n".encode())
time.sleep(3600)
"""


def test_a_process_that_takes_sigterm_has_time_to_end_well() -> None:
    """What it says on its way out is heard."""
    story = Story()

    pid = during(POLITE, lambda _: said(story, "pid"), story)

    assert [record["message"] for record in story.records] == [f"pid {pid}", "bye"]


def test_it_is_stopped_also_after_an_exception() -> None:
    """Whatever happens in between."""
    story = Story()

    async def fail(_: Service) -> None:
        await said(story, "pid")
        raise LookupError

    with pytest.raises(LookupError):
        during(POLITE, fail, story)

    assert story.records[-1]["message"] == "bye"
    assert not alive(asyncio.run(said(story, "pid")))


def test_the_tail_is_the_last_2_kib_of_stderr() -> None:
    """Whole lines as far as they fit; what came first is forgotten."""
    program = "import sys\nfor n in range(1000): print('line', n, file=sys.stderr)\nprint('on stdout')"

    tail = during(program, ended).tail()

    assert len(tail.encode()) == TAIL_BYTES
    assert tail.endswith("line 998\nline 999")


def test_the_tail_has_no_secret_even_where_it_is_cut() -> None:
    """It is masked line by line, before anything is cut."""
    secret = "s3cret-" * 4
    program = f"import sys\nfor n in range(300): print({secret!r} * 3, file=sys.stderr)"

    async def main() -> str:
        journal = Story().journal.hiding(secret)
        command = [sys.executable, "-c", program]
        async with serving(command, cwd=Path.cwd(), environ=os.environ, journal=journal) as running:
            return (await ended(running)).tail()

    tail = asyncio.run(main())

    assert set(tail) == {"*", "\n"}
    assert len(tail) == TAIL_BYTES


def test_much_output_never_blocks_the_process() -> None:
    """Both streams are read all along, and a line without end is told in pieces."""
    story = Story()
    program = "import sys\nsys.stderr.write('x' * 5_000_000)\nsys.stdout.write('y' * 5_000_000)"

    assert during(program, ended, story).ending() == "exit status 0"
    assert {record["fd"] for record in story.records} == {1, 2}


@pytest.mark.parametrize(
    ("program", "how"),
    [
        ("raise SystemExit(3)", "exit status 3"),
        ("import os; os.kill(os.getpid(), 9)", "signal SIGKILL"),
        ("import os; os.kill(os.getpid(), 11)", "signal SIGSEGV"),
    ],
)
def test_an_ending_is_told_in_words(program: str, how: str) -> None:
    """Exit status or the signal's name."""
    assert during(program, ended).ending() == how


def test_a_signal_without_a_name_has_its_number() -> None:
    """Real-time signals between the first and the last have none."""
    assert described(-40) == "signal 40"


def test_a_command_is_not_started_for_a_caller_that_is_gone() -> None:
    """Between the start and the promise of the kernel the caller may have died."""
    mine = str(os.getpid())
    command = ["1" if word == mine else word for word in mortal([sys.executable, "-c", "print('ran')"])]

    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout, done.stderr) == (1, "", "")

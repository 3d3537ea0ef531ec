"""A process is told from every later one, and from those elsewhere."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from apps.core.adapters.local import owner as module
from apps.core.adapters.local.owner import Owner


def test_it_survives_a_label() -> None:
    """What was written is read."""
    here = Owner.here()

    assert Owner.parse(str(here)) == here
    assert here.pid == os.getpid()


@pytest.mark.parametrize("text", ["", "x", "boot/abc/1", "boot//"])
def test_a_label_of_others_is_no_owner(text: str) -> None:
    """Nobody is asked about."""
    assert Owner.parse(text) is None


def test_this_process_is_there_and_one_that_ended_is_gone() -> None:
    """Also while it waits for its parent."""
    program = f"""
import sys
sys.path[:0] = {sys.path!r}
from apps.core.adapters.local.owner import Owner
print(Owner.here(), flush=True)
sys.stdin.read()
"""
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        other = Owner.parse(child.stdout.readline().strip())
        assert other is not None
        assert (Owner.here().gone, other.gone) == (False, False)
        child.stdin.close()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # ended, and still on the list of processes

        assert other.gone is True
    assert other.gone is True


def test_another_process_with_its_number_is_another_one() -> None:
    """Numbers come again; the time of a start does not."""
    assert replace(Owner.here(), started="1").gone is True


def test_nothing_is_known_of_another_machine() -> None:
    """Or of another boot, or another container."""
    assert replace(Owner.here(), place="elsewhere").gone is None


def test_without_proc_the_number_alone_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As on a Mac."""
    monkeypatch.setattr(module, "_PROC", tmp_path)

    assert Owner.here().gone is False
    with subprocess.Popen([sys.executable, "-c", "pass"]) as child:
        child.wait()
    assert replace(Owner.here(), pid=child.pid).gone is True

"""What a tree of processes uses, read from `/proc`: every process of a server counts, its workers included."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_TICK_US = 1_000_000 // os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Usage:
    """What a tree has used so far.

    Attributes:
        cpu_us: Processor time of its living processes, in microseconds.
        rss_bytes: Memory that lies in RAM, what processes share counted for each.
        pss_bytes: The same, what processes share divided among them.
        processes: How many there are.
    """

    cpu_us: int
    rss_bytes: int
    pss_bytes: int
    processes: int


def tree(root: int) -> list[int]:
    """Return the process *root* and all below it."""
    children: dict[int, list[int]] = {}
    for entry in _PROC.iterdir():
        if entry.name.isdigit() and (fields := _stat(int(entry.name))):
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found = [root]
    for pid in found:  # grows while it is read
        found.extend(children.get(pid, []))
    return found


def usage(root: int) -> Usage:
    """Return what the tree below *root* uses."""
    cpu_us = rss = pss = count = 0
    for pid in tree(root):
        fields = _stat(pid)
        if fields is None:
            continue
        count += 1
        cpu_us += (int(fields[11]) + int(fields[12])) * _TICK_US
        rss += int(fields[21]) * _PAGE
        pss += _pss(pid)
    return Usage(cpu_us, rss, pss, count)


def lives(pid: int) -> bool:
    """Whether *pid* still runs; one that has ended and waits for its parent to look does not."""
    fields = _stat(pid)
    return fields is not None and fields[0] != "Z"


def _stat(pid: int) -> list[str] | None:
    """Return the fields of `/proc/PID/stat` from the state on, or ``None`` when the process has gone."""
    try:
        text = (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return text.rpartition(")")[2].split()  # a name may hold spaces and brackets


def _pss(pid: int) -> int:
    try:
        text = (_PROC / str(pid) / "smaps_rollup").read_text(encoding="ascii")
    except OSError:
        return 0
    line = next((line for line in text.splitlines() if line.startswith("Pss:")), "Pss: 0 kB")
    return int(line.split()[1]) * 1024

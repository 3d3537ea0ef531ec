"""Who a container belongs to: one process of one boot, so that what a killed caller left can be told from the rest."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

_PROC: Final = Path("/proc")
_STARTED: Final = 19  # of the fields after the command's name: field 22 of proc(5) `/proc/pid/stat`


@dataclass(frozen=True, slots=True)
class Owner:
    """A process, by what no later process has too.

    Attributes:
        place: The boot and the process namespace, in which the id means something; ``""`` where there is no `/proc`.
        pid: Its id there.
        started: When it started, in clock ticks since that boot.
    """

    place: str
    pid: int
    started: str

    @classmethod
    def here(cls) -> Self:
        """Return this process."""
        return cls(_place(), os.getpid(), _started(os.getpid()) or "")

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Return the owner that *text* spells, or ``None`` where it spells none."""
        place, _, rest = text.partition("/")
        pid, _, started = rest.partition("/")
        return cls(place, int(pid), started) if pid.isdecimal() else None

    def __str__(self) -> str:
        return f"{self.place}/{self.pid}/{self.started}"

    @property
    def gone(self) -> bool | None:
        """Whether the process has ended; ``None`` where that cannot be seen from here."""
        if self.place != _place():
            return None
        if self.place:
            return _started(self.pid) != self.started
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            return False
        return False


def _place() -> str:
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot}.{(_PROC / 'self/ns/pid').stat().st_ino}"
    except OSError:
        return ""


def _started(pid: int) -> str | None:
    """Return when process *pid* started; ``None`` where there is none, or it has ended and waits for its parent."""
    try:
        stat = (_PROC / str(pid) / "stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    state, *fields = stat.rpartition(") ")[2].split()
    return None if state in {"Z", "X"} else fields[_STARTED - 1]

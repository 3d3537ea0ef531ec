"""What a processor writes, line by line: told to the journal, and the end of its stderr kept for whoever asks why."""

from collections import deque
from typing import Final

from .journal import Journal

TAIL_BYTES: Final = 2048
LONGEST_LINE: Final = 1024 * 1024
_STDERR: Final = 2


class Lines:
    """Takes the bytes of both streams as they come, and forwards whole lines."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._rest: dict[int, bytes] = {}
        self._tail: deque[str] = deque()
        self._tail_bytes = 0

    def feed(self, fd: int, chunk: bytes) -> None:
        """Take a *chunk* that was written to the descriptor *fd*; a line without end is told in pieces."""
        *lines, rest = (self._rest.pop(fd, b"") + chunk).split(b"\n")
        for line in lines:
            self._take(fd, line)
        if len(rest) > LONGEST_LINE:
            self._take(fd, rest)
        elif rest:
            self._rest[fd] = rest

    def end(self, fd: int) -> None:
        """Tell what *fd* wrote after its last line break: it was closed."""
        if rest := self._rest.pop(fd, b""):
            self._take(fd, rest)

    def tail(self) -> str:
        """Return at most the last 2 KiB of stderr, masked."""
        return "\n".join(self._tail).encode()[-TAIL_BYTES:].decode(errors="ignore")

    def _take(self, fd: int, line: bytes) -> None:
        if fd == _STDERR:
            self._keep(self._journal.masked(line[-TAIL_BYTES:].decode(errors="replace")))
        self._journal.forward(line, fd)

    def _keep(self, text: str) -> None:
        self._tail.append(text)
        self._tail_bytes += len(text)
        while self._tail_bytes - len(self._tail[0]) >= TAIL_BYTES:
            self._tail_bytes -= len(self._tail.popleft())

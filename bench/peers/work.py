"""The work that every peer and limit does for one request, so that only the servers differ."""

import itertools
import os

FOLDER = os.environ.get("BENCH_FILES", "")
CONTENT = b"x" * 1024
WORD = "tok "

_numbers = itertools.count()


def answer(text: str) -> str:
    """Return *text*; before that, write one file of 1 KiB where the driver asks for files."""
    if FOLDER:
        with open(f"{FOLDER}/{os.getpid()}-{next(_numbers)}.txt", "wb") as file:  # noqa: PTH123  # as most people write it
            file.write(CONTENT)
    return text

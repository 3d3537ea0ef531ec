"""Execution ids that nobody has used before, all of one length."""

from __future__ import annotations

import itertools
import os
import time
from typing import Final

from .subjects import ID

_DIGITS: Final = 6
_numbers = itertools.count()


def fresh_tag() -> str:
    """Return what begins the ids of one load; each of its ids adds six digits."""
    process = os.getpid() % 1000
    return f"{time.time_ns() // 1_000_000 % 10_000_000:07d}{process:03d}"


def fresh_id() -> str:
    """Return an id for one request."""
    return _sized(f"{fresh_tag()}{next(_numbers) % 10**_DIGITS:0{_DIGITS}d}")


def _sized(text: str) -> str:
    assert len(text) == len(ID)  # noqa: S101  # or Content-Length would lie
    return text

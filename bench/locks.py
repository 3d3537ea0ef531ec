"""The hashed locks of the peers, compiled as all others are; apart from those, because nobody ships what they name."""

from __future__ import annotations

from scripts.lock import Lock, compile_lock

from .paths import PEERS


def locks() -> list[Lock]:
    """Return the lock of every peer."""
    return [Lock(path.with_suffix(".txt"), (path,)) for path in sorted(PEERS.glob("*/requirements.in"))]


def compile_all(*, upgrade: bool) -> None:
    """Write them, with newer versions where *upgrade* asks for those."""
    for lock in locks():
        compile_lock(lock, upgrade=upgrade)

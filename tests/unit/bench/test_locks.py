"""Every peer is installed from a current lock with hashes."""

from __future__ import annotations

import pytest

from bench.catalogue import PEERS
from bench.locks import locks
from scripts.lock import Lock, problems


@pytest.mark.parametrize("lock", locks(), ids=lambda lock: lock.output.parent.name)
def test_a_peers_lock_is_current(lock: Lock) -> None:
    """`python -m bench lock` compiles them again."""
    assert problems(lock) == []


def test_every_peer_has_a_lock() -> None:
    """And no lock is without a peer."""
    assert {peer.environment.lock for peer in PEERS} == {lock.output for lock in locks()}

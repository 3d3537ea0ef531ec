"""How long a run of the driver takes: told while it runs, and corrected by what it has taken so far."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from .catalogue import PEERS
from .profiles import GIB, Profile

# seconds on a quiet machine with two cores; only their proportions matter once something is measured
_START_S: Final = 1.3  # a server of one process, started and stopped
_PEER_START_S: Final = 3.0
_AROUND_S: Final = 0.4  # what a load needs besides its duration
_QUICK: Final = 4  # limits and ours
_TOKENS_S: Final = 30_000  # of limits and ours
_PEER_TOKENS_S: Final = 9_000
_RUNS_S: Final = 1000  # one after another, by eight clients
_BIG_S: Final = 18.0  # a GiB written, saved, hashed, and synced, of ours and by hand
_TRUST_S: Final = 60.0  # for so long the numbers above are believed, whatever the machine says


def _loads(profile: Profile) -> float:
    load_s = profile.seconds + _AROUND_S
    quick = _START_S + profile.warm_s + len(profile.connections) * load_s
    peer = _PEER_START_S + profile.warm_s + sum(each > 1 for each in profile.connections) * load_s
    works = len(profile.works)
    beside = sum(work in {"refusal", "replay"} for work in profile.works)  # only ours have them
    return profile.rounds * ((works - beside) * (_QUICK * quick + _loaded(profile) * peer) + beside * 2 * quick)


def _streams(profile: Profile) -> float:
    tokens = profile.streams * profile.tokens
    quick = 3 * (_START_S + tokens / _TOKENS_S)
    peers = len({name.split("-")[0] for name in profile.peers}) * (
        _PEER_START_S + tokens / _PEER_TOKENS_S + profile.asks / _RUNS_S
    )
    return profile.rounds * (quick + peers)


def _starts(profile: Profile) -> float:
    quick = (profile.starts + 1) * _QUICK * (_START_S + 0.5)
    return quick + (min(profile.starts, 3) + 1) * _loaded(profile) * (_PEER_START_S + 0.5)


def _loaded(profile: Profile) -> int:
    """Return how many peers answer one request at a time; the others only stream."""
    return sum(peer.name in profile.peers and bool(peer.requests) for peer in PEERS)


_ROWS: Final[dict[str, Callable[[Profile], float]]] = {
    "loads": _loads,
    "streams": _streams,
    "starts": _starts,
    "memory": lambda profile: profile.rounds * 3 * (_START_S + 2 + profile.runs / _RUNS_S),
    "health": lambda profile: profile.rounds * 4 * (_START_S + 1.5 + profile.health_s),
    "files": lambda profile: profile.repeats * (2 + sum(profile.sizes) / GIB * _BIG_S / 2),
    "cli": lambda profile: profile.starts * 0.4 + profile.repeats * 1.5,
    "big": lambda profile: profile.repeats * (4 + profile.big_bytes / GIB * _BIG_S),
    "adapters": lambda profile: profile.repeats * (50 + profile.asks * 0.02) + (profile.starts + 1) * 3,
}


def expected_s(profile: Profile, row: str) -> float:
    """Return how many seconds *row* is expected to take on a quiet machine."""
    return _ROWS[row](profile)


def left_s(
    profile: Profile, rows: Sequence[str], spent: Mapping[str, float], share: float, row_spent_s: float
) -> float:
    """Return how many seconds are left.

    Args:
        profile: How thorough it is.
        rows: All that are measured, in their order.
        spent: The seconds of each row that is done; the one after them is under way.
        share: How much of that one is done, from 0 to 1.
        row_spent_s: The seconds that it has taken so far.
    """
    expected = [expected_s(profile, row) for row in rows]
    done = sum(expected[: len(spent)]) + share * expected[len(spent)]
    pace = (sum(spent.values()) + row_spent_s + _TRUST_S) / (done + _TRUST_S)
    return (sum(expected) - done) * pace

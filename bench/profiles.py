"""How thorough a run is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from .catalogue import PEERS
from .paths import RESULTS, VAR

KIB: Final = 1024
MIB: Final = 1024 * KIB
GIB: Final = 1024 * MIB


@dataclass(frozen=True, slots=True)
class Profile:
    """What is measured, and how often.

    Attributes:
        name: As in the results.
        rows: Which rows, by their modules' names.
        peers: Which peers.
        works: Which kinds of request are loaded.
        rounds: How often each load is repeated, in alternating order.
        seconds: How long a load goes on.
        warm_s: How long a server is loaded before that counts.
        connections: How many clients at once; one client alone is no load for peers, and for nobody without files.
        starts: How often each server is started; peers, which are slow, at most three times.
        runs: How many runs lie between the two looks at memory.
        streams: How many streams at once.
        tokens: How many tokens a stream has.
        asks: How many requests one after another, where a single client is looked at.
        health_s: How long `/healthz` is asked in each case.
        sizes: Sizes of one output, in bytes.
        outputs: Numbers of outputs.
        repeats: How often a single slow thing is repeated.
        big_bytes: The size of the big output.
        folder: Where results go.
    """

    name: str
    rows: tuple[str, ...]
    peers: tuple[str, ...]
    works: tuple[str, ...]
    rounds: int
    seconds: float
    warm_s: float
    connections: tuple[int, ...]
    starts: int
    runs: int
    streams: int
    tokens: int
    asks: int
    health_s: float
    sizes: tuple[int, ...]
    outputs: tuple[int, ...]
    repeats: int
    big_bytes: int
    folder: Path


_ALL_ROWS: Final = ("loads", "streams", "starts", "memory", "health", "files", "cli", "big", "adapters")
_ALL_WORKS: Final = ("echo", "file-tmpfs", "file-disk", "refusal", "replay")
_ALL_PEERS: Final = tuple(peer.name for peer in PEERS)

FULL: Final = Profile(
    name="full",
    rows=_ALL_ROWS,
    peers=_ALL_PEERS,
    works=_ALL_WORKS,
    rounds=3,
    seconds=2,
    warm_s=1,
    connections=(1, 8, 64),
    starts=7,
    runs=10_000,
    streams=64,
    tokens=1000,
    asks=200,
    health_s=5,
    sizes=(KIB, 64 * KIB, MIB, 16 * MIB, 128 * MIB, GIB),
    outputs=(1, 10, 50, 200),
    repeats=3,
    big_bytes=GIB,
    folder=RESULTS,
)

# the answer to "did I break it?", not a result: fewer peers, one round
QUICK: Final = Profile(
    name="quick",
    rows=("loads", "streams", "starts", "memory", "health"),
    peers=("kserve",),
    works=("echo", "file-tmpfs", "refusal", "replay"),
    rounds=1,
    seconds=1,
    warm_s=1,
    connections=(64,),
    starts=1,
    runs=500,
    streams=64,
    tokens=200,
    asks=100,
    health_s=1,
    sizes=(KIB, MIB),
    outputs=(1, 50),
    repeats=2,
    big_bytes=16 * MIB,
    folder=VAR / "quick",
)

# every row and every peer, each as short as it can be: shows that the driver works, and nothing about speed
SMOKE: Final = Profile(
    name="smoke",
    rows=_ALL_ROWS,
    peers=_ALL_PEERS,
    works=_ALL_WORKS,
    rounds=1,
    seconds=1,
    warm_s=1,
    connections=(1, 8, 64),
    starts=2,
    runs=1000,
    streams=64,
    tokens=100,
    asks=50,
    health_s=2,
    sizes=(KIB, MIB, 64 * MIB),
    outputs=(1, 50, 200),
    repeats=2,
    big_bytes=64 * MIB,
    folder=VAR / "smoke",
)

PROFILES: Final = {profile.name: profile for profile in (FULL, QUICK, SMOKE)}

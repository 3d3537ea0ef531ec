"""What is to be reached: the goals P1 to P10, each within one run of the driver, as ratios as a rule."""

from __future__ import annotations

from typing import Final

from .catalogue import OURS
from .judging import BEST_PEER, Check, Outcome, judge
from .series import Key, Results

TITLES: Final = {
    "P1": "`/run`, async handler, full contract, one output of 1 KiB, index, receipt and mirror",
    "P2": "the same, sync handler",
    "P3": "refusals and replays",
    "P4": "many streams at once, and the first event",
    "P5": "start to healthy of a processor without set-up",
    "P6": "memory, idle and after many runs",
    "P7": "`/healthz` with 64 runs in flight",
    "P8": "a run through the LocalAdapter",
    "P9": "one big output through a run, its verification and `--save-dir`",
    "P10": "`manage.py run_processor --help`",
}


def outcomes(results: Results) -> list[Outcome]:
    """Return what *results* say about every check."""
    return [judge(check, results) for check in CHECKS]


def _ratio(
    goal: str, what: str, over: Key, to: str | Key, *, at_least: float | None = None, at_most: float | None = None
) -> Check:
    """Return the check that *over* is at least or at most so many times the same series of the subject *to*."""
    under = over._replace(subject=to) if isinstance(to, str) else to
    if at_least is not None:
        return Check(goal, what, over, under, "at least", at_least)
    assert at_most is not None  # noqa: S101  # one of both is given
    return Check(goal, what, over, under, "at most", at_most)


def _runs(goal: str, subject: str, *, peers: float, tmpfs: float, disk: float) -> list[Check]:
    """Return the checks of runs a second on both stores, at 8 and 64 connections."""
    found = []
    for store, bare in (("tmpfs", tmpfs), ("disk", disk)):
        for connections in (8, 64):
            ours = Key(f"file-{store}", subject, "rate", f"c{connections}")
            what = f"runs a second at {connections} connections, {store}"
            found.append(_ratio(goal, f"{what}, to the best peer", ours, BEST_PEER, at_least=peers))
            found.append(_ratio(goal, f"{what}, to bare with one file", ours, "bare", at_least=bare))
    return found


def _answers() -> list[Check]:
    """Return the checks of what is answered without a run."""
    return [
        _ratio(
            "P3",
            f"{row}s a second at {connections} connections, to bare",
            Key(row, "ours-async", "rate", f"c{connections}"),
            Key("echo", "bare", "rate", f"c{connections}"),
            at_least=0.5,
        )
        for row in ("refusal", "replay")
        for connections in (8, 64)
    ]


def _of_each() -> list[Check]:
    """Return the checks that hold for both kinds of handler alike."""
    found = []
    for subject in OURS:
        name, label = subject.name, subject.label
        started = Key("start", name, "start_ms")
        found.append(_ratio("P5", f"{label}, to plain FastAPI", started, "fastapi", at_most=1.0))
        idle = Key("start", name, "rss_mib")
        found.append(_ratio("P6", f"idle, {label}, to plain FastAPI", idle, "fastapi", at_most=1.15))
        after, before = Key("memory", name, "after_mib"), Key("memory", name, "before_mib")
        found.append(_ratio("P6", f"after many runs, {label}, to before", after, before, at_most=1.1))
        for case, bound in (("waiting", 20.0), ("spinning", 250.0)):
            what = f"p99 in ms, {label}, {case}"
            found.append(Check("P7", what, Key("health", name, "p99_ms", case), None, "at most", bound))
    return sorted(found, key=lambda check: check.goal)


CHECKS: Final = (
    *_runs("P1", "ours-async", peers=3.5, tmpfs=0.45, disk=0.40),
    *(
        _ratio(
            "P1",
            f"p50 at one connection, {store}, to bare with one file",
            Key(f"file-{store}", "ours-async", "p50_ms", "c1"),
            "bare",
            at_most=2.0,
        )
        for store in ("tmpfs", "disk")
    ),
    *_runs("P2", "ours-sync", peers=2.0, tmpfs=0.35, disk=0.35),
    *(
        _ratio(
            "P2",
            f"p99 at 64 connections, {store}, to bare with one file",
            Key(f"file-{store}", "ours-sync", "p99_ms", "c64"),
            "bare",
            at_most=2.5,
        )
        for store in ("tmpfs", "disk")
    ),
    *_answers(),
    _ratio("P4", "events a second, to the best peer", Key("streams", "ours-async", "rate"), BEST_PEER, at_least=3.0),
    _ratio(
        "P4",
        "first event, to a whole `/run`",
        Key("first-event", "ours-async", "first_ms"),
        Key("first-event", "ours-async", "run_ms"),
        at_most=1.2,
    ),
    *_of_each(),
    _ratio("P8", "cold, to the same steps by hand", Key("adapter", "local", "cold_ms"), "docker", at_most=1.15),
    Check(
        "P8",
        "`run_processor --adapter local` as a whole, in seconds more than a script of `docker` and `curl`",
        Key("adapter", "run_processor", "whole_s"),
        Key("adapter", "script", "whole_s"),
        "at most",
        0.35,
        difference=True,
    ),
    _ratio(
        "P8",
        "warm, to a keep-alive POST by the adapter's own client, httpx2 over its wire",
        Key("adapter", "local", "warm_ms"),
        "direct",
        at_most=1.3,
    ),
    _ratio(
        "P8",
        "a container's start to healthy, to a bare FastAPI app in the same image",
        Key("container", "processor", "start_ms"),
        "fastapi",
        at_most=1.15,
    ),
    Check("P9", "memory above idle, in MiB", Key("big", "run", "above_idle_mib"), None, "at most", 64.0),
    _ratio("P9", "time, to `cp` and `sha256sum`", Key("big", "run", "seconds"), "cp+sha256sum", at_most=1.5),
    _ratio("P10", "time, to `django-admin help`", Key("help", "run_processor", "ms"), "django-admin", at_most=1.3),
)

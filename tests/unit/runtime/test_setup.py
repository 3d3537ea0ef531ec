"""Set-up belongs to real: mock never waits for it and never fails by it."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Final

import pytest

from processor_runtime.execution import Execution
from processor_runtime.setup import SetUpState
from tests.unit.runtime.services import GENEROUS_S, Bench, payload, until, write_hello

# for the set-up's thread to end in, if nothing keeps it: long enough to show the fault, and no part of what is tested
NOBODY_WAITS_S: Final = 0.2


def test_a_mock_run_never_begins_the_set_up_nor_waits_for_it(tmp_path: Path) -> None:
    """Set-up belongs to real."""
    started, release = threading.Event(), threading.Event()

    def setup(_secrets: object) -> str:
        started.set()
        assert release.wait(GENEROUS_S)
        return "resource"

    bench = Bench(
        tmp_path, lambda run: run.extra.update(resource=run.resource), setup=setup, secrets={"NEEDED_KEY": "x"}
    )
    assert bench.ask(payload("e1")).envelope["meta"]["extra"] == {"resource": None}
    assert not started.is_set()
    assert bench.service.health() == "ok"

    bench.service.start()
    assert started.wait(GENEROUS_S)
    assert bench.service.health() == "starting"
    assert bench.ask(payload("e2")).verdict == (200, "success")
    real = bench.ask(payload("e3", mode="real"))
    bench.until_waiting(1)
    assert bench.ask(payload("e4")).verdict == (200, "success")
    release.set()
    assert real.envelope["meta"]["extra"] == {"resource": "resource"}
    assert bench.service.health() == "ok"


def test_a_set_up_that_ends_while_a_run_is_being_queued_starts_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody else would: it is the only run."""
    release = threading.Event()

    def setup(_secrets: object) -> str:
        assert release.wait(GENEROUS_S)
        return "resource"

    bench = Bench(
        tmp_path, lambda run: run.extra.update(resource=run.resource), setup=setup, secrets={"NEEDED_KEY": "x"}
    )
    executor = bench.service._executor
    may_start = executor._may_start

    def meanwhile(execution: Execution) -> bool:
        found = may_start(execution)
        if not found and not release.is_set():
            release.set()
            until(lambda: executor.setup_state is SetUpState.READY)
            for thread in threading.enumerate():
                if thread.name == "setup":
                    thread.join(NOBODY_WAITS_S)
        return found

    monkeypatch.setattr(executor, "_may_start", meanwhile)

    assert bench.ask(payload("e1", mode="real")).envelope["meta"]["extra"] == {"resource": "resource"}


def test_a_failed_set_up_fails_real_runs_and_no_mock_run(tmp_path: Path) -> None:
    """Those that wait for it, and those that come later."""
    release = threading.Event()

    def setup(_secrets: object) -> None:
        assert release.wait(GENEROUS_S)
        raise SystemExit(3)

    bench = Bench(tmp_path, write_hello, setup=setup, secrets={"NEEDED_KEY": "x"})
    waits = bench.ask(payload("e1", mode="real"))
    bench.until_waiting(1)
    release.set()

    assert waits.verdict == (500, "ERR_SETUP")
    assert bench.service.health() == "failed"
    assert bench.ask(payload("e2", mode="real")).verdict == (500, "ERR_SETUP")
    assert bench.ask(payload("e3")).verdict == (200, "success")


def test_secrets_reach_real_runs_only(tmp_path: Path) -> None:
    """Required and optional ones that are set."""
    seen: dict[str, dict[str, str]] = {}
    secrets = {"NEEDED_KEY": "n", "SPARE_KEY": "s"}
    bench = Bench(tmp_path, lambda run: seen.update({run.mode: dict(run.secrets)}), secrets=secrets)

    assert bench.ask(payload("e1")).verdict == bench.ask(payload("e2", mode="real")).verdict == (200, "success")

    assert seen == {"mock": {}, "real": secrets}

"""Runs the conformance kit against the processor that a fault is planted in."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import sys
from collections.abc import Collection
from pathlib import Path

from processor_conformance.catalogue import catalogue
from processor_conformance.cli import options_of
from processor_conformance.examples import Example
from processor_conformance.outcome import Outcome
from processor_conformance.runner import judge
from tests.contract.planted.faults import CHANGED

ROOT = Path(__file__).resolve().parents[3]
ECHO = ROOT / "tests/support/processors/kit_echo"
COMMAND = f"{sys.executable} -m uvicorn tests.contract.planted.faulty_http:app --host 127.0.0.1 --port {{port}}"
OTHER = Example({"schema": "v1", "params": {"text": "other"}})  # else the kit makes one, anew for each fault


def failed_checks(fault: str, only: Collection[str]) -> dict[str, str]:
    """Return, by id, what was seen of each check of *only* that fails where *fault* (``""``: none) is planted.

    Raises:
        AssertionError: one of them was not judged.
    """
    places = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    env = [f"{CHANGED}={fault}", f"PYTHONPATH={os.pathsep.join(filter(None, places))}"]
    options = options_of(start=COMMAND, cwd=str(ECHO), env=env, inputs_file=str(ECHO / "examples.json"))
    options = dataclasses.replace(options, examples={**options.examples, "other": OTHER})
    results = asyncio.run(judge(options, [check for check in catalogue() if check.id in only]))
    unjudged = [(result.check.id, result.reason) for result in results if result.outcome is Outcome.NOT_CHECKED]
    assert not unjudged, unjudged
    return {result.check.id: result.seen for result in results if result.outcome is Outcome.FAILED}

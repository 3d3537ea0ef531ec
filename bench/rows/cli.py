"""Whole commands: what starting one costs, and a run from the command line (P10)."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from bench.commands import finish
from bench.context import Context
from bench.environments import SkippedError

_MANAGE: Final = (sys.executable, "manage.py", "run_processor")
_INPUTS: Final = {"schema": "v1", "params": {"messages": [{"role": "user", "content": "Hello"}]}}


def measure(context: Context) -> None:
    """Ask for help, of us and of Django, in alternation; then run `llm/chat@1` from its source."""
    helps: dict[str, Sequence[str | Path]] = {
        "django-admin": [Path(sys.executable).with_name("django-admin"), "help"],
        "run_processor": [*_MANAGE, "--help"],
    }
    with context.skipping("help"):
        for number in range(context.profile.starts + 1):
            for name, argv in helps.items():
                seconds = finish(argv).seconds
                if number:  # the first ones fill caches
                    context.add("help", name, ms=seconds * 1000)
    argv = [*_MANAGE, "--ref", "llm/chat@1", "--adapter", "process", "--inputs-json", json.dumps(_INPUTS), "--json"]
    with context.skipping("run_processor"):
        for number in range(context.profile.repeats + 1):
            done = finish(argv)
            if json.loads(done.stdout)["status"] != "success":
                raise SkippedError(done.stdout[-400:])
            if number:  # the first one builds the processor's environment
                context.add("command", "run_processor", "process", ms=done.seconds * 1000)

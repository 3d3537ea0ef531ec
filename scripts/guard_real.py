"""Prove that `real` is refused in CI, for every processor and adapter: `make guard-real`.

A guard that nobody sees failing is trusted for no reason: this asks for what must be refused, and fails unless it is
refused with ERR_CI_SAFETY before anything starts. The processor's own refusal is held by the contract tests.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "code"))

from apps.core.registry import load_registry  # noqa: E402 - found through the path above

ADAPTERS = ("process", "local", "modal")
CODE = "ERR_CI_SAFETY"
MANAGE = (sys.executable, "manage.py")


def refused(ref: str, adapter: str, manage: Sequence[str] = MANAGE) -> str | None:
    """Return what is wrong when *ref* is asked for `real` by *adapter* where `CI` is set; None when it is refused."""
    done = subprocess.run(
        [
            *(*manage, "run_processor", "--ref", ref, "--adapter", adapter, "--mode", "real"),
            *("--inputs-json", "{}", "--json"),
        ],
        cwd=ROOT / "code",
        env=os.environ | {"CI": "true", "DJANGO_SETTINGS_MODULE": "backend.settings.test"},
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        envelope = json.loads(done.stdout)
    except json.JSONDecodeError:
        return f"no envelope, but {(done.stdout + done.stderr)[-200:]!r}"
    code = envelope.get("error", {}).get("code", envelope["status"])
    if (done.returncode, code) != (1, CODE):
        return f"exit status {done.returncode} and {code}, not 1 and {CODE}"
    return f"refused, but not before it began: {done.stderr[:200]!r}" if done.stderr else None


def main(manage: Sequence[str] = MANAGE) -> int:
    """Ask for what must be refused; 1 where it was not."""
    asked = list(itertools.product([str(each.ref) for each in load_registry()], ADAPTERS))
    with ThreadPoolExecutor(max_workers=2) as pool:
        answers = pool.map(lambda pair: refused(pair[0], pair[1], manage), asked)
        found = [
            (f"{ref} by {adapter}: {wrong or f'real is refused ({CODE})'}", wrong)
            for (ref, adapter), wrong in zip(asked, answers, strict=True)
        ]
    print("\n".join(line for line, _ in found))
    return 1 if not found or any(wrong for _, wrong in found) else 0


if __name__ == "__main__":
    sys.exit(main())

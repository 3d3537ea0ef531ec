"""Run every check, whichever of them fail, then say how many did: `make check`."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_BIN = Path(sys.executable).parent
_PYTHON = sys.executable
DOCKERFILES = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "code" / "apps").rglob("Dockerfile"))


@dataclass(frozen=True, slots=True)
class Check:
    """One question with a yes or no: a command that ends with status 0 when all is well, run in *folder*."""

    name: str
    command: tuple[str, ...]
    folder: Path = ROOT


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check answered, all it wrote, and how long it took."""

    check: Check
    passed: bool
    output: str
    duration_s: float


CHECKS = (
    Check("format", (str(_BIN / "ruff"), "format", "--check", "--output-format", "concise", ".")),
    Check("lint", (str(_BIN / "ruff"), "check", "--output-format", "concise", ".")),
    Check("types", (str(_BIN / "mypy"),), ROOT / "code"),
    Check("imports", (str(_BIN / "lint-imports"), "--no-cache"), ROOT / "code"),
    Check("django", (_PYTHON, "manage.py", "check", "--fail-level", "WARNING"), ROOT / "code"),
    Check("generated files", (_PYTHON, "-m", "scripts.generate", "--check")),
    Check("locks", (_PYTHON, "-m", "scripts.lock", "--check")),
    # shellcheck is told off: no step holds more shell than one `make`
    Check("workflows", (str(_BIN / "actionlint"), "-shellcheck=", "-pyflakes=")),
    Check("workflow safety", (str(_BIN / "zizmor"), "--offline", "--quiet", "--persona", "pedantic", ".github")),
    Check("dockerfiles", (str(_BIN / "hadolint"), *DOCKERFILES)),
    Check("docs", (str(_BIN / "mkdocs"), "build", "--strict")),  # never --quiet: it hides the warnings that are to fail
)


def run(check: Check) -> Finding:
    """Return what *check* finds; a command that cannot be started is a finding like any other."""
    began = time.monotonic()
    try:
        done = subprocess.run(
            check.command,
            cwd=check.folder,
            env=os.environ | {"DJANGO_SETTINGS_MODULE": "backend.settings.test"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        passed, output = done.returncode == 0, done.stdout
    except OSError as error:
        passed, output = False, str(error)
    return Finding(check, passed, output.strip(), time.monotonic() - began)


def main(checks: Sequence[Check] = CHECKS) -> int:
    """Run *checks*, two at a time, and print the findings in their order; 1 if any failed."""
    failed = []
    # mypy takes as long as all the others together: two at a time is nearly as quick as all at once
    with ThreadPoolExecutor(max_workers=2) as pool:
        for finding in pool.map(run, checks):
            mark = "ok    " if finding.passed else "FAILED"
            print(f"{mark} {finding.check.name} ({finding.duration_s:.1f} s)", flush=True)
            if not finding.passed:
                failed.append(finding.check.name)
                print("\n".join(f"       {line}" for line in finding.output.splitlines()), flush=True)
    verdict = f"{len(failed)} of {len(checks)} checks failed: {', '.join(failed)}"
    print(verdict if failed else f"all {len(checks)} checks passed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

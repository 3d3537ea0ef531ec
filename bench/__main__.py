"""The driver: `python -m bench run|report|lock|guard`."""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

from . import environments, locks, report, wrk
from .catalogue import SUBJECTS
from .catalogue.ours import stage
from .context import Context
from .paths import ROOT, VAR
from .profiles import PROFILES, Profile
from .rows import measures
from .series import Results

# what the versions in the results are of: by environment, the packages that do the work
_PACKAGES = {
    "ours": ("fastapi", "uvicorn", "uvloop", "httptools", "orjson", "jsonschema-rs"),
    "cog": ("cog", "coglet"),
    "bentoml": ("bentoml", "uvicorn"),
    "litserve": ("litserve", "uvicorn"),
    "kserve": ("kserve", "uvicorn"),
    "mlserver": ("mlserver", "uvicorn"),
    "truss": ("truss", "fastapi"),
}


def main() -> int:
    """Do what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    doors = parser.add_subparsers(required=True, metavar="run|report|lock|guard")
    run = doors.add_parser("run", help="measure, and write results, table and picture")
    run.add_argument("--profile", choices=PROFILES, default="full", help="how thorough (default: %(default)s)")
    run.add_argument(
        "--rows", nargs="+", choices=PROFILES["full"].rows, help="only these rows; the numbers of others are kept"
    )
    run.set_defaults(door=lambda asked: measure(PROFILES[asked.profile], tuple(asked.rows or ())))
    again = doors.add_parser("report", help="write table and picture of what was measured before")
    again.add_argument("--profile", choices=PROFILES, default="full")
    again.set_defaults(door=lambda asked: report.write(PROFILES[asked.profile].folder))
    lock = doors.add_parser("lock", help="compile the peers' locks again")
    lock.add_argument("--upgrade", action="store_true", help="take newer versions")
    lock.set_defaults(door=lambda asked: locks.compile_all(upgrade=asked.upgrade))
    guard = doors.add_parser("guard", help="fail if a run costs many more instructions than it may")
    guard.set_defaults(door=lambda _: _guard())
    asked = parser.parse_args()
    return int(asked.door(asked) or 0)


def measure(profile: Profile, only: tuple[str, ...]) -> int:
    """Measure the rows of *profile*, or *only* some of them, and write what came out; 1 if nothing did."""
    results = Results(profile.name)
    context = Context(profile, results, only or profile.rows)
    try:
        results.machine = machine() | {"wrk": wrk.version()} | measured()
        stage()
        _prepare(context)
        for name, row in measures(context.rows):
            context.begin(name)
            row(context)
            results.dump(VAR / f"{profile.name}-so-far.json")  # what was measured outlives a mistake in the next row
    except environments.SkippedError as exc:
        sys.stderr.write(f"bench: {exc}\n")
        return 1
    finally:
        context.close()
    if only:
        results = _merged(profile.folder, results, only)
    results.dump(profile.folder / "results.json")
    report.write(profile.folder)
    return 0


def machine() -> dict[str, str]:
    """Return what this machine is, as readers of numbers want to know it."""
    cpu = [line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    memory = [line.split()[1] for line in _lines("/proc/meminfo") if line.startswith("MemTotal")]
    return {
        "cpu": f"{len(os.sched_getaffinity(0))} x {cpu[0] if cpu else platform.machine()}",
        "memory": f"{int(memory[0]) // 1024 // 1024} GiB" if memory else "",
        "kernel": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


def measured() -> dict[str, str]:
    """Return of which source the numbers are, and of which day."""
    described = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return {"commit": described.stdout.strip() or "unknown", "date": datetime.now(UTC).date().isoformat()}


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="utf-8").splitlines()
    except OSError:
        return []


def _prepare(context: Context) -> None:
    """Install every environment before anything is measured, and note what is in it."""
    wanted = {"ours"} | {name.split("-")[0] for name in context.profile.peers}
    for environment in {subject.environment.name: subject.environment for subject in SUBJECTS.values()}.values():
        if environment.name in wanted:
            with context.skipping(f"environment {environment.name}"):
                context.say(f"environment {environment.name}")
                environments.prepare(environment)
                versions = environments.versions(environment, _PACKAGES[environment.name])
                context.results.versions[environment.name] = versions


def _merged(folder: Path, new: Results, only: tuple[str, ...]) -> Results:
    """Return what was measured before, with the rows that *new* has in place of the old ones."""
    path = folder / "results.json"
    if not path.exists():
        return new
    old = Results.load(path)
    rows = {key.row for key in new.series}
    old.series = {key: samples for key, samples in old.series.items() if key.row not in rows} | new.series
    old.skipped = [skip for skip in old.skipped if skip.row not in only] + new.skipped
    commits = f"{old.machine.get('commit', 'unknown')} ({', '.join(only)}: {new.machine['commit']})"
    old.machine, old.versions = new.machine | {"commit": commits}, old.versions | new.versions
    return old


def _guard() -> int:
    from .guard import main  # noqa: PLC0415  # needs nothing of the driver

    return main()


if __name__ == "__main__":
    sys.exit(main())

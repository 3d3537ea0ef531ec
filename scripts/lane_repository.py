"""What a lane leaves in the repository: its pins in one commit, and the next lane opened for that commit.

`python -m scripts.lane_repository pins` and `… open-promotion`, as `make` calls them.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from scripts.lane_plan import BEFORE

ROOT = Path(__file__).resolve().parents[1]
PINS = "code/apps/core/processors/*/registry.yaml"
AUTHOR = ("-c", "user.name=pins", "-c", "user.email=pins@users.noreply.invalid")
MESSAGE = "pins: run what was built from this source\n\nWritten once for each new source, by the dev lane."


def pins(root: Path = ROOT) -> bool:
    """Commit and push what `processorctl publish` pinned; whether there was anything.

    A source that is published already gives the same pins, so this commit leads to no other.

    Raises:
        subprocess.CalledProcessError: git refused: somebody pushed meanwhile, or this branch is protected.
    """
    if not _git(root, "status", "--porcelain", "--", PINS):
        print("  nothing new is pinned")
        return False
    _git(root, *AUTHOR, "commit", "--quiet", "--message", MESSAGE, "--", PINS)
    _git(root, "push", "--quiet", "origin", "HEAD")
    print(f"  {_git(root, 'log', '-1', '--format=%h %s')}")
    return True


def open_promotion(lane: str, root: Path = ROOT) -> str:
    """Open the lane after *lane* for this commit, and return its name; in a workflow it waits there for approval.

    Raises:
        subprocess.CalledProcessError: the forge refused.
    """
    following = next(name for name, before in BEFORE.items() if before == lane)
    commit = _git(root, "rev-parse", "HEAD")
    if os.environ.get("GITHUB_ACTIONS") == "true":
        command = ["gh", "workflow", "run", f"{following}.yml", "--ref", os.environ["GITHUB_REF_NAME"]]
        subprocess.run([*command, "--field", f"commit={commit}"], cwd=root, check=True)
    print(f"  {following} is open for {commit}")
    return following


def _git(root: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=root, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def main(arguments: list[str]) -> int:
    """Do what *arguments* name; 1 where git or the forge refused."""
    try:
        if arguments == ["pins"]:
            pins()
        elif arguments == ["open-promotion"]:
            open_promotion(os.environ["LANE"])
        else:
            print("usage: python -m scripts.lane_repository pins|open-promotion", file=sys.stderr)
            return 2
    except subprocess.CalledProcessError as error:
        print(f"{error.cmd[0]} {error.cmd[1]} ended with status {error.returncode}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""What a lane leaves in the repository: its pins in one commit, a mark of what runs where, the next lane opened.

`python -m scripts.lane_repository pins` or `reviewed`, and `mark` and `open-promotion` with `LANE`, as `make` calls
them. In a workflow `GH_TOKEN` is the login, for git as for the forge; a checkout keeps none.
"""

from __future__ import annotations

import base64
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from scripts.lane_plan import BEFORE

ROOT = Path(__file__).resolve().parents[1]
MAIN = "main"
PINS = "code/apps/core/processors/*/registry.yaml"
AUTHOR = ("-c", "user.name=pins", "-c", "user.email=pins@users.noreply.invalid")
MESSAGE = "pins: run what was built from this source\n\nWritten once for each new source, by the dev lane."


class NotOnMainError(Exception):
    """This commit is not where a lane may write from; the message says what to do."""


def pins(root: Path = ROOT) -> bool:
    """Commit and push what `processorctl publish` pinned; whether there was anything.

    A source that is published already gives the same pins, so this commit leads to no other. In a workflow the commit
    is told as the output `commit`: what follows is about it.

    Raises:
        NotOnMainError: this commit is not main's newest: others would be pushed along, or somebody pushed meanwhile.
        subprocess.CalledProcessError: git refused: main is protected, say.
    """
    changed = bool(_git(root, "status", "--porcelain", "--", PINS))
    if changed:
        _git(root, "fetch", "--quiet", "origin", MAIN)
        if _git(root, "rev-parse", "HEAD") != _git(root, "rev-parse", "FETCH_HEAD"):
            raise NotOnMainError(
                "pins are written on top of origin/main, and this is another commit: begin again there"
            )
        _git(root, *AUTHOR, "commit", "--quiet", "--message", MESSAGE, "--", PINS)
        _git(root, "push", "--quiet", "origin", f"HEAD:refs/heads/{MAIN}")
    print(f"  {_git(root, 'log', '-1', '--format=%h %s') if changed else 'nothing new is pinned'}")
    if output := os.environ.get("GITHUB_OUTPUT"):
        with Path(output).open("a", encoding="utf-8") as file:
            file.write(f"commit={_git(root, 'rev-parse', 'HEAD')}\n")
    return changed


def mark(lane: str, root: Path = ROOT) -> str:
    """Let the branch `lanes/<lane>` be this commit: what the lane runs, which nightly drift checks are about.

    Raises:
        NotOnMainError: this commit was never on main.
        subprocess.CalledProcessError: git refused.
    """
    branch = f"lanes/{lane}"
    reviewed(root)
    _git(root, "push", "--quiet", "--force", "origin", f"HEAD:refs/heads/{branch}")
    print(f"  {branch} is {_git(root, 'rev-parse', '--short', 'HEAD')}")
    return branch


def marked(lane: str, path: str, root: Path = ROOT) -> str | None:
    """Return the file *path* as the branch `lanes/<lane>` has it; ``None`` where origin has no such branch or file.

    Raises:
        subprocess.CalledProcessError: origin could not be asked: nothing is known.
    """
    branch = f"refs/heads/lanes/{lane}"
    if not _git(root, "ls-remote", "origin", branch):
        return None
    _git(root, "fetch", "--quiet", "origin", branch)
    there = _git(root, "ls-tree", "--full-tree", "--name-only", "FETCH_HEAD", path)
    return _git(root, "show", f"FETCH_HEAD:{path}") if there else None


def reviewed(root: Path = ROOT) -> None:
    """Prove that this commit is on origin's main, as it was fetched last.

    Raises:
        NotOnMainError: it is not.
    """
    on_main = ["git", "merge-base", "--is-ancestor", "HEAD", f"origin/{MAIN}"]
    if subprocess.run(on_main, cwd=root, check=False).returncode:
        raise NotOnMainError("this commit is not on origin/main: only what was reviewed is released or runs in a lane")


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


def login(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that make git send `GH_TOKEN`, which others would see on a command line; none without it."""
    token, server = environ.get("GH_TOKEN"), environ.get("GITHUB_SERVER_URL")
    if not (token and server):
        return {}
    basic = base64.b64encode(f"x-access-token:{token}".encode()).decode()
    return {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"http.{server}/.extraheader",
        "GIT_CONFIG_VALUE_0": f"AUTHORIZATION: basic {basic}",
    }


def _git(root: Path, *arguments: str) -> str:
    environ = os.environ | login(os.environ)
    done = subprocess.run(["git", *arguments], cwd=root, env=environ, check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout.strip()


def main(arguments: list[str]) -> int:
    """Do what *arguments* name; 1 where git or the forge refused."""
    try:
        match arguments:
            case ["pins"]:
                pins()
            case ["mark"]:
                mark(os.environ["LANE"])
            case ["open-promotion"]:
                open_promotion(os.environ["LANE"])
            case ["reviewed"]:
                reviewed()
            case _:
                print("usage: python -m scripts.lane_repository pins|mark|open-promotion|reviewed", file=sys.stderr)
                return 2
    except NotOnMainError as error:
        print(f"ERR_INPUTS: {error}")
        return 1
    except subprocess.CalledProcessError as error:
        print(f"{error.cmd[0]} {error.cmd[1]} ended with status {error.returncode}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Which lane is meant here: the environment from a variable or an option, in dev branch and user from this checkout."""

import getpass
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from apps.core.adapters.errors import EndpointMissingError
from processor_runtime.errors import Detail

from .naming import DEV, Lane

ENVIRONMENT: Final = "MODAL_ENVIRONMENT"
BRANCH: Final = "DEPLOY_BRANCH"
USER: Final = "DEPLOY_USER"

# modal 1.6.4, `modal._utils.name_utils.is_valid_environment_name`, without the dots of old ones
_ENVIRONMENT: Final = re.compile(r"(?!(?i:en-))[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_GIT_S: Final = 10.0


def lane_here(environment: str, environ: Mapping[str, str], folder: Path) -> Lane:
    """Return the lane that *environment* is.

    Args:
        environment: Modal's name for it; ``""`` for `MODAL_ENVIRONMENT`, and
            ``dev`` where that is not set either.
        environ: `DEPLOY_BRANCH` and `DEPLOY_USER` replace what is found here:
            for CI, and for machines that run code and hold no checkout.
        folder: Lies in the checkout whose branch is meant.

    Raises:
        EndpointMissingError: malformed, or dev and no branch is checked out.
    """
    environment = environment or environ.get(ENVIRONMENT) or DEV
    if not _ENVIRONMENT.fullmatch(environment):
        rule = "must be a Modal environment: letters, digits, dashes and underscores, at most 64"
        raise EndpointMissingError(Detail(path="--env", message=rule))
    if environment != DEV:
        return Lane(environment)
    branch = environ.get(BRANCH) or branch_in(folder, environ)
    if not branch:
        rule = "set it: apps in dev are named after the branch, and none is checked out here"
        raise EndpointMissingError(Detail(path=BRANCH, message=rule))
    return Lane(environment, branch, user_here(environ))


def branch_in(folder: Path, environ: Mapping[str, str]) -> str:
    """Return the branch that is checked out around *folder*, ``""`` for none."""
    return git(folder, environ, "symbolic-ref", "--quiet", "--short", "HEAD") or ""


def git(folder: Path, environ: Mapping[str, str], *arguments: str) -> str | None:
    """Return what git answers, without the last line break, or ``None`` where it cannot."""
    try:
        answer = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            env={**environ, "GIT_TERMINAL_PROMPT": "0"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_GIT_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.decode(errors="surrogateescape").rstrip("\n")


def user_here(environ: Mapping[str, str]) -> str:
    """Return whose work is done here: `DEPLOY_USER`, else whose session it is.

    Raises:
        EndpointMissingError: nobody's that has a name.
    """
    # what getpass asks, of the environment that was given; then the system's own list
    found = next((environ[name] for name in (USER, "LOGNAME", "USER", "LNAME", "USERNAME") if environ.get(name)), "")
    try:
        return found or getpass.getuser()
    except (KeyError, OSError):
        raise EndpointMissingError(Detail(path=USER, message="set it: this user has no name here")) from None

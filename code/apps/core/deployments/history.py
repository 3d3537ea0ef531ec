"""Deployments that came before, and the way back: what only Modal's command line offers.

It runs as a process of its own: the SDK has no public call for either.
"""

import asyncio
import json
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any, Final

from apps.core.adapters.errors import NetworkError
from processor_runtime.errors import Detail, InputsError, InternalError

_CLI_S: Final = 60.0
_LONGEST_TEXT: Final = 300


@dataclass(frozen=True, slots=True)
class Version:
    """One deployment of an app.

    Attributes:
        number: Counted from 1.
        deployed_at: As the command line tells it.
        deployed_by: Modal's name of a user.
        tag: The deployment's own, ``""`` for none.
    """

    number: int
    deployed_at: str
    deployed_by: str
    tag: str

    def as_json(self) -> dict[str, Any]:
        """Return the version as a JSON object."""
        return asdict(self)


async def history(app: str, environment: str, environ: Mapping[str, str]) -> list[Version]:
    """Return all deployments of *app*, the current one first.

    Raises:
        NetworkError: no answer in time.
        InternalError: Modal's command line failed, or answered in another form; its last words are in the details.
    """
    text = await _cli(["app", "history", app, "--env", environment, "--json"], environ)
    try:
        return [_version(row) for row in json.loads(text)]
    except (ValueError, TypeError, KeyError) as exc:
        raise InternalError(Detail(path="modal app history", message="answered in another form")) from exc


async def roll_back(app: str, environment: str, version: Version, environ: Mapping[str, str]) -> None:
    """Deploy *version* of *app* again; it becomes a new version.

    Raises:
        ProcessorError: as `history`.
    """
    await _cli(["app", "rollback", app, f"v{version.number}", "--env", environment], environ)


def target_of(versions: list[Version], wanted: int | None) -> Version:
    """Return the version to go back to: number *wanted*, or the one before the current one.

    Raises:
        InputsError: there is none.
    """
    if wanted is None:
        if len(versions) > 1:
            return versions[1]
        raise InputsError(Detail(path="--to", message="there is no version before this one"))
    for version in versions[1:]:
        if version.number == wanted:
            return version
    known = ", ".join(f"v{version.number}" for version in versions[1:]) or "none"
    raise InputsError(Detail(path="--to", message=f"no earlier version v{wanted}: there is {known}"))


def _version(row: dict[str, Any]) -> Version:
    return Version(
        number=int(row["version"].removeprefix("v")),
        deployed_at=row["time_deployed"] or "",
        deployed_by=row["deployed_by"] or "",
        tag=row.get("tag") or "",  # the column is left out where no version has one
    )


async def _cli(arguments: list[str], environ: Mapping[str, str]) -> str:
    """Return what Modal's command line writes to stdout; `-P`, so that no file of the working directory is `modal`."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "modal", *arguments),
        env={**environ, "NO_COLOR": "1", "TERM": "dumb", "COLUMNS": "1000", "GIT_DIR": os.devnull},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    what = f"modal {' '.join(arguments[:2])}"
    try:
        async with asyncio.timeout(_CLI_S):
            stdout, stderr = await process.communicate()
    except TimeoutError:
        raise NetworkError(Detail(path=what, message=f"no answer within {_CLI_S:g} s")) from None
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
    if process.returncode:
        text = " ".join(stderr.decode(errors="replace").split())[-_LONGEST_TEXT:]
        raise InternalError(Detail(path=what, message=f"exit status {process.returncode}: {text}"))
    return stdout.decode(errors="replace")

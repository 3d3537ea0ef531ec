"""What needs Django, in a process of its own: `python -m bench.runner ASKED`, run from code/.

ASKED is a JSON object; stdout is one line, JSON. The driver starts it so that memory and imports are those of a
caller, not of the driver.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import django


def main() -> int:
    """Do what the one argument asks for; 1 where a run fails."""
    asked: dict[str, Any] = json.loads(sys.argv[1])
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "backend.settings.test")
    django.setup()
    sys.stdout.write(json.dumps(asyncio.run(_WORKS[asked["do"]](asked))) + "\n")
    return 0


async def _build(asked: dict[str, Any]) -> dict[str, str]:
    """Return the name, the id and the platform of an image, built from its source unless it is there."""
    from apps.core.executions import resolve  # noqa: PLC0415  # Django first
    from apps.core.host import Host  # noqa: PLC0415  # the same
    from apps.core.images.build import build  # noqa: PLC0415  # the same

    made = await build(resolve(asked["ref"], Host.here().processors), environ=os.environ)
    return {"name": made.name, "id": made.image_id, "platform": made.platform}


async def _runs(asked: dict[str, Any]) -> list[float]:
    """Return the seconds of each of so many runs of one request."""
    from apps.core.adapters.journal import Journal  # noqa: PLC0415  # Django first
    from apps.core.executions import execute  # noqa: PLC0415  # the same
    from apps.core.host import Host  # noqa: PLC0415  # the same
    from apps.core.request import ExecutionRequest, new_execution_id  # noqa: PLC0415  # the same

    changes: dict[str, Any] = {name: Path(value) for name, value in asked["host"].items()}
    host = replace(Host.here(), **changes)
    options = dict(asked["request"])
    if "save_dir" in options:
        options["save_dir"] = Path(options["save_dir"])
    request = ExecutionRequest(execution_id=new_execution_id(), **options)
    seconds = []
    for _ in range(asked["repeat"]):
        request = replace(request, execution_id=new_execution_id())
        began = time.perf_counter()
        envelope = await execute(request, host, Journal())
        seconds.append(time.perf_counter() - began)
        if envelope["status"] != "success":
            raise SystemExit(json.dumps(envelope))
    return seconds


async def _cold(asked: dict[str, Any]) -> dict[str, list[float]]:
    from .inside import cold  # noqa: PLC0415  # Django first

    return await cold(asked)


async def _warm(asked: dict[str, Any]) -> dict[str, list[float]]:
    from .inside import warm_and_direct  # noqa: PLC0415  # Django first

    return await warm_and_direct(asked)


_WORKS: Final[dict[str, Callable[[dict[str, Any]], Coroutine[Any, Any, Any]]]] = {
    "build": _build,
    "runs": _runs,
    "cold": _cold,
    "warm": _warm,
}

if __name__ == "__main__":
    sys.exit(main())

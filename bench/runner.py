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
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import django

if TYPE_CHECKING:
    from apps.core.host import Host
    from apps.core.request import ExecutionRequest


def main() -> int:
    """Do what the one argument asks for; 1 where a run fails."""
    asked: dict[str, Any] = json.loads(sys.argv[1])
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "backend.settings.test")
    django.setup()
    answer = asyncio.run(_built(asked["build"]) if "build" in asked else _runs(asked))
    sys.stdout.write(json.dumps(answer) + "\n")
    return 0


async def _built(ref: str) -> dict[str, str]:
    """Return the name, the id and the platform of the image of *ref*, built from its source unless it is there."""
    from apps.core.executions import resolve  # noqa: PLC0415  # Django first
    from apps.core.host import Host  # noqa: PLC0415  # the same
    from apps.core.images.build import build  # noqa: PLC0415  # the same

    made = await build(resolve(ref, Host.here().processors), environ=os.environ)
    return {"name": made.name, "id": made.image_id, "platform": made.platform}


async def _runs(asked: dict[str, Any]) -> list[float]:
    """Return the seconds of each of so many runs of one request, with or without a warm container."""
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
    async with _warm(request, host) if asked["warm"] else _cold():
        for _ in range(asked["repeat"]):
            request = replace(request, execution_id=new_execution_id())
            began = time.perf_counter()
            envelope = await execute(request, host, Journal())
            seconds.append(time.perf_counter() - began)
            if envelope["status"] != "success":
                raise SystemExit(json.dumps(envelope))
    return seconds


@asynccontextmanager
async def _cold() -> AsyncIterator[None]:
    yield


@asynccontextmanager
async def _warm(request: ExecutionRequest, host: Host) -> AsyncIterator[None]:
    """Keep a warm container meanwhile, as `localctl up` and `down` do."""
    from apps.core.adapters.journal import Journal  # noqa: PLC0415  # Django first
    from apps.core.adapters.local import control  # noqa: PLC0415  # the same
    from apps.core.executions import local_site, resolve  # noqa: PLC0415  # the same

    site = local_site(request, resolve(request.ref, host.processors), host)
    found = await control.up(site, request.mode, Journal())
    try:
        yield
    finally:
        await control.down(site.engine(), [found], Journal())


if __name__ == "__main__":
    sys.exit(main())

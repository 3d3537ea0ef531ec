"""What a run leaves that was killed."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

from processor_conformance.catalogue import check
from processor_conformance.checks.artifacts import expect_outputs, files
from processor_conformance.outcome import NotCheckedError, expect
from processor_conformance.service import Request, Service
from processor_conformance.waiting import eventually

BEGUN_S = 15.0
KILL = "SIGKILL while a run writes"


@check("C-ART-09", "4", start=True, examples=["writing"])
async def killed(service: Service) -> None:
    """A killed run leaves no receipt, no index and no half-written output; the same request runs again."""
    async with service.fresh() as other:
        request = other.request("writing")
        await _kill_in_the_middle(other, request)
    folder = other.folder(request)
    left = [name for name in ("receipt.json", "outputs.json") if (folder / name).exists()]
    expect(not left, sent=KILL, expected="neither receipt nor index", seen=left)
    written = {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in files(folder / "outputs")}
    async with service.another() as other:
        answer = await other.run(request)
        answer.expect_success()
        answer.expect(not answer.replayed, "a run of its own after the kill", "a replay")
        expect_outputs(other, answer)
    whole = {other.host(row["path"]): row["sha256"] for row in answer.envelope["outputs"]}
    half = [path for path, sha256 in written.items() if whole.get(path, sha256) != sha256]
    told = [str(path.relative_to(folder)) for path in half]
    expect(not half, sent=KILL, expected="every output under its name to be whole, or not there", seen=told)


async def _kill_in_the_middle(service: Service, request: Request) -> None:
    """Kill the service when the run of *request* has begun to write.

    Raises:
        NotCheckedError: its files were not seen before it had ended.
    """
    running = asyncio.create_task(service.run(request))
    outputs = service.folder(request) / "outputs"

    async def begun() -> bool:
        return running.done() or any(map(_size, files(outputs)))

    await eventually(begun, BEGUN_S)
    early = running.done()
    await service.process.kill()
    await asyncio.gather(running, return_exceptions=True)
    if early:
        raise NotCheckedError('an example "writing" whose files can be seen to grow')


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:  # renamed meanwhile
        return 0

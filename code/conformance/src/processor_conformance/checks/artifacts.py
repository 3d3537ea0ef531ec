"""What a run leaves in the artifacts folder: outputs, then the index, then the receipt."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
import sys
import tempfile
from datetime import datetime
from pathlib import Path
from typing import Any

from processor_conformance.catalogue import Phase, check
from processor_conformance.jcs import sha256
from processor_conformance.outcome import NotApplicableError, NotCheckedError
from processor_conformance.schemas import first_problem
from processor_conformance.service import PREFIX, Service
from processor_conformance.session import LONGEST_EXAMPLE_S
from processor_conformance.waiting import run_when_free
from processor_conformance.wire import Answer

NEEDS = ["valid"]
KNOWN = {"outputs", "outputs.json", "receipt.json", "logs"}
SHORT_S = 0.4


@check("C-ART-01", "4", artifacts=True, examples=NEEDS)
async def outputs(service: Service) -> None:
    """When the answer leaves, every output can be read, with the size and hash that its row says."""
    _, answer = await service.success()
    expect_outputs(service, answer)


def expect_outputs(service: Service, answer: Answer) -> None:
    """Return if every file that *answer* names is there as it says.

    Raises:
        FailedError: one is not.
    """
    for row in answer.envelope["outputs"]:
        path = service.host(row["path"])
        answer.expect(path.is_file(), f"a file {row['path']}", "no such file")
        content = path.read_bytes()
        told = (row["size_bytes"], row["sha256"])
        seen = (len(content), hashlib.sha256(content).hexdigest())
        answer.expect(told == seen, f"{row['path']} as its row says, {told}", seen)


@check("C-ART-02", "4", artifacts=True, examples=NEEDS)
async def index(service: Service) -> None:
    """`outputs.json` is the index: the execution and the envelope's rows."""
    request, answer = await service.success()
    document = service.read_json(request, "outputs.json")
    problem = first_problem("index", document)
    answer.expect(not problem, "outputs.json by its schema", problem)
    wanted = {"execution_id": request["execution_id"], "outputs": answer.envelope["outputs"]}
    answer.expect({key: document[key] for key in wanted} == wanted, "the envelope's rows", document)


@check("C-ART-03", "4", artifacts=True, examples=NEEDS)
async def receipt(service: Service) -> None:
    """`receipt.json` says what ran, keeps its schema, and holds the envelope that was answered."""
    request, answer = await service.success()
    document = service.read_json(request, "receipt.json")
    problem = first_problem("receipt", document)
    answer.expect(not problem, "receipt.json by its schema", problem)
    meta = answer.envelope["meta"]
    wanted = {
        "execution_id": request["execution_id"],
        "mode": request["mode"],
        "write_prefix": PREFIX.replace("{execution_id}", request["execution_id"]),
        "ref": meta["ref"],
        "image_digest": meta["image_digest"],
        "env_fingerprint": meta["env_fingerprint"],
        "duration_ms": meta["duration_ms"],
        "envelope": answer.envelope,
    }
    wrong = {key: document[key] for key, value in wanted.items() if document[key] != value}
    answer.expect(not wrong, f"a receipt with {', '.join(wanted)} of this run", wrong)
    told = [(row["path"], row["sha256"]) for row in document["outputs"]]
    rows = [(row["path"], row["sha256"]) for row in answer.envelope["outputs"]]
    answer.expect(told == rows, "the envelope's outputs in the receipt", told)
    _expect_in_order(answer, document)


def _expect_in_order(answer: Answer, document: dict[str, Any]) -> None:
    told = f"{document['started_at']} to {document['finished_at']}"
    try:
        started, finished = (datetime.fromisoformat(document[key]) for key in ("started_at", "finished_at"))
        answer.expect(started <= finished, "started_at before finished_at", told)
    except (TypeError, ValueError):
        answer.expect(False, "started_at and finished_at in RFC 3339 with their zone", told)  # noqa: FBT003  # seen


@check("C-ART-04", "4", artifacts=True, examples=NEEDS)
async def inputs_hash(service: Service) -> None:
    """`inputs_sha256` is the SHA-256 of the RFC 8785 form of `inputs`."""
    for name in ("valid", "other"):
        try:
            request = service.request(name)
        except NotCheckedError:
            continue
        answer = await service.run(request)
        answer.expect_success()
        told, wanted = service.read_json(request, "receipt.json").get("inputs_sha256"), sha256(request["inputs"])
        answer.expect(told == wanted, f"inputs_sha256 {wanted}", told)


@check("C-ART-05", "4", artifacts=True, examples=NEEDS)
async def context(service: Service) -> None:
    """`context` is kept in the receipt, and is no part of the result."""
    value = {"kit": ["kit-context-value", {"é": None}]}
    request, answer = await service.success(context=value)
    told = service.read_json(request, "receipt.json").get("context")
    answer.expect(told == value, f"the context {value} in the receipt", told)
    answer.expect(b"kit-context-value" not in answer.body, "no context in the envelope")


@check("C-ART-06", "4", artifacts=True, examples=NEEDS)
async def nothing_else(service: Service) -> None:
    """Nothing but outputs, index, receipt and logs lies in the prefix; no temporary file is left."""
    request, answer = await service.success()
    folder = service.folder(request)
    named = {service.host(row["path"]) for row in answer.envelope["outputs"]}
    left = [path for path in folder.iterdir() if path.name not in KNOWN]
    left += [path for path in files(folder / "outputs") if path not in named]
    answer.expect(not left, f"only {', '.join(sorted(KNOWN))}", [str(path.relative_to(folder)) for path in left])


def files(folder: Path) -> list[Path]:
    """Return every file below *folder*."""
    return [path for path in folder.rglob("*") if path.is_file()]


@check("C-ART-07", "4", artifacts=True, examples=["slow"], phase=Phase.ALONE)
async def failed_run(service: Service) -> None:
    """A run that failed ends in a receipt with its envelope, and has no index."""
    request = service.request("slow", timeout_s=SHORT_S)
    answer = await service.run(request)
    answer.expect(answer.envelope.get("status") == "error", f"an error after a deadline of {SHORT_S} s")
    document = service.read_json(request, "receipt.json")
    problem = first_problem("receipt", document)
    answer.expect(not problem, "receipt.json by its schema", problem)
    answer.expect(document["envelope"] == answer.envelope, "a receipt with this envelope", document["envelope"])
    answer.expect(not (service.folder(request) / "outputs.json").exists(), "no index", "outputs.json")


@check("C-ART-08", "4", artifacts=True, examples=NEEDS)
async def mirror(service: Service) -> None:
    """`logs/trace.ndjson`, where there is one, mirrors the run's lines as NDJSON."""
    request, answer = await service.success()
    path = service.folder(request) / "logs" / "trace.ndjson"
    if not path.exists():
        raise NotApplicableError("it writes no logs/trace.ndjson, which is best-effort")
    for line in path.read_bytes().splitlines():
        try:
            good = isinstance(json.loads(line), dict)
        except ValueError:
            good = False
        answer.expect(good, "a JSON object on each line of logs/trace.ndjson", line.decode(errors="replace"))


@check("C-ART-10", "4", start=True, examples=NEEDS)
async def storage(service: Service) -> None:
    """Where nothing can be written: 507 `ERR_STORAGE`, retryable."""
    name = "other" if service.example("valid").attaches else "valid"
    if service.example(name).attaches:
        raise NotCheckedError('an example "other" that attaches no file')
    with tempfile.TemporaryDirectory(prefix="kit-sealed-") as folder:
        os.chmod(folder, 0o500)  # noqa: PTH101  # one quick call
        sealed = folder if not os.access(folder, os.W_OK) else "/sys"  # not even root makes a directory there
        if not sys.platform.startswith("linux") and sealed == "/sys":
            raise NotCheckedError("a user who is not root, because root may write anywhere")
        async with service.fresh({"PROCESSOR_ARTIFACTS_DIR": sealed}, until="listening") as other:
            answer = await other.run(other.request(name))
            answer.expect_refused(507, "ERR_STORAGE", "cannot write artifacts")


@check("C-ART-11", "4", artifacts=True, examples=["slow"], phase=Phase.ALONE)
async def new_attempt(service: Service) -> None:
    """A new attempt first removes the failed one's `receipt.json` and `outputs.json`."""
    request = service.request("slow")
    failed = await service.run({**request, "timeout_s": SHORT_S})
    failed.expect(failed.envelope.get("status") == "error", f"an error after a deadline of {SHORT_S} s")
    path = service.folder(request) / "receipt.json"
    failed.expect(path.exists(), "a receipt of the failed attempt", "none")
    again = asyncio.create_task(run_when_free(service, request))
    gone = False
    while not again.done():
        gone = gone or not path.exists()
        await asyncio.sleep(0.02)
    answer = await again
    answer.expect_success()
    answer.expect(gone, "the failed attempt's receipt to be gone while the new one runs", "it stayed")


@check("C-ART-12", "4", artifacts=True, examples=["blocking"], phase=Phase.ALONE)
async def late_writes(service: Service) -> None:
    """Once a run has settled its late writes are refused."""
    request = service.request("blocking", timeout_s=SHORT_S)
    answer = await service.run(request)
    answer.expect_refused(504, "ERR_TIMEOUT")
    folder = service.folder(request)
    before = set(files(folder))
    envelope = service.read_json(request, "receipt.json").get("envelope")
    await asyncio.sleep(LONGEST_EXAMPLE_S)  # the handler goes on, and writes its outputs at its end
    after = set(files(folder))
    late = sorted(str(path.relative_to(folder)) for path in after - before if path.parent.name != "logs")
    answer.expect(not late, "no new file after the run has settled", late)
    now = service.read_json(request, "receipt.json").get("envelope")
    answer.expect(now == envelope == answer.envelope, "the receipt as it was", now)


@check("C-ART-17", "4", start=True, examples=NEEDS)
async def other_roots(service: Service) -> None:
    """Roots other than `/artifacts` stand for themselves: a prefix under `/tmp` is that very folder."""
    if service.in_container:
        raise NotCheckedError("--start: what a container writes to its /tmp cannot be seen from here")
    async with service.another() as other:
        folder = Path("/tmp") / other.new_id()  # noqa: S108  # one of the contract's roots
        try:
            _, answer = await other.success(write_prefix=f"{folder}/")
            paths = [answer.envelope["index_path"], *(row["path"] for row in answer.envelope["outputs"])]
            wrong = _not_files_in(folder, paths)
            answer.expect(not wrong, f"the files that it names, under {folder}", wrong)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _not_files_in(folder: Path, paths: list[str]) -> list[str]:
    return [path for path in paths if not path.startswith(f"{folder}/") or not Path(path).is_file()]

"""File references in `inputs.params`."""

from __future__ import annotations

import hashlib
from typing import Any

from processor_conformance.catalogue import check, unseen
from processor_conformance.generate import validator
from processor_conformance.outcome import NotCheckedError
from processor_conformance.service import ABSENT, Service

REFERENCE = {"$artifact", "sha256"}
NEEDS = ["valid"]
CONTENT = b"a file of the conformance kit\n"
DIGEST = hashlib.sha256(CONTENT).hexdigest()


def _put(service: Service, folder: str) -> str:
    """Return the logical path of a file of the kit's in *folder*."""
    name = service.new_id()
    path = service.host(f"/artifacts/{folder}/{name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(CONTENT)
    except OSError as exc:
        raise NotCheckedError("an artifacts folder that the kit may write to") from exc
    return f"/artifacts/{folder}/{name}"


def _with_reference(service: Service, path: str, digest: str = DIGEST) -> dict[str, Any] | None:
    """Return inputs that refer to *path*, ``None`` where the schema forbids that very text.

    Raises:
        NotCheckedError: the inputs have no place for a reference.
    """
    inputs, reference = service.request()["inputs"], {"$artifact": path, "sha256": digest}
    changed, found = _replaced(inputs, reference)
    schema = service.facts.schema
    if not found:
        params = inputs.get("params")
        changed = {**inputs, "params": {**params, "kit-file": reference}} if isinstance(params, dict) else inputs
        if schema is None or changed is inputs or not validator(schema).is_valid(changed):
            raise NotCheckedError('an example "valid" with a file reference in it')
    return changed if schema is None or validator(schema).is_valid(changed) else None


def _replaced(value: Any, reference: dict[str, str]) -> tuple[Any, bool]:
    if isinstance(value, dict):
        if value.keys() == REFERENCE:
            return reference, True
        pairs = {key: _replaced(child, reference) for key, child in value.items()}
        return {key: child for key, (child, _) in pairs.items()}, any(found for _, found in pairs.values())
    if isinstance(value, list):
        items = [_replaced(child, reference) for child in value]
        return [child for child, _ in items], any(found for _, found in items)
    return value, False


async def _expect_not_usable(service: Service, *references: tuple[str, str]) -> None:
    for path, digest in references:
        inputs = _with_reference(service, path, digest)
        if inputs is not None:
            answer = await service.run(service.probe(ref=ABSENT, inputs=inputs))
            answer.expect_refused(400, "ERR_INPUTS", "artifact not usable")


@check("C-REQ-41", "2", examples=NEEDS)
async def no_file(service: Service) -> None:
    """A file reference whose file does not exist is 400 `ERR_INPUTS` "artifact not usable"."""
    await _expect_not_usable(service, (f"/artifacts/inputs/{service.new_id()}", DIGEST))


@check("C-REQ-42", "2", examples=NEEDS, artifacts=True)
async def outside(service: Service) -> None:
    """A file reference outside the read roots, relative, or with `..`, is "artifact not usable"."""
    elsewhere = _put(service, "outputs")
    inside = _put(service, "inputs")
    paths = [
        elsewhere,
        f"/artifacts/inputs/..{elsewhere.removeprefix('/artifacts')}",
        inside.lstrip("/"),
        "/artifacts/inputs",
    ]
    await _expect_not_usable(service, *((path, DIGEST) for path in paths))


@check("C-REQ-43", "2", examples=NEEDS, artifacts=True)
async def wrong_hash(service: Service) -> None:
    """A file reference whose hash is not the file's is "artifact not usable"."""
    path = _put(service, "inputs")
    await _expect_not_usable(service, (path, "0" * 64), (path, hashlib.sha256(b"").hexdigest()))


@check("C-REQ-44", "2", examples=NEEDS, artifacts=True)
async def right(service: Service) -> None:
    """A file reference that is right is accepted: what the caller put there before asking can be read."""
    inputs = _with_reference(service, _put(service, "inputs"))
    answer = await service.run(service.probe(ref=ABSENT, inputs=inputs))
    answer.expect(answer.message != "artifact not usable", "a file with that hash to be usable")


unseen(
    "C-REQ-55",
    "2",
    "The handler gets the very file that was hashed.",
    "that takes a race inside the service: read the code",
)

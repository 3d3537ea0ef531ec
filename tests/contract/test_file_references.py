"""A file that a request names is the file that the handler gets, or the request is refused (§2 "file references")."""

from __future__ import annotations

import hashlib
import json
import os
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import pytest

from tests.contract.conftest import Services
from tests.contract.discovery import STEPS, discovered
from tests.contract.examples import REFERENCE, example_inputs, judge
from tests.contract.judge import refusal, success
from tests.contract.requests import Request
from tests.support.service import JsonObject, Service

CONTENT: Final = b"content of a file\n"
SHA256: Final = hashlib.sha256(CONTENT).hexdigest()
WRITE: Final = ["write", "outputs/text.txt", "hello"]


def asking(service: Service, files: object, *before: list[Any], **changes: object) -> JsonObject:
    """Return a request whose handler reports the *files* that it got."""
    params = {"do": [*before, ["report"], WRITE], "files": files}
    return service.payload(inputs={"schema": "v1", "params": params}, **changes)


def seen(service: Service, payload: JsonObject) -> Any:
    """Return what the handler says of the files of *payload*."""
    envelope = success(service, service.post(payload), payload)
    return json.loads(service.file(envelope["outputs"][0]["path"]).read_bytes())["files"]


def not_usable(service: Service, files: object, **changes: object) -> JsonObject:
    """Return the error; fails unless *files* are refused, with nothing written."""
    payload = asking(service, files, **changes)
    before = service.tree()
    response = service.post(payload)
    error = refusal(service, response, "ERR_INPUTS", "artifact not usable", execution_id=payload["execution_id"])
    assert service.tree() == before
    return error


def place(service: Service) -> Path:
    """Return the path of a file that is not there yet, where runs may read."""
    folder = service.artifacts / "inputs" / str(uuid4())
    folder.mkdir()
    return folder / "file.txt"


def reference(service: Service, path: Path, sha256: str = SHA256) -> JsonObject:
    """Return a reference to *path*."""
    return {"$artifact": f"/artifacts/{path.relative_to(service.artifacts)}", "sha256": sha256}


# --- good ones -------------------------------------------------------------------------------------------------------


def test_a_handler_gets_the_file(steps: Service) -> None:
    """Its name, logical path, size and hash, and what is in it; in `inputs` the reference stays as it was."""
    named = steps.attach(CONTENT, "größe.txt")
    payload = asking(steps, named)

    assert seen(steps, payload) == {
        "name": "größe.txt",
        "path": named["$artifact"],
        "sha256": SHA256,
        "size_bytes": len(CONTENT),
        "content": CONTENT.decode(),
        "same": True,
    }


def test_a_reference_may_stand_anywhere_in_the_params(steps: Service) -> None:
    """In lists and objects, and more than one of them."""
    one, two, empty = steps.attach(b"one"), steps.attach(b"two"), steps.attach(b"")
    found = seen(steps, asking(steps, [one, {"deep": [[two]], "again": one, "empty": empty}, "x"]))

    assert found[0]["content"] == found[1]["again"]["content"] == "one"
    assert found[1]["deep"][0][0]["content"] == "two"
    assert found[1]["empty"]["content"] == ""
    assert found[2] == "x"


def test_what_is_no_reference_stays_what_it_is(steps: Service) -> None:
    """Exactly the two keys, and only in `params`."""
    nearly = [
        {"$artifact": "/etc/passwd"},
        {"sha256": "x"},
        {"$artifact": "/etc/passwd", "sha256": SHA256, "name": "x"},
        {"artifact": "/etc/passwd", "sha256": SHA256},
    ]
    payload = asking(steps, nearly, context={"$artifact": "/etc/passwd", "sha256": "x"})
    payload["inputs"]["note"] = {"$artifact": "/etc/passwd", "sha256": "x"}

    assert seen(steps, payload) == nearly


def test_the_handler_gets_the_file_that_was_hashed(steps: Service) -> None:
    """Somebody replaces the file while the handler is on its way to it."""
    path = place(steps)
    path.write_bytes(CONTENT)
    payload = asking(steps, reference(steps, path))
    name = payload["execution_id"]
    payload["inputs"]["params"]["do"].insert(0, ["wait", name])
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(steps.post, payload)
        steps.wait_for_mark(f"{name}.began")
        other = path.with_name("other")
        other.write_bytes(b"something else")
        other.replace(path)
        steps.allow(name)
        envelope = success(steps, answer.result(), payload)

    report = json.loads(steps.file(envelope["outputs"][0]["path"]).read_bytes())["files"]
    assert (report["content"], report["sha256"]) == (CONTENT.decode(), SHA256)


def test_other_roots_may_be_read(passing_services: Services, tmp_path_factory: pytest.TempPathFactory) -> None:
    """`PROCESSOR_READ_ROOTS` lists them; what it does not list may not be read."""
    shared, other = tmp_path_factory.mktemp("shared"), tmp_path_factory.mktemp("other")
    service = passing_services.get(STEPS, PROCESSOR_READ_ROOTS=f"{shared}:{other}")
    (shared / "a.txt").write_bytes(CONTENT)
    (other / "b.txt").write_bytes(CONTENT)

    found = seen(
        service, asking(service, [{"$artifact": str(f), "sha256": SHA256} for f in (shared / "a.txt", other / "b.txt")])
    )
    assert [file["content"] for file in found] == [CONTENT.decode()] * 2
    not_usable(service, service.attach(CONTENT))


# --- bad ones --------------------------------------------------------------------------------------------------------


def test_a_wrong_hash_is_refused(steps: Service) -> None:
    """One digit is enough; what the hash would have been is not told."""
    named = steps.attach(CONTENT)
    named["sha256"] = ("0" if SHA256[0] != "0" else "1") + SHA256[1:]

    error = not_usable(steps, named)
    assert SHA256 not in str(error)
    assert [detail["path"] for detail in error["details"]] == ["/inputs/params/files"]


@pytest.mark.parametrize("sha256", ["", "x", SHA256[:-1], SHA256 + "0", f"sha256:{SHA256}", 5, None, [SHA256]])
def test_what_is_no_hash_is_refused(steps: Service, sha256: object) -> None:
    """No shorthand, no prefix."""
    not_usable(steps, {**steps.attach(CONTENT), "sha256": sha256})


def test_a_file_that_is_not_there_is_refused(steps: Service) -> None:
    """As is a path through a file."""
    path = place(steps)
    not_usable(steps, reference(steps, path))
    path.write_bytes(CONTENT)
    not_usable(steps, reference(steps, path / "below"))


@pytest.mark.parametrize(
    "path",
    ["/etc/passwd", "/artifacts/outputs/file.txt", "/artifacts/file.txt", "/proc/self/environ", "/dev/zero",
     "/artifacts/inputs/../outside.txt", "/artifacts/inputs/a/../../outside.txt", "/artifacts/inputsx/file.txt",
     "/artifacts/inputs", "/artifacts/inputs/", "/artifacts", "/", "", "inputs/file.txt", "file.txt", "../outside.txt",
     "/artifacts/inputs/\x00", "/artifacts/inputs/a\x00b", "/artifacts/inputs/" + "x" * 5000,
     "/artifacts/inputs/" + "x/" * 5000],
)  # fmt: skip
def test_a_path_outside_the_roots_is_refused(steps: Service, path: str) -> None:
    """Even where there is a file with the right hash."""
    for name in ("outside.txt", "file.txt", "outputs/file.txt", "inputsx/file.txt"):
        target = steps.artifacts / name
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(CONTENT)
    content = Path(path).read_bytes() if path.startswith("/etc") else CONTENT

    not_usable(steps, {"$artifact": path, "sha256": hashlib.sha256(content).hexdigest()})


@pytest.mark.parametrize("path", [5, None, True, ["/artifacts/inputs/x"], {"a": 1}])
def test_what_is_no_path_is_refused(steps: Service, path: object) -> None:
    """It has both keys, so it is meant as a reference."""
    not_usable(steps, {"$artifact": path, "sha256": SHA256})


@pytest.mark.parametrize("folder", [False, True], ids=["the file", "its folder"])
def test_a_symlink_out_of_the_roots_is_refused(steps: Service, *, folder: bool) -> None:
    """Even though the hash is right."""
    outside = steps.artifacts / "outside" / str(uuid4())
    outside.mkdir(parents=True)
    (outside / "file.txt").write_bytes(CONTENT)
    path = place(steps)
    if folder:
        path.parent.rmdir()
        path.parent.symlink_to(outside)
    else:
        path.symlink_to(outside / "file.txt")

    assert path.read_bytes() == CONTENT
    not_usable(steps, reference(steps, path))


def test_what_is_no_regular_file_is_refused_at_once(steps: Service) -> None:
    """A folder, a pipe that nobody writes to, a socket, a broken and a circular link: none is waited for."""
    path = place(steps)
    (path.parent / "folder").mkdir()
    os.mkfifo(path.parent / "pipe")
    (path.parent / "broken").symlink_to("nothing")
    (path.parent / "circle").symlink_to("circle")
    with socket.socket(socket.AF_UNIX) as listener:
        here = os.open(path.parent, os.O_RDONLY)
        try:
            listener.bind(f"/proc/self/fd/{here}/socket")  # the path itself is too long for a socket's name
        finally:
            os.close(here)
        for name in ("folder", "pipe", "socket", "broken", "circle"):
            not_usable(steps, reference(steps, path.parent / name, hashlib.sha256(b"").hexdigest()))


def test_one_bad_reference_among_good_ones_is_refused_by_its_place(steps: Service) -> None:
    """`details` says where."""
    good = steps.attach(CONTENT)
    error = not_usable(
        steps, {"list": [good, {**good, "sha256": "0" * 64}], "a/b~c": [{"$artifact": "/x", "sha256": "y"}]}
    )

    paths = {detail["path"] for detail in error["details"]}
    assert paths <= {"/inputs/params/files/list/1", "/inputs/params/files/a~1b~0c/0"}
    assert paths


def test_references_are_judged_after_the_schema_and_before_the_digest(passing_services: Services) -> None:
    """§2's order."""
    service = passing_services.get(STEPS, IMAGE_DIGEST=None)
    bad = {"$artifact": "/artifacts/inputs/none", "sha256": "0" * 64}

    not_usable(service, bad)
    Request.good(service, inputs={"schema": "v1", "params": {"files": bad}}).refused(
        "ERR_INPUTS", "inputs do not match the schema"
    )
    Request.good(service).refused("ERR_IMAGE_DIGEST_MISSING", "IMAGE_DIGEST env var not set")


# --- processors that take files --------------------------------------------------------------------------------------


def references(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Return where in *value* the references are."""
    if isinstance(value, dict):
        if value.keys() == REFERENCE:
            return [path]
        return [found for key, item in value.items() for found in references(item, (*path, key))]
    if isinstance(value, list):
        return [found for number, item in enumerate(value) for found in references(item, (*path, number))]
    return []


@pytest.mark.parametrize("folder", discovered(), ids=lambda folder: str(folder.name))
def test_every_processor_refuses_a_file_that_is_another(services: Services, folder: Path) -> None:
    """In each place where its example has a file: gone, with another hash, or outside."""
    service = services.get(folder, PROCESSOR_MODE="mock")
    inputs = example_inputs(service)
    for place_of in references(inputs):
        for change in ({"sha256": "0" * 64}, {"$artifact": "/artifacts/inputs/none"}, {"$artifact": "/etc/passwd"}):
            request = Request.good(service)
            target: Any = request.payload["inputs"]
            for key in place_of:
                target = target[key]
            target |= change
            assert judge(service).is_valid(request.payload["inputs"])
            request.refused("ERR_INPUTS", "artifact not usable")
    assert folder.name != "doc_ocr" or references(inputs)

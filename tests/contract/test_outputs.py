"""What a handler may write and what the index says of it (§4, §5)."""

from __future__ import annotations

import json
from typing import Any, Final

import pytest

from tests.contract.judge import check_receipt, failure, success
from tests.support.service import JsonObject, Service

WRITE: Final = ["write", "outputs/text.txt", "hello"]


def asking(service: Service, *do: list[Any], **changes: object) -> JsonObject:
    """Return a request for the steps *do*."""
    return service.payload(inputs={"schema": "v1", "params": {"do": list(do)}}, **changes)


def fails(service: Service, payload: JsonObject, code: str) -> JsonObject:
    """Return the envelope of *payload*; fails unless it is an error with *code*, and the receipt says so too."""
    envelope = failure(service, service.post(payload), code, execution_id=payload["execution_id"])
    check_receipt(service, envelope, payload)
    assert not service.file(f"/artifacts/outputs/{payload['execution_id']}/outputs.json").exists()
    return envelope


# --- what may be written ---------------------------------------------------------------------------------------------


def test_all_that_is_declared_may_be_written(steps: Service) -> None:
    """In any way, in any order; the rows are sorted by the bytes of their paths."""
    written = [
        *["outputs/text.txt", "outputs/page-10.png", "outputs/page-2.png", "outputs/page-.png", "outputs/page-Z.png"],
        *["outputs/page-\uff5e.png", "outputs/page-😀.png", "outputs/page-é.png", "outputs/page-e\u0301.png"],
        *["outputs/deep/b/part.txt", "outputs/deep/a/part.txt", "outputs/deep/a b/part.txt"],
    ]
    do = [["write", path, path] for path in written]
    payload = asking(
        steps, *do, ["write_json", "outputs/data.json", {"é": [1]}], ["write_size", "outputs/blob.bin", 9999]
    )

    envelope = success(steps, steps.post(payload), payload)

    prefix = f"/artifacts/outputs/{payload['execution_id']}/"
    everything = [*written, "outputs/data.json", "outputs/blob.bin"]
    assert [row["path"] for row in envelope["outputs"]] == sorted(
        (prefix + path for path in everything), key=str.encode
    )
    assert json.loads(steps.file(f"{prefix}outputs/data.json").read_bytes()) == {"é": [1]}
    assert steps.file(f"{prefix}outputs/blob.bin").read_bytes() == bytes(9999)
    assert steps.file(f"{prefix}outputs/page-é.png").read_bytes() == "outputs/page-é.png".encode()


def test_what_is_optional_or_starred_may_be_missing(steps: Service) -> None:
    """Only what was written is named."""
    payload = asking(steps, WRITE)

    assert len(success(steps, steps.post(payload), payload)["outputs"]) == 1


def test_an_output_may_be_empty(steps: Service) -> None:
    """Zero bytes are an output."""
    payload = asking(steps, ["write", "outputs/text.txt", ""])

    assert success(steps, steps.post(payload), payload)["outputs"][0]["size_bytes"] == 0


def test_the_declared_media_type_wins(steps: Service) -> None:
    """Over what the handler says."""
    payload = asking(steps, ["write", "outputs/text.txt", "<p>", "text/html"])

    assert success(steps, steps.post(payload), payload)["outputs"][0]["mime"] == "text/plain"


def test_an_output_that_was_broken_off_does_not_exist(steps: Service) -> None:
    """Half a file is none, and nothing of it is left."""
    payload = asking(steps, ["write_half", "outputs/data.json"], WRITE)

    envelope = success(steps, steps.post(payload), payload)

    assert [row["path"].rpartition("/")[2] for row in envelope["outputs"]] == ["text.txt"]


# --- what may not ----------------------------------------------------------------------------------------------------

PATHS = [
    "/etc/passwd", "/artifacts/outputs/x/outputs/text.txt", "../text.txt", "outputs/../text.txt", "outputs/../../x",
    "outputs/deep/../text.txt", "..", ".", "", "/", "text.txt", "logs/trace.ndjson", "receipt.json", "outputs.json",
    "outputs/te\x00xt.txt", "outputs/page-\x00.png", "outputsx/text.txt", "./../outputs/text.txt",
    "outputs/page-/../x.png",
]  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
def test_an_output_outside_its_folder_is_refused(steps: Service, path: str) -> None:
    """Absolute, upwards, with a NUL, or beside `outputs/`."""
    before = {name for name in steps.tree() if not name.startswith("outputs/")}
    payload = asking(steps, ["write", path, "x"], WRITE)

    fails(steps, payload, "ERR_OUTPUT_PATH")
    assert {name for name in steps.tree() if not name.startswith("outputs/")} == before


@pytest.mark.parametrize(
    "path",
    ["outputs/other.txt", "outputs/text.txt.bak", "outputs/TEXT.txt", "outputs/page-1.jpg", "outputs/deep/part.txt",
     "outputs/deep/a/b/part.txt", "outputs/page-a/b.png", "outputs/deep/a/other.txt", "outputs/text.txt/x"],
)  # fmt: skip
def test_an_output_that_is_not_declared_is_refused(steps: Service, path: str) -> None:
    """A `*` stands for anything within one segment and nothing more."""
    fails(steps, asking(steps, ["write", path, "x"], WRITE), "ERR_OUTPUT_UNDECLARED")


@pytest.mark.parametrize(
    "twice",
    [
        [WRITE, WRITE],
        [WRITE, ["write", "outputs/text.txt", "other"]],
        [WRITE, ["write", "outputs/page-1.png", "x"], ["write_json", "outputs/page-1.png", "x"]],
        [WRITE, ["write", "outputs/blob.bin", "x"], ["write_size", "outputs/blob.bin", 10]],
    ],
    ids=["the same", "another text", "a starred one", "in another way"],
)
def test_an_output_that_is_written_twice_is_refused(steps: Service, twice: list[list[Any]]) -> None:
    """Nobody could tell which one was meant."""
    fails(steps, asking(steps, *twice), "ERR_OUTPUT_DUPLICATE")


@pytest.mark.parametrize(
    "do",
    [[], [["write", "outputs/page-1.png", "x"]], [["write_half", "outputs/text.txt"]]],
    ids=["nothing", "others", "half"],
)
def test_an_output_that_was_declared_has_to_be_written(steps: Service, do: list[list[Any]]) -> None:
    """Unless it is optional or has a `*`."""
    fails(steps, asking(steps, *do), "ERR_OUTPUT_MISSING")


@pytest.mark.parametrize("place", ["outputs", "outputs/deep", "outputs/deep/a"])
def test_an_output_through_a_symlink_is_refused(steps: Service, place: str) -> None:
    """Somebody put a link where the run makes its folders: nothing is written where it leads."""
    payload = asking(steps, ["write", "outputs/deep/a/part.txt", "x"], WRITE)
    elsewhere = steps.artifacts / "elsewhere" / payload["execution_id"]
    elsewhere.mkdir(parents=True)
    link = steps.file(f"/artifacts/outputs/{payload['execution_id']}/{place}")
    link.parent.mkdir(parents=True)
    link.symlink_to(elsewhere)

    fails(steps, payload, "ERR_OUTPUT_PATH")
    assert list(elsewhere.iterdir()) == []


@pytest.mark.parametrize("place", ["outputs/text.txt", "outputs.json", "receipt.json", "logs/trace.ndjson", "logs"])
def test_a_symlink_in_place_of_a_file_is_not_followed(steps: Service, place: str) -> None:
    """It is replaced, refused or passed over: never written through."""
    payload = asking(steps, WRITE)
    target = steps.artifacts / "elsewhere" / payload["execution_id"]
    target.mkdir(parents=True)
    if place != "logs":
        target = target / "file"
        target.write_text("untouched")
    link = steps.file(f"/artifacts/outputs/{payload['execution_id']}/{place}")
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(target)

    steps.post(payload)

    assert target.is_dir() or target.read_text() == "untouched"
    assert target.is_file() or list(target.iterdir()) == []

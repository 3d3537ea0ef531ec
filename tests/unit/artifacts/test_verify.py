"""An envelope is believed only as far as the files agree."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from apps.core.artifacts import ArtifactMismatchError, verify
from processor_runtime.prefix import Roots

from .conftest import PREFIX, Written

A = f"{PREFIX}outputs/a.txt"
B = f"{PREFIX}outputs/deep/er/b.bin"
INDEX = f"{PREFIX}outputs.json"

Change = Callable[[Written], object]


def found(written: Written, roots: Roots) -> dict[str, str]:
    """Return the rule that each path breaks."""
    with pytest.raises(ArtifactMismatchError) as refused:
        verify(written.envelope, PREFIX, roots)
    assert refused.value.code == "ERR_ARTIFACT_MISMATCH"
    return {detail["path"]: detail["message"] for detail in refused.value.details}


def test_files_that_are_as_the_envelope_says_pass(written: Written, roots: Roots) -> None:
    """Sizes, hashes and index."""
    verify(written.envelope, PREFIX, roots)


def test_a_success_without_outputs_still_has_an_index(tmp_path: Path, roots: Roots) -> None:
    """Optional outputs may all be missing."""
    written = Written(tmp_path / "artifacts", {})
    verify(written.envelope, PREFIX, roots)

    (written.folder / "outputs.json").unlink()

    assert found(written, roots) == {INDEX: "No such file or directory"}


def swap(path: Path, make: Callable[[Path], object]) -> None:
    """Put something else in the place of *path*."""
    path.unlink()
    make(path)


CHANGES = [
    pytest.param(lambda w: w.output("a.txt").unlink(), A, "No such file or directory", id="missing"),
    pytest.param(
        lambda w: w.output("a.txt").write_bytes(b"alphabet"), A, "has 8 bytes, and the envelope says 5", id="size"
    ),
    pytest.param(
        lambda w: w.output("a.txt").write_bytes(b"alphA"), A, "has another sha256 than the envelope says", id="hash"
    ),
    pytest.param(
        lambda w: swap(w.output("a.txt"), lambda path: path.symlink_to(w.folder / "copy")),
        A,
        "Too many levels of symbolic links",
        id="a link",
    ),
    pytest.param(lambda w: swap(w.output("a.txt"), os.mkfifo), A, "must be a regular file", id="a FIFO"),
    pytest.param(lambda w: swap(w.output("a.txt"), Path.mkdir), A, "must be a regular file", id="a folder"),
    pytest.param(
        lambda w: (w.output("deep").rename(w.folder / "moved"), w.output("deep").symlink_to(w.folder / "moved")),
        B,
        "Not a directory",
        id="behind a link",
    ),
]


@pytest.mark.parametrize(("change", "path", "rule"), CHANGES)
def test_a_file_that_is_not_as_the_envelope_says_is_named(
    written: Written, roots: Roots, change: Change, path: str, rule: str
) -> None:
    """That file, and no other; a link is not followed, wherever it leads."""
    (written.folder / "copy").write_bytes(b"alpha")

    change(written)

    assert found(written, roots) == {path: rule}


@pytest.mark.parametrize(
    ("path", "rule"),
    [
        ("/etc/passwd", "must lie under outputs/ of the write prefix"),
        ("/artifacts/outputs/e2/outputs/a.txt", "must lie under outputs/ of the write prefix"),
        (f"{PREFIX}receipt.json", "must lie under outputs/ of the write prefix"),
        (f"{PREFIX}outputs/../outputs.json", "must not hold empty, . or .. segments"),
        (f"{PREFIX}outputs//a.txt", "must not hold empty, . or .. segments"),
    ],
)
def test_a_path_outside_the_outputs_is_not_even_opened(written: Written, roots: Roots, path: str, rule: str) -> None:
    """An envelope cannot make this host read another file."""
    written.envelope["outputs"][0]["path"] = path
    written.index(written.envelope["outputs"])

    assert found(written, roots) == {path: rule}


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        pytest.param(lambda w: w.index([]), "must hold the envelope's execution_id and outputs", id="other rows"),
        pytest.param(
            lambda w: w.index(w.envelope["outputs"], "e2"),
            "must hold the envelope's execution_id and outputs",
            id="another id",
        ),
        pytest.param(lambda w: (w.folder / "outputs.json").write_text("{", "utf-8"), "must be I-JSON", id="no JSON"),
    ],
)
def test_an_index_that_says_something_else_is_a_mismatch(
    written: Written, roots: Roots, change: Change, rule: str
) -> None:
    """The index alone says later what the outputs are."""
    change(written)

    assert found(written, roots) == {INDEX: rule}


def test_an_index_elsewhere_is_a_mismatch(written: Written, roots: Roots) -> None:
    """It has one place."""
    written.envelope["index_path"] = "/artifacts/outputs/e2/outputs.json"

    assert found(written, roots) == {"/artifacts/outputs/e2/outputs.json": f"must be {INDEX}"}


def test_all_that_is_wrong_is_named(written: Written, roots: Roots) -> None:
    """One look is enough."""
    for name in ("a.txt", "deep/er/b.bin"):
        written.output(name).unlink()
    (written.folder / "outputs.json").unlink()

    assert list(found(written, roots)) == [A, B, INDEX]

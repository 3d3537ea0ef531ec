"""Outputs are copied to where the caller wants them, and verified by the same read."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from apps.core.artifacts import ArtifactMismatchError, save
from processor_runtime.errors import StorageError
from processor_runtime.prefix import Roots

from .conftest import PREFIX, Written

CHUNK = 1024 * 1024  # what is copied at a time


def tree(folder: Path) -> dict[str, bytes]:
    """Return the content of every file in *folder*."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_outputs_keep_their_paths_below_outputs(written: Written, roots: Roots, tmp_path: Path) -> None:
    """The folder is made; nothing else of the execution goes there."""
    save(written.envelope, PREFIX, roots, tmp_path / "new" / "folder")

    assert tree(tmp_path / "new" / "folder") == written.contents


def test_a_file_of_the_same_name_is_replaced_and_others_stay(written: Written, roots: Roots, tmp_path: Path) -> None:
    """As `cp` does; a link of that name is replaced itself, not what it leads to."""
    folder, elsewhere = tmp_path / "saved", tmp_path / "elsewhere"
    folder.mkdir()
    elsewhere.write_bytes(b"mine")
    (folder / "kept.txt").write_bytes(b"kept")
    (folder / "a.txt").symlink_to(elsewhere)

    save(written.envelope, PREFIX, roots, folder)

    assert tree(folder) == written.contents | {"kept.txt": b"kept"}
    assert elsewhere.read_bytes() == b"mine"


@pytest.mark.parametrize("size_bytes", [0, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK, 3 * CHUNK + 7])
def test_a_file_of_any_size_is_copied_and_hashed_whole(tmp_path: Path, roots: Roots, size_bytes: int) -> None:
    """Whatever is left for the last chunk, and whichever thread hashes it."""
    content = bytes(number % 251 for number in range(1021)) * (size_bytes // 1021 + 1)
    written = Written(tmp_path / "artifacts", {"big.bin": content[:size_bytes]})

    save(written.envelope, PREFIX, roots, tmp_path / "saved")

    assert tree(tmp_path / "saved") == written.contents


def test_a_change_in_any_chunk_is_seen(tmp_path: Path, roots: Roots) -> None:
    """In the first, which a thread hashes, and in the last."""
    written = Written(tmp_path / "artifacts", {"big.bin": b"x" * (2 * CHUNK + 7)})
    for at in (0, CHUNK, 2 * CHUNK + 6):
        changed = bytearray(written.contents["big.bin"])
        changed[at] ^= 1
        written.output("big.bin").write_bytes(changed)

        with pytest.raises(ArtifactMismatchError):
            save(written.envelope, PREFIX, roots, tmp_path / "saved")

    assert tree(tmp_path / "saved") == {}


def test_an_index_that_says_something_else_saves_nothing(written: Written, roots: Roots, tmp_path: Path) -> None:
    """Saving verifies all that `verify` does, before any copy gets its name."""
    written.index([])

    with pytest.raises(ArtifactMismatchError) as refused:
        save(written.envelope, PREFIX, roots, tmp_path / "saved")

    assert [detail["path"] for detail in refused.value.details] == [f"{PREFIX}outputs.json"]
    assert tree(tmp_path / "saved") == {}


def test_many_outputs_need_no_more_open_files_than_one(tmp_path: Path, roots: Roots) -> None:
    """A copy that waits for its name is closed."""
    written = Written(tmp_path / "artifacts", {f"{number}.txt": b"x" for number in range(100)})
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    opened = len(list(Path("/proc/self/fd").iterdir()))
    resource.setrlimit(resource.RLIMIT_NOFILE, (opened + 20, hard))
    try:
        save(written.envelope, PREFIX, roots, tmp_path / "saved")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    assert tree(tmp_path / "saved") == written.contents


@pytest.mark.parametrize("change", ["changed", "gone"])
def test_one_output_that_is_not_as_the_envelope_says_saves_none(
    written: Written, roots: Roots, tmp_path: Path, change: str
) -> None:
    """What is saved is what the envelope says, or nothing: what lay there before stays."""
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "a.txt").write_bytes(b"before")
    if change == "changed":
        written.output("deep/er/b.bin").write_bytes(b"\0betA")
    else:
        written.output("deep/er/b.bin").unlink()

    with pytest.raises(ArtifactMismatchError) as refused:
        save(written.envelope, PREFIX, roots, tmp_path / "saved")

    assert [detail["path"] for detail in refused.value.details] == [f"{PREFIX}outputs/deep/er/b.bin"]
    assert tree(tmp_path / "saved") == {"a.txt": b"before"}


def test_a_folder_that_cannot_be_written_is_a_matter_of_storage(written: Written, roots: Roots, tmp_path: Path) -> None:
    """A file stands where a folder should be: no user may write there, root neither."""
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "deep").write_bytes(b"")

    with pytest.raises(StorageError) as refused:
        save(written.envelope, PREFIX, roots, tmp_path / "saved")

    assert refused.value.details == ({"path": "--save-dir b.bin", "message": "Not a directory"},)

"""Outputs are copied to where the caller wants them, verified once more on the way."""

from __future__ import annotations

from pathlib import Path

import pytest

from apps.core.artifacts import ArtifactMismatchError, save
from processor_runtime.errors import StorageError
from processor_runtime.prefix import Roots

from .conftest import PREFIX, Written


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


@pytest.mark.parametrize("change", ["changed", "gone"])
def test_an_output_that_changed_since_it_was_verified_is_not_saved(
    written: Written, roots: Roots, tmp_path: Path, change: str
) -> None:
    """What is saved is what the envelope says, or nothing."""
    if change == "changed":
        written.output("a.txt").write_bytes(b"alphA")
    else:
        written.output("a.txt").unlink()

    with pytest.raises(ArtifactMismatchError) as refused:
        save(written.envelope, PREFIX, roots, tmp_path / "saved")

    assert refused.value.details[0]["path"] == f"{PREFIX}outputs/a.txt"
    assert list((tmp_path / "saved").iterdir() if (tmp_path / "saved").exists() else []) == []


def test_a_folder_that_cannot_be_written_is_a_matter_of_storage(written: Written, roots: Roots, tmp_path: Path) -> None:
    """A file stands where a folder should be: no user may write there, root neither."""
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "deep").write_bytes(b"")

    with pytest.raises(StorageError) as refused:
        save(written.envelope, PREFIX, roots, tmp_path / "saved")

    assert refused.value.details == ({"path": "--save-dir b.bin", "message": "Not a directory"},)

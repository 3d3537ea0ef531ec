"""An output appears whole, where it may, or not at all."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processor_runtime.errors import (
    OutputDuplicateError,
    OutputPathError,
    OutputUndeclaredError,
    ProcessorError,
    StorageError,
)
from processor_runtime.workspace import RunStoppedError, Workspace
from tests.unit.runtime.workspaces import Make, failing, files_of, workspace_in, write_output

# --- outputs


def test_an_output_appears_when_it_is_complete_and_not_before(workspace: Workspace, folder: Path) -> None:
    """Until then there is a temporary file beside its place, and no row."""
    with workspace.open_output("outputs/a.txt", None) as file:
        file.write(b"half")
        assert not (folder / "outputs" / "a.txt").exists()
        assert len(files_of(folder)) == 1
        assert workspace.rows == []
        file.write(b" and half")

    assert files_of(folder) == ["outputs/a.txt"]
    assert (folder / "outputs" / "a.txt").read_bytes() == b"half and half"


def test_a_row_says_what_was_written(make: Make) -> None:
    """Logical path, media type, size and hash; it is announced as soon as the file is there."""
    announced: list[dict[str, Any]] = []
    workspace = make(announce=lambda row: announced.append(dict(row)))
    workspace.make()

    write_output(workspace, "outputs/a.txt", b"hello")

    row = {
        "path": "/artifacts/outputs/e1/outputs/a.txt",
        "mime": "text/plain",
        "size_bytes": 5,
        "sha256": hashlib.sha256(b"hello").hexdigest(),
    }
    assert workspace.rows == announced == [row]


@pytest.mark.parametrize(
    ("path", "said", "mime"),
    [
        ("outputs/a.txt", "application/pdf", "text/plain"),
        ("outputs/pages/1.png", None, "image/png"),
        ("outputs/any/1", "application/pdf", "application/pdf"),
        ("outputs/any/1", None, "application/octet-stream"),
    ],
)
def test_the_media_type_is_the_declared_one_else_the_handlers(
    workspace: Workspace, path: str, said: str | None, mime: str
) -> None:
    """And where nobody says any, that of arbitrary bytes."""
    write_output(workspace, path, mime=said)

    assert workspace.rows[0]["mime"] == mime


@settings(max_examples=25)
@given(chunks=st.lists(st.binary(max_size=50), max_size=6))
def test_size_and_hash_are_of_the_whole_however_it_is_cut(
    tmp_path_factory: pytest.TempPathFactory, chunks: list[bytes]
) -> None:
    """Bytes, bytearrays and views alike."""
    base = tmp_path_factory.mktemp("cut")
    workspace = workspace_in(base)
    workspace.make()
    with workspace.open_output("outputs/a.txt", None) as file:
        for kind, chunk in zip([bytes, bytearray, memoryview] * 2, chunks, strict=False):
            assert file.write(kind(chunk)) == len(chunk)
    workspace.close()

    whole = b"".join(chunks)
    assert (base / "outputs/e1/outputs/a.txt").read_bytes() == whole
    assert workspace.rows[0]["size_bytes"] == len(whole)
    assert workspace.rows[0]["sha256"] == hashlib.sha256(whole).hexdigest()


def test_an_exception_while_writing_leaves_no_file_at_all(workspace: Workspace, folder: Path) -> None:
    """Neither under its name nor under a temporary one."""

    def fail() -> None:
        with workspace.open_output("outputs/a.txt", None) as file:
            file.write(b"half")
            raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        fail()

    assert (files_of(folder), workspace.rows) == ([], [])


def test_a_settled_run_cannot_make_an_output_visible(make: Make, folder: Path) -> None:
    """The guard refuses; what was written is removed."""

    def settled(_step: Callable[[], None]) -> None:
        raise RunStoppedError

    workspace = make(guard=settled)
    workspace.make()

    with pytest.raises(RunStoppedError):
        write_output(workspace, "outputs/a.txt")

    assert (files_of(folder), workspace.rows) == ([], [])


def test_an_output_written_twice_is_refused_and_the_first_one_stays(workspace: Workspace, folder: Path) -> None:
    """The run fails even if the handler catches it."""
    write_output(workspace, "outputs/a.txt", b"first")

    with pytest.raises(OutputDuplicateError) as failure:
        write_output(workspace, "outputs/a.txt", b"second")

    assert failure.value.details[0]["path"] == "outputs/a.txt"
    assert (folder / "outputs" / "a.txt").read_bytes() == b"first"
    assert isinstance(workspace.violation, OutputDuplicateError)


def test_an_output_that_is_open_cannot_be_opened_again(workspace: Workspace) -> None:
    """One of both would be lost."""
    with workspace.open_output("outputs/a.txt", None), pytest.raises(OutputDuplicateError):
        workspace.open_output("outputs/a.txt", None)


@pytest.mark.parametrize(
    "path", ["outputs/c.txt", "outputs/pages/1.jpg", "outputs/pages/1/2.png", "outputs/A.txt", "outputs/a.txt "]
)
def test_an_output_that_is_not_declared_is_refused(workspace: Workspace, folder: Path, path: str) -> None:
    """What is not declared is nobody's."""
    with pytest.raises(OutputUndeclaredError):
        write_output(workspace, path)

    assert files_of(folder) == []
    assert isinstance(workspace.violation, OutputUndeclaredError)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "a.txt",
        "outputs",
        "outputs/",
        "/outputs/a.txt",
        "/tmp/a.txt",
        "../outputs/a.txt",
        "outputs/../receipt.json",
        "outputs/../../e2/outputs/a.txt",
        "outputs/./a.txt",
        "outputs//a.txt",
        "outputs/a.txt/",
        "outputs/a\0.txt",
        "outputs/a.txt\0",
        "outputs\\a.txt",
        "Outputs/a.txt",
        "receipt.json",
        "outputs.json",
        "logs/trace.ndjson",
    ],
)
def test_an_output_that_does_not_lie_under_outputs_is_refused(workspace: Workspace, folder: Path, path: str) -> None:
    """Whether or not the registry would match it."""
    with pytest.raises(OutputPathError):
        write_output(workspace, path)

    assert files_of(folder.parent) == []
    assert isinstance(workspace.violation, OutputPathError)


@pytest.mark.parametrize("path", ["outputs/any/" + "x" * 256, "outputs/any/" + "é" * 128])
def test_a_name_that_is_too_long_is_refused(workspace: Workspace, folder: Path, path: str) -> None:
    """255 bytes are all that a directory entry holds."""
    with pytest.raises(OutputPathError):
        write_output(workspace, path)

    assert files_of(folder) == []


def test_a_folder_of_outputs_that_is_a_link_is_not_followed(workspace: Workspace, folder: Path, tmp_path: Path) -> None:
    """Wherever it leads."""
    (tmp_path / "elsewhere").mkdir()
    (folder / "outputs").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(OutputPathError):
        write_output(workspace, "outputs/a.txt")

    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_folder_within_outputs_that_is_a_link_is_not_followed(workspace: Workspace, folder: Path) -> None:
    """Not even to another place within the run's own folder."""
    (folder / "outputs" / "real").mkdir(parents=True)
    (folder / "outputs" / "pages").symlink_to("real")

    with pytest.raises(OutputPathError):
        write_output(workspace, "outputs/pages/1.png")

    assert list((folder / "outputs" / "real").iterdir()) == []


def test_a_link_in_an_outputs_place_is_replaced_and_not_written_through(
    workspace: Workspace, folder: Path, tmp_path: Path
) -> None:
    """A rename puts the file where the link was."""
    (tmp_path / "victim").write_bytes(b"kept")
    (folder / "outputs").mkdir()
    (folder / "outputs" / "a.txt").symlink_to(tmp_path / "victim")

    write_output(workspace, "outputs/a.txt", b"mine")

    assert (tmp_path / "victim").read_bytes() == b"kept"
    assert (folder / "outputs" / "a.txt").read_bytes() == b"mine"
    assert not (folder / "outputs" / "a.txt").is_symlink()


def test_a_file_of_an_earlier_attempt_is_replaced(workspace: Workspace, folder: Path) -> None:
    """Also the half-written one of a killed process that had our process id."""
    (folder / "outputs").mkdir()
    (folder / "outputs" / "a.txt").write_bytes(b"old and longer")
    for number in range(3):
        (folder / "outputs" / f".{os.getpid()}-{number}.part").write_bytes(b"left over")

    write_output(workspace, "outputs/a.txt", b"new")

    assert (folder / "outputs" / "a.txt").read_bytes() == b"new"


def test_a_file_where_a_folder_should_be_is_a_storage_error(workspace: Workspace) -> None:
    """One output cannot lie below another."""
    write_output(workspace, "outputs/file")

    with pytest.raises(StorageError):
        write_output(workspace, "outputs/file/below.txt")


def test_a_folder_where_a_file_should_be_is_a_storage_error(workspace: Workspace, folder: Path) -> None:
    """And nothing temporary is left."""
    write_output(workspace, "outputs/file/below.txt")

    with pytest.raises(StorageError):
        write_output(workspace, "outputs/file")

    assert files_of(folder) == ["outputs/file/below.txt"]


def test_the_first_violation_is_kept(workspace: Workspace) -> None:
    """It is what the caller is told, whatever the handler does next."""
    with pytest.raises(OutputUndeclaredError):
        write_output(workspace, "outputs/c.txt")
    with pytest.raises(OutputPathError):
        write_output(workspace, "../x")

    assert isinstance(workspace.violation, OutputUndeclaredError)


def test_writing_after_the_end_is_refused_and_reaches_nobody(workspace: Workspace, tmp_path: Path) -> None:
    """The number of a closed descriptor may be somebody else's by now."""
    with workspace.open_output("outputs/a.txt", None) as file:
        file.write(b"all of it")
    strangers = [(tmp_path / f"stranger{number}").open("wb") for number in range(8)]

    try:
        with pytest.raises((ValueError, ProcessorError, RunStoppedError)):
            file.write(b"late")
    finally:
        for stranger in strangers:
            stranger.close()

    assert [path.read_bytes() for path in tmp_path.glob("stranger*")] == [b""] * 8
    assert (workspace.rows[0]["size_bytes"], file.size_bytes) == (9, 9)


def test_ending_twice_closes_nobody_elses_file(workspace: Workspace, tmp_path: Path) -> None:
    """A handler may commit by hand, inside a `with` block."""
    file = workspace.open_output("outputs/a.txt", None)
    file.commit()
    strangers = [(tmp_path / f"stranger{number}").open("wb") for number in range(8)]

    with contextlib.suppress(ValueError, OSError, ProcessorError):
        file.discard()
    try:
        for stranger in strangers:
            stranger.write(b"mine")
            stranger.flush()
    finally:
        for stranger in strangers:
            with contextlib.suppress(OSError):
                stranger.close()

    assert [path.read_bytes() for path in tmp_path.glob("stranger*")] == [b"mine"] * 8


# --- storage


def test_a_full_disk_is_a_storage_error(workspace: Workspace, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With nothing left behind, and remembered even if the handler catches it."""
    file = workspace.open_output("outputs/a.txt", None)
    file.write(b"some")
    monkeypatch.setattr(os, "write", failing(os.write, errno.ENOSPC))
    with pytest.raises(StorageError), file:
        file.write(b"more")
    monkeypatch.undo()

    assert (files_of(folder), workspace.rows) == ([], [])
    assert isinstance(workspace.violation, StorageError)


def test_a_disk_that_is_found_full_when_the_file_is_closed_is_a_storage_error(
    workspace: Workspace, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Network file systems and quotas say so only then."""
    close, failed = os.close, list[int]()

    def fails_once(fd: int) -> None:
        close(fd)
        if not failed:
            failed.append(fd)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    file = workspace.open_output("outputs/a.txt", None)
    file.write(b"some")
    monkeypatch.setattr(os, "close", fails_once)
    with pytest.raises(StorageError):
        file.commit()
    monkeypatch.undo()

    assert (files_of(folder), workspace.rows) == ([], [])
    assert isinstance(workspace.violation, StorageError)


def test_a_short_write_is_continued(workspace: Workspace, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel may take less than it was given."""
    write = os.write
    with workspace.open_output("outputs/a.txt", None) as file:
        monkeypatch.setattr(os, "write", lambda fd, data: write(fd, bytes(data[:3])))
        assert file.write(b"0123456789") == 10
        monkeypatch.undo()

    assert (folder / "outputs" / "a.txt").read_bytes() == b"0123456789"


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.ENOSPC])
def test_an_output_that_cannot_be_made_is_a_storage_error(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """The path is fine: the disk is not."""
    write_output(workspace, "outputs/b.txt")
    monkeypatch.setattr(os, "open", failing(os.open, number))

    with pytest.raises(StorageError):
        workspace.open_output("outputs/a.txt", None)
    monkeypatch.undo()


def test_a_rename_that_fails_is_a_storage_error(
    workspace: Workspace, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For outputs, and for the index and the receipt."""
    monkeypatch.setattr(os, "rename", failing(os.rename, errno.EDQUOT))

    with pytest.raises(StorageError):
        write_output(workspace, "outputs/a.txt")
    with pytest.raises(StorageError):
        workspace.write_file("receipt.json", b"{}")
    monkeypatch.undo()

    assert files_of(folder) == []

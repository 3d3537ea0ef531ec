"""A run's folder: one process at a time, what an earlier attempt left, and what says how it went."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest

from processor_runtime.errors import ProcessorError, StorageError
from processor_runtime.workspace import MAX_RECEIPT_BYTES, PrefixLockedError, Workspace
from tests.unit.runtime.workspaces import PREFIX, Make, failing, files_of, write_output

# --- the folder and its lock


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_a_folder_that_cannot_be_made_is_a_storage_error(
    make: Make, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Read-only, not permitted, full, over quota, broken."""
    workspace = make()
    monkeypatch.setattr(os, "mkdir", failing(os.mkdir, number))

    with pytest.raises(StorageError) as failure:
        workspace.make()

    assert failure.value.context == {"errno": number}
    assert not workspace.opened


def test_a_folder_is_new_for_who_has_made_it_and_as_long_as_it_is_held(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody else may have locked it first, and left something in it."""
    first = make()
    with monkeypatch.context() as taken:
        taken.setattr("fcntl.flock", failing(lambda *_: None, errno.EWOULDBLOCK))
        with pytest.raises(PrefixLockedError):
            first.make()

    assert not first.new
    first.make()
    assert (first.opened, first.new) == (True, False)
    second = make("/artifacts/outputs/e2/")
    second.make()
    assert second.new


def test_a_file_where_the_prefix_should_be_is_a_storage_error(make: Make, folder: Path) -> None:
    """Whether it is looked at or made."""
    folder.parent.mkdir()
    folder.write_bytes(b"")

    for act in (make().exists, make().make):
        with pytest.raises(StorageError):
            act()


def test_a_root_that_is_not_there_yet_is_made(make: Make, tmp_path: Path) -> None:
    """A laptop's artifacts folder may be new; looking alone does not make it."""
    tmp_path.rmdir()
    workspace = make()

    assert workspace.exists() is False
    assert not tmp_path.exists()
    workspace.make()
    assert (tmp_path / "outputs" / "e1").is_dir()


def test_looking_makes_nothing(make: Make, tmp_path: Path) -> None:
    """A request that is refused leaves no trace."""
    workspace = make()

    assert workspace.exists() is False
    assert not workspace.opened
    assert list(tmp_path.iterdir()) == []


def test_making_makes_every_folder_on_the_way(make: Make, folder: Path) -> None:
    """And then it exists."""
    workspace = make()

    workspace.make()

    assert folder.is_dir()
    assert workspace.opened
    assert workspace.exists() is True


def test_making_or_looking_twice_does_nothing_more(make: Make) -> None:
    """The lock that it has does not stand in its own way."""
    workspace = make()

    workspace.make()
    workspace.make()

    assert workspace.exists() is True


def test_a_prefix_is_locked_for_everybody_else(make: Make) -> None:
    """Whether they look or make."""
    make().make()

    for act in (make().exists, make().make):
        with pytest.raises(PrefixLockedError):
            act()


def test_looking_locks_too(make: Make, folder: Path) -> None:
    """What was found must still be there when it is used."""
    folder.mkdir(parents=True)
    first, second = make(), make()

    assert first.exists() is True
    with pytest.raises(PrefixLockedError):
        second.make()


def test_closing_gives_up_the_lock(make: Make, folder: Path) -> None:
    """Whoever was refused may try again with the same object, and writes; who has closed does not."""
    first, second = make(), make()
    first.make()
    with pytest.raises(PrefixLockedError):
        second.make()

    first.close()

    second.make()
    assert second.opened
    assert not first.opened
    write_output(second, "outputs/a.txt")
    assert files_of(folder) == ["outputs/a.txt"]
    assert [row["path"] for row in second.rows] == [f"{PREFIX}outputs/a.txt"]
    with pytest.raises(StorageError):
        write_output(first, "outputs/b.txt")


def test_another_prefix_is_not_locked(make: Make) -> None:
    """Beside it, above it or below it."""
    for prefix in (PREFIX, "/artifacts/outputs/e2/", "/artifacts/outputs/", "/artifacts/outputs/e1/deeper/"):
        make(prefix).make()


def test_a_prefix_through_a_link_is_the_same_prefix(make: Make, folder: Path) -> None:
    """The folder is locked, not its name."""
    make().make()
    (folder.parent / "alias").symlink_to("e1")

    with pytest.raises(PrefixLockedError):
        make("/artifacts/outputs/alias/").make()


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS])
def test_a_file_system_without_locks_is_used_without_them(
    make: Make, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """CONTRACT section 4: the orchestrator sees to it there."""
    monkeypatch.setattr("fcntl.flock", failing(lambda *_: None, number))
    workspace = make()

    workspace.make()

    assert workspace.opened


def test_a_prefix_that_becomes_a_link_out_of_its_root_is_not_followed(
    make: Make, folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Between the check of the request and the run."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    folder.parent.symlink_to(elsewhere)

    with pytest.raises(ProcessorError):
        make().make()

    assert list(elsewhere.iterdir()) == []


def test_a_run_in_a_new_folder_asks_for_nothing_that_cannot_be_there(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its folder and those in it are made first and opened then: no call fails."""
    (tmp_path / "outputs").mkdir()
    failed: list[object] = []
    opened = os.open

    def counting(path: Any, *arguments: Any, **keywords: Any) -> int:
        try:
            return opened(path, *arguments, **keywords)
        except OSError:
            failed.append(path)
            raise

    monkeypatch.setattr(os, "open", counting)
    workspace = make()
    assert not workspace.exists()
    failed.clear()
    workspace.make()
    write_output(workspace, "outputs/a.txt")
    workspace.append_trace([b"{}\n"])

    assert failed == []


def test_folders_of_an_earlier_attempt_are_used_again(make: Make, folder: Path) -> None:
    """Each was made by somebody else, at the latest a moment ago."""
    for path in ("outputs", "logs"):
        (folder / path).mkdir(parents=True)
    workspace = make()
    workspace.make()

    write_output(workspace, "outputs/a.txt")
    workspace.append_trace([b"{}\n"])

    assert files_of(folder) == ["logs/trace.ndjson", "outputs/a.txt"]


def test_no_descriptor_is_left_open(make: Make) -> None:
    """A service runs for days."""
    before = len(os.listdir("/dev/fd"))  # noqa: PTH208 - only the count is wanted

    for _ in range(50):
        workspace = make()
        workspace.make()
        write_output(workspace, "outputs/a.txt")
        write_output(workspace, "outputs/pages/1.png")
        workspace.append_trace([b"{}\n"])
        workspace.write_file("receipt.json", b"{}")
        workspace.receipt()
        workspace.close()

    assert len(os.listdir("/dev/fd")) < before + 50  # noqa: PTH208 - other threads may open a few


# --- what an earlier attempt left


def test_a_receipt_is_read(workspace: Workspace) -> None:
    """As it was written."""
    workspace.write_file("receipt.json", b'{"execution_id": "e1"}')

    assert workspace.receipt() == {"execution_id": "e1"}


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'"receipt"', b"null", b"\xff\xfe{}", b"[" * 100_000, b"\0" * 100]
)
def test_a_receipt_of_garbage_is_none(workspace: Workspace, folder: Path, content: bytes) -> None:
    """A disk that was full, an editor, another program."""
    (folder / "receipt.json").write_bytes(content)

    assert workspace.receipt() is None


def test_no_receipt_is_none(workspace: Workspace) -> None:
    """The attempt was killed, or there was none."""
    assert workspace.receipt() is None


def test_a_receipt_that_is_not_a_regular_file_is_none(workspace: Workspace, folder: Path, tmp_path: Path) -> None:
    """A link is not followed, and a FIFO not waited for."""
    (tmp_path / "true.json").write_bytes(b"{}")
    receipt = folder / "receipt.json"

    receipt.symlink_to(tmp_path / "true.json")
    assert workspace.receipt() is None
    receipt.unlink()
    os.mkfifo(receipt)
    assert workspace.receipt() is None


def test_a_receipt_that_is_a_folder_is_none(workspace: Workspace, folder: Path) -> None:
    """There is no readable receipt there."""
    (folder / "receipt.json").mkdir()

    assert workspace.receipt() is None


def test_an_oversized_receipt_is_none(workspace: Workspace, folder: Path) -> None:
    """Nobody of ours writes 64 MiB."""
    with (folder / "receipt.json").open("wb") as file:
        file.write(b"{}")
        file.truncate(MAX_RECEIPT_BYTES + 1)

    assert workspace.receipt() is None


def test_outputs_are_held_while_all_are_there_with_their_sizes(workspace: Workspace, folder: Path) -> None:
    """None missing, none of another size, none a link; and the index with them."""
    write_output(workspace, "outputs/a.txt", b"12345")
    write_output(workspace, "outputs/pages/1.png", b"123")
    rows = workspace.rows
    assert workspace.holds(rows) is False
    workspace.write_file("outputs.json", b"{}")
    page = folder / "outputs" / "pages" / "1.png"

    assert workspace.holds(rows) is True
    assert workspace.holds([]) is True
    page.write_bytes(b"1234")
    assert workspace.holds(rows) is False
    page.unlink()
    assert workspace.holds(rows) is False
    page.symlink_to("../a.txt")
    assert workspace.holds(rows) is False
    page.unlink()
    page.mkdir()
    assert workspace.holds(rows) is False


@pytest.mark.parametrize(
    "row",
    [
        {"path": "/artifacts/outputs/e2/outputs/a.txt", "size_bytes": 1},
        {"path": "/etc/passwd", "size_bytes": 1},
        {"path": PREFIX + "outputs/\0", "size_bytes": 1},
        {"path": PREFIX + "outputs", "size_bytes": 1},
        {"path": None, "size_bytes": 1},
        {"path": 7, "size_bytes": 1},
        {"size_bytes": 1},
        {"path": PREFIX + "outputs/a.txt", "size_bytes": "1"},
        {"path": PREFIX + "outputs/a.txt"},
    ],
)
def test_an_output_that_is_not_one_of_this_prefix_is_not_held(workspace: Workspace, row: dict[str, Any]) -> None:
    """A receipt is a file like others: somebody may have edited it."""
    write_output(workspace, "outputs/a.txt", b"1")

    assert workspace.holds([row]) is False


@pytest.mark.parametrize(
    "row", [{}, {"path": PREFIX + "outputs/none.txt"}, {"path": PREFIX + "outputs/none.txt", "size_bytes": None}]
)
def test_an_output_without_a_size_that_is_not_there_is_not_held(workspace: Workspace, row: dict[str, Any]) -> None:
    """No size and no file are not the same size."""
    assert workspace.holds([row]) is False


def test_a_new_attempt_forgets_receipt_and_index_and_nothing_else(workspace: Workspace, folder: Path) -> None:
    """The index alone says what the outputs are."""
    workspace.write_file("receipt.json", b"{}")
    workspace.write_file("outputs.json", b"{}")
    write_output(workspace, "outputs/a.txt")

    workspace.forget()
    workspace.forget()

    assert files_of(folder) == ["outputs/a.txt"]


def test_a_receipt_that_cannot_be_removed_is_a_storage_error(workspace: Workspace, folder: Path) -> None:
    """A run beside a stale receipt would be taken for the one that it proves."""
    (folder / "receipt.json").mkdir()

    with pytest.raises(StorageError):
        workspace.forget()


# --- index, receipt and mirror


def test_a_file_at_the_top_is_replaced_as_a_whole(workspace: Workspace, folder: Path) -> None:
    """It has no row: it is evidence, not output."""
    workspace.write_file("receipt.json", b'{"first": 1}')
    workspace.write_file("receipt.json", b"{}")

    assert (folder / "receipt.json").read_bytes() == b"{}"
    assert (files_of(folder), workspace.rows) == (["receipt.json"], [])


def test_a_file_at_the_top_is_written_to_its_end(
    workspace: Workspace, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file system may take less than it is given."""
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, bytes(data[:3])))

    workspace.write_file("receipt.json", b"0123456789")
    monkeypatch.undo()

    assert (folder / "receipt.json").read_bytes() == b"0123456789"


def test_a_file_at_the_top_that_cannot_be_written_leaves_what_was_there(
    workspace: Workspace, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not a part of the new one, and no temporary file."""
    workspace.write_file("receipt.json", b"old")
    monkeypatch.setattr(os, "write", failing(os.write, errno.ENOSPC))

    with pytest.raises(StorageError):
        workspace.write_file("receipt.json", b"new")
    monkeypatch.undo()

    assert files_of(folder) == ["receipt.json"]
    assert (folder / "receipt.json").read_bytes() == b"old"


def test_the_mirror_is_appended_to(workspace: Workspace, folder: Path) -> None:
    """Line after line, attempt after attempt."""
    workspace.append_trace([b'{"n":1}\n', b'{"n":2}\n'])
    workspace.append_trace([b'{"n":3}\n'])

    lines = (folder / "logs" / "trace.ndjson").read_text().splitlines()
    assert [json.loads(line)["n"] for line in lines] == [1, 2, 3]


def test_a_mirror_that_cannot_be_written_fails_nothing(workspace: Workspace, folder: Path, tmp_path: Path) -> None:
    """A link in its place is not followed either."""
    (tmp_path / "victim").write_bytes(b"kept")
    (folder / "logs").mkdir()
    (folder / "logs" / "trace.ndjson").symlink_to(tmp_path / "victim")

    workspace.append_trace([b"{}\n"])

    assert (tmp_path / "victim").read_bytes() == b"kept"

"""A run's folder: files appear whole or not at all, only where they may, and one process at a time."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processor_runtime.declaration import Output
from processor_runtime.errors import (
    OutputDuplicateError,
    OutputPathError,
    OutputUndeclaredError,
    ProcessorError,
    StorageError,
)
from processor_runtime.prefix import Roots
from processor_runtime.workspace import MAX_RECEIPT_BYTES, PrefixLockedError, RunStoppedError, Workspace

PREFIX = "/artifacts/outputs/e1/"
OUTPUTS = (
    Output("outputs/a.txt", "text/plain", "", optional=False),
    Output("outputs/b.txt", "text/plain", "", optional=True),
    Output("outputs/pages/*.png", "image/png", "", optional=True),
    Output("outputs/any/*", "", "", optional=True),
    Output("outputs/file/below.txt", "text/plain", "", optional=True),
    Output("outputs/file", "text/plain", "", optional=True),
)

Make = Callable[..., Workspace]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return where the prefix lies on this machine; it is not made yet."""
    return tmp_path / "outputs" / "e1"


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Return a function that makes workspaces, closed afterwards."""
    made: list[Workspace] = []

    def workspace(
        prefix: str = PREFIX,
        guard: Callable[[Callable[[], None]], None] = lambda step: step(),
        announce: Callable[[dict[str, Any]], None] = lambda _: None,
    ) -> Workspace:
        outputs = [(output, output.pattern().fullmatch) for output in OUTPUTS]
        roots = Roots.of("/artifacts", "/artifacts/inputs", str(tmp_path))
        made.append(Workspace(prefix, roots.check_write(prefix), outputs, guard, announce))
        return made[-1]

    yield workspace
    for each in made:
        each.close()


@pytest.fixture
def workspace(make: Make) -> Workspace:
    """Return a workspace whose folder is made and locked."""
    found = make()
    found.make()
    return found


def _files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir())


def _write(workspace: Workspace, path: str, data: bytes = b"x", mime: str | None = None) -> None:
    with workspace.open_output(path, mime) as file:
        file.write(data)


def _failing(
    call: Callable[..., Any], number: int, *, when: Callable[..., bool] = lambda *_: True
) -> Callable[..., Any]:
    """Return *call*, failing with errno *number* where *when* says so."""

    def failing(*arguments: Any, **keywords: Any) -> Any:
        if when(*arguments):
            raise OSError(number, os.strerror(number))
        return call(*arguments, **keywords)

    return failing


# --- outputs


def test_an_output_appears_when_it_is_complete_and_not_before(workspace: Workspace, folder: Path) -> None:
    """Until then there is a temporary file beside its place, and no row."""
    with workspace.open_output("outputs/a.txt", None) as file:
        file.write(b"half")
        assert not (folder / "outputs" / "a.txt").exists()
        assert len(_files(folder)) == 1
        assert workspace.rows == []
        file.write(b" and half")

    assert _files(folder) == ["outputs/a.txt"]
    assert (folder / "outputs" / "a.txt").read_bytes() == b"half and half"


def test_a_row_says_what_was_written(make: Make) -> None:
    """Logical path, media type, size and hash; it is announced as soon as the file is there."""
    announced: list[dict[str, Any]] = []
    workspace = make(announce=lambda row: announced.append(dict(row)))
    workspace.make()

    _write(workspace, "outputs/a.txt", b"hello")

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
    _write(workspace, path, mime=said)

    assert workspace.rows[0]["mime"] == mime


@settings(max_examples=25)
@given(chunks=st.lists(st.binary(max_size=50), max_size=6))
def test_size_and_hash_are_of_the_whole_however_it_is_cut(
    tmp_path_factory: pytest.TempPathFactory, chunks: list[bytes]
) -> None:
    """Bytes, bytearrays and views alike."""
    base = tmp_path_factory.mktemp("cut")
    outputs = [(OUTPUTS[0], lambda _path: True)]
    place = Roots.of("/artifacts", "/", str(base)).check_write(PREFIX)
    workspace = Workspace(PREFIX, place, outputs, lambda step: step(), lambda _row: None)
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

    assert (_files(folder), workspace.rows) == ([], [])


def test_a_settled_run_cannot_make_an_output_visible(make: Make, folder: Path) -> None:
    """The guard refuses; what was written is removed."""

    def settled(_step: Callable[[], None]) -> None:
        raise RunStoppedError

    workspace = make(guard=settled)
    workspace.make()

    with pytest.raises(RunStoppedError):
        _write(workspace, "outputs/a.txt")

    assert (_files(folder), workspace.rows) == ([], [])


def test_an_output_written_twice_is_refused_and_the_first_one_stays(workspace: Workspace, folder: Path) -> None:
    """The run fails even if the handler catches it."""
    _write(workspace, "outputs/a.txt", b"first")

    with pytest.raises(OutputDuplicateError) as failure:
        _write(workspace, "outputs/a.txt", b"second")

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
        _write(workspace, path)

    assert _files(folder) == []
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
        _write(workspace, path)

    assert _files(folder.parent) == []
    assert isinstance(workspace.violation, OutputPathError)


@pytest.mark.parametrize("path", ["outputs/any/" + "x" * 256, "outputs/any/" + "é" * 128])
def test_a_name_that_is_too_long_is_refused(workspace: Workspace, folder: Path, path: str) -> None:
    """255 bytes are all that a directory entry holds."""
    with pytest.raises(OutputPathError):
        _write(workspace, path)

    assert _files(folder) == []


def test_a_folder_of_outputs_that_is_a_link_is_not_followed(workspace: Workspace, folder: Path, tmp_path: Path) -> None:
    """Wherever it leads."""
    (tmp_path / "elsewhere").mkdir()
    (folder / "outputs").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(OutputPathError):
        _write(workspace, "outputs/a.txt")

    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_folder_within_outputs_that_is_a_link_is_not_followed(workspace: Workspace, folder: Path) -> None:
    """Not even to another place within the run's own folder."""
    (folder / "outputs" / "real").mkdir(parents=True)
    (folder / "outputs" / "pages").symlink_to("real")

    with pytest.raises(OutputPathError):
        _write(workspace, "outputs/pages/1.png")

    assert list((folder / "outputs" / "real").iterdir()) == []


def test_a_link_in_an_outputs_place_is_replaced_and_not_written_through(
    workspace: Workspace, folder: Path, tmp_path: Path
) -> None:
    """A rename puts the file where the link was."""
    (tmp_path / "victim").write_bytes(b"kept")
    (folder / "outputs").mkdir()
    (folder / "outputs" / "a.txt").symlink_to(tmp_path / "victim")

    _write(workspace, "outputs/a.txt", b"mine")

    assert (tmp_path / "victim").read_bytes() == b"kept"
    assert (folder / "outputs" / "a.txt").read_bytes() == b"mine"
    assert not (folder / "outputs" / "a.txt").is_symlink()


def test_a_file_of_an_earlier_attempt_is_replaced(workspace: Workspace, folder: Path) -> None:
    """Also the half-written one of a killed process that had our process id."""
    (folder / "outputs").mkdir()
    (folder / "outputs" / "a.txt").write_bytes(b"old and longer")
    for number in range(3):
        (folder / "outputs" / f".{os.getpid()}-{number}.part").write_bytes(b"left over")

    _write(workspace, "outputs/a.txt", b"new")

    assert (folder / "outputs" / "a.txt").read_bytes() == b"new"


def test_a_file_where_a_folder_should_be_is_a_storage_error(workspace: Workspace) -> None:
    """One output cannot lie below another."""
    _write(workspace, "outputs/file")

    with pytest.raises(StorageError):
        _write(workspace, "outputs/file/below.txt")


def test_a_folder_where_a_file_should_be_is_a_storage_error(workspace: Workspace, folder: Path) -> None:
    """And nothing temporary is left."""
    _write(workspace, "outputs/file/below.txt")

    with pytest.raises(StorageError):
        _write(workspace, "outputs/file")

    assert _files(folder) == ["outputs/file/below.txt"]


def test_the_first_violation_is_kept(workspace: Workspace) -> None:
    """It is what the caller is told, whatever the handler does next."""
    with pytest.raises(OutputUndeclaredError):
        _write(workspace, "outputs/c.txt")
    with pytest.raises(OutputPathError):
        _write(workspace, "../x")

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
    monkeypatch.setattr(os, "write", _failing(os.write, errno.ENOSPC))
    with pytest.raises(StorageError), file:
        file.write(b"more")
    monkeypatch.undo()

    assert (_files(folder), workspace.rows) == ([], [])
    assert isinstance(workspace.violation, StorageError)


def test_a_disk_that_is_found_full_when_the_file_is_closed_is_a_storage_error(
    workspace: Workspace, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Network file systems and quotas say so only then."""
    close, failed = os.close, list[int]()

    def failing(fd: int) -> None:
        close(fd)
        if not failed:
            failed.append(fd)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    file = workspace.open_output("outputs/a.txt", None)
    file.write(b"some")
    monkeypatch.setattr(os, "close", failing)
    with pytest.raises(StorageError):
        file.commit()
    monkeypatch.undo()

    assert (_files(folder), workspace.rows) == ([], [])
    assert isinstance(workspace.violation, StorageError)


def test_a_short_write_is_continued(workspace: Workspace, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel may take less than it was given."""
    write = os.write
    with workspace.open_output("outputs/a.txt", None) as file:
        monkeypatch.setattr(os, "write", lambda fd, data: write(fd, bytes(data[:3])))
        assert file.write(b"0123456789") == 10
        monkeypatch.undo()

    assert (folder / "outputs" / "a.txt").read_bytes() == b"0123456789"


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_a_folder_that_cannot_be_made_is_a_storage_error(
    make: Make, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Read-only, not permitted, full, over quota, broken."""
    workspace = make()
    monkeypatch.setattr(os, "mkdir", _failing(os.mkdir, number))

    with pytest.raises(StorageError) as failure:
        workspace.make()

    assert failure.value.context == {"errno": number}
    assert not workspace.opened


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.ENOSPC])
def test_an_output_that_cannot_be_made_is_a_storage_error(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """The path is fine: the disk is not."""
    _write(workspace, "outputs/b.txt")
    monkeypatch.setattr(os, "open", _failing(os.open, number))

    with pytest.raises(StorageError):
        workspace.open_output("outputs/a.txt", None)
    monkeypatch.undo()


def test_a_rename_that_fails_is_a_storage_error(
    workspace: Workspace, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For outputs, and for the index and the receipt."""
    monkeypatch.setattr(os, "rename", _failing(os.rename, errno.EDQUOT))

    with pytest.raises(StorageError):
        _write(workspace, "outputs/a.txt")
    with pytest.raises(StorageError):
        workspace.write_file("receipt.json", b"{}")
    monkeypatch.undo()

    assert _files(folder) == []


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


# --- the folder and its lock


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
    _write(second, "outputs/a.txt")
    assert _files(folder) == ["outputs/a.txt"]
    assert [row["path"] for row in second.rows] == [f"{PREFIX}outputs/a.txt"]
    with pytest.raises(StorageError):
        _write(first, "outputs/b.txt")


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
    monkeypatch.setattr("fcntl.flock", _failing(lambda *_: None, number))
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
    _write(workspace, "outputs/a.txt")
    workspace.append_trace([b"{}\n"])

    assert failed == []


def test_folders_of_an_earlier_attempt_are_used_again(make: Make, folder: Path) -> None:
    """Each was made by somebody else, at the latest a moment ago."""
    for path in ("outputs", "logs"):
        (folder / path).mkdir(parents=True)
    workspace = make()
    workspace.make()

    _write(workspace, "outputs/a.txt")
    workspace.append_trace([b"{}\n"])

    assert _files(folder) == ["logs/trace.ndjson", "outputs/a.txt"]


def test_no_descriptor_is_left_open(make: Make) -> None:
    """A service runs for days."""
    before = len(os.listdir("/dev/fd"))  # noqa: PTH208 - only the count is wanted

    for _ in range(50):
        workspace = make()
        workspace.make()
        _write(workspace, "outputs/a.txt")
        _write(workspace, "outputs/pages/1.png")
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
    _write(workspace, "outputs/a.txt", b"12345")
    _write(workspace, "outputs/pages/1.png", b"123")
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
    _write(workspace, "outputs/a.txt", b"1")

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
    _write(workspace, "outputs/a.txt")

    workspace.forget()
    workspace.forget()

    assert _files(folder) == ["outputs/a.txt"]


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
    assert (_files(folder), workspace.rows) == (["receipt.json"], [])


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
    monkeypatch.setattr(os, "write", _failing(os.write, errno.ENOSPC))

    with pytest.raises(StorageError):
        workspace.write_file("receipt.json", b"new")
    monkeypatch.undo()

    assert _files(folder) == ["receipt.json"]
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

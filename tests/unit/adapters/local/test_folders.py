"""The folders of a run: there before it, owned by whom it runs as, and gone where nothing came of it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from apps.core.adapters.local.folders import (
    PROCESSOR_ID,
    Mount,
    User,
    expanded,
    inputs,
    own_folder,
    prefix_folder,
    tree,
)
from processor_runtime.errors import StorageError, WritePrefixError
from processor_runtime.prefix import Roots

PREFIX = "/artifacts/outputs/e1/"
PAYLOAD = {"execution_id": "e1", "write_prefix": "/artifacts/outputs/{execution_id}"}


@pytest.fixture
def roots(tmp_path: Path) -> Roots:
    """Return where containers may write, below a folder of the test's own."""
    return Roots.of("/artifacts", "/artifacts/inputs", str(tmp_path / "artifacts"))


def test_root_runs_nothing_as_root(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user runs it as that user; root as the user of our images."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert str(User.here()) == f"{PROCESSOR_ID}:{PROCESSOR_ID}"

    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(os, "getegid", lambda: 100)
    assert str(User.here()) == "1000:100"


def test_the_folder_of_a_run_is_made_for_its_user(roots: Roots) -> None:
    """With its parents."""
    user = User.here()

    with prefix_folder(PREFIX, roots, user) as folder:
        assert str(folder) == roots.host(PREFIX).rstrip("/")
        for path in (folder, folder.parent):
            assert (path.stat().st_uid, path.stat().st_gid) == (user.uid, user.gid)
        (folder / "receipt.json").write_text("{}", encoding="utf-8")

    assert (folder / "receipt.json").exists()


def test_one_in_which_nothing_was_written_is_removed(roots: Roots) -> None:
    """A refusal is no run; also where it was raised. One that was there before stays."""
    with prefix_folder(PREFIX, roots, User.here()) as folder:
        pass
    assert not folder.exists()

    with pytest.raises(LookupError), prefix_folder(PREFIX, roots, User.here()):
        raise LookupError
    assert not folder.exists()

    folder.mkdir()
    with prefix_folder(PREFIX, roots, User.here()):
        pass
    assert folder.exists()


def test_a_folder_that_cannot_be_made_is_err_storage(roots: Roots, tmp_path: Path) -> None:
    """The detail names it."""
    (tmp_path / "artifacts").write_text("a file", encoding="utf-8")

    with pytest.raises(StorageError) as refused, prefix_folder(PREFIX, roots, User.here()):
        raise AssertionError("it was made")

    assert "artifacts" in refused.value.details[0]["path"]


def test_where_the_user_may_make_a_folder_nobody_else_does(roots: Roots) -> None:
    """A warm container sees the whole tree, whose folders are its user's."""
    folder = Path(roots.host(PREFIX))
    tree(folder.parents[1], User.here())

    with own_folder(PAYLOAD, roots, User.here()):
        assert not folder.exists()

    folder.parent.rmdir()
    with own_folder(PAYLOAD, roots, User.here()):
        assert not folder.parent.exists()


def test_where_the_user_may_not_the_folder_is_made_for_it(roots: Roots) -> None:
    """It may have been made by hand, or for another user."""
    folder, user = Path(roots.host(PREFIX)), User.here()
    tree(folder.parents[1], user)
    folder.parent.chmod(0o500 if os.geteuid() == 0 else 0o700)

    with own_folder(PAYLOAD, roots, user if os.geteuid() == 0 else User(user.uid + 1, user.gid)):
        status = folder.stat()
        assert (status.st_uid, status.st_gid) == (user.uid, user.gid)


def test_what_is_no_folder_is_nobodys_to_write_in(roots: Roots) -> None:
    """It cannot be made either."""
    folder, user = Path(roots.host(PREFIX)), User.here()
    tree(folder.parents[1], user)
    folder.write_text("a file", encoding="utf-8")
    if os.geteuid() == 0:
        os.chown(folder, user.uid, user.gid)

    with pytest.raises(StorageError), own_folder(PAYLOAD, roots, user):
        raise AssertionError("it is a file")


def test_a_prefix_elsewhere_is_refused(roots: Roots, tmp_path: Path) -> None:
    """What is carried to a container is `/artifacts` alone, links resolved."""
    assert expanded(PAYLOAD, roots) == PREFIX

    with pytest.raises(WritePrefixError):
        expanded({**PAYLOAD, "write_prefix": "/tmp/x/"}, roots)
    with pytest.raises(WritePrefixError), own_folder({**PAYLOAD, "write_prefix": "/tmp/x/"}, roots, User.here()):
        raise AssertionError("it is elsewhere")
    (tmp_path / "artifacts").mkdir()
    (tmp_path / "artifacts" / "outputs").symlink_to(tmp_path)
    with pytest.raises(WritePrefixError):
        expanded(PAYLOAD, roots)
    with pytest.raises(WritePrefixError), own_folder(PAYLOAD, roots, User(os.geteuid() + 1, os.getegid())):
        raise AssertionError("it is elsewhere")


def test_inputs_are_mounted_read_only_where_there_are_any(tmp_path: Path) -> None:
    """A warm container, to which they come later, always has them."""
    assert inputs(tmp_path) == []

    (tmp_path / "inputs").mkdir()

    assert inputs(tmp_path) == [Mount(f"{tmp_path}/inputs", "/artifacts/inputs", read_only=True)]
    assert tree(tmp_path / "new", User.here()) == [
        Mount(f"{tmp_path}/new", "/artifacts"),
        Mount(f"{tmp_path}/new/inputs", "/artifacts/inputs", read_only=True),
    ]

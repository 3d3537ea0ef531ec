"""Attachments are stored by content, and named in the params by reference."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.core.artifacts import AttachmentError, attached, check_attachments, store
from processor_runtime.artifacts import open_reference
from processor_runtime.errors import ArtifactNotUsableError, StorageError
from processor_runtime.prefix import Roots


@pytest.fixture
def page(tmp_path: Path) -> Path:
    """Return a local file."""
    path = tmp_path / "my page.png"
    path.write_bytes(b"a page")
    return path


SHA256 = hashlib.sha256(b"a page").hexdigest()


def inputs(roots: Roots) -> Path:
    """Return the folder that stands for `/artifacts/inputs`."""
    return Path(roots.host("/artifacts/inputs"))


# --- storing


def test_a_file_is_stored_by_its_content_under_the_name_it_was_attached_by(page: Path, roots: Roots) -> None:
    """The local name is nobody's business; the runtime takes the reference."""
    references = store({"scan.png": page}, roots)

    assert references == {"scan.png": {"$artifact": f"/artifacts/inputs/{SHA256}/scan.png", "sha256": SHA256}}
    artifact = open_reference(dict(references["scan.png"]), "/inputs/params", roots)
    assert artifact.read_bytes() == b"a page"
    artifact.close()


def test_the_same_content_is_stored_once(page: Path, roots: Roots) -> None:
    """A second run finds it there, and leaves it alone."""
    store({"scan": page}, roots)
    before = (inputs(roots) / SHA256 / "scan").stat()

    store({"scan": page}, roots)

    after = (inputs(roots) / SHA256 / "scan").stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)
    assert sorted(path.name for path in inputs(roots).iterdir()) == [SHA256]


@pytest.mark.parametrize("damage", ["changed", "a link"])
def test_a_stored_file_that_is_not_what_its_name_says_is_replaced(page: Path, roots: Roots, damage: str) -> None:
    """Somebody touched it: the next run does not suffer for it."""
    store({"scan": page}, roots)
    stored = inputs(roots) / SHA256 / "scan"
    if damage == "changed":
        stored.write_bytes(b"another page")
    else:
        stored.unlink()
        stored.symlink_to(page)

    store({"scan": page}, roots)

    assert not stored.is_symlink()
    assert stored.read_bytes() == b"a page"


def test_others_may_read_what_is_stored(page: Path, roots: Roots) -> None:
    """A container reads it as another user, whatever the local file and this process's umask allow."""
    page.chmod(0o600)
    before = os.umask(0o077)
    try:
        store({"scan": page}, roots)
    finally:
        os.umask(before)

    assert (inputs(roots) / SHA256 / "scan").stat().st_mode & 0o777 == 0o644
    assert (inputs(roots) / SHA256).stat().st_mode & 0o777 == 0o755
    assert inputs(roots).stat().st_mode & 0o777 == 0o755


def test_a_link_to_a_file_is_that_file(page: Path, roots: Roots, tmp_path: Path) -> None:
    """The caller named it: it is the caller's to follow."""
    link = tmp_path / "link"
    link.symlink_to(page)

    assert store({"scan": link}, roots)["scan"]["sha256"] == SHA256


@pytest.mark.parametrize(
    ("kind", "rule"),
    [
        ("absent", "no such file"),
        ("folder", "must be a regular file"),
        ("fifo", "must be a regular file"),
        ("nul", "no such file"),
    ],
)
def test_what_is_no_readable_file_is_refused(tmp_path: Path, roots: Roots, kind: str, rule: str) -> None:
    """The error is the contract's, names the attachment and not its path, and nothing is stored."""
    path = tmp_path / "canary"
    if kind == "folder":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "nul":
        path = Path("canary\0")

    with pytest.raises(ArtifactNotUsableError) as refused:
        store({"scan": path}, roots)

    assert (refused.value.code, refused.value.text) == ("ERR_INPUTS", "artifact not usable")
    assert refused.value.details == ({"path": "--attach scan", "message": rule},)
    assert not inputs(roots).exists()


def test_an_artifacts_folder_that_cannot_be_written_is_a_matter_of_storage(page: Path, roots: Roots) -> None:
    """A file stands where the folder should be: no user may write there, root neither."""
    inputs(roots).parent.mkdir(parents=True)
    inputs(roots).write_bytes(b"")

    with pytest.raises(StorageError):
        store({"scan": page}, roots)


# --- naming


def test_uses_are_replaced_wherever_they_stand() -> None:
    """In lists and objects, more than once; what only looks like one stays, and so does the caller's value."""
    references = {"a": {"$artifact": "/artifacts/inputs/0/a", "sha256": "0"}}
    params = {"x": [{"$attach": "a"}, 1, {"y": {"$attach": "a"}}], "z": {"$attach": "a", "more": 1}, "$attach": "a"}

    replaced = attached(params, references)

    assert replaced == {
        "x": [references["a"], 1, {"y": references["a"]}],
        "z": {"$attach": "a", "more": 1},
        "$attach": "a",
    }
    assert params["x"] == [{"$attach": "a"}, 1, {"y": {"$attach": "a"}}]


def test_attachments_that_are_all_used_are_accepted() -> None:
    """Each name at least once."""
    check_attachments({"x": [{"$attach": "a"}, {"$attach": "b.png"}, {"$attach": "a"}]}, ["a", "b.png"])
    check_attachments({"x": 1}, [])
    check_attachments(None, [])


@pytest.mark.parametrize(
    ("params", "names", "words"),
    [
        pytest.param({"x": {"$attach": "a"}}, [], 'use {"$attach": "a"}, and nothing is attached', id="unknown"),
        pytest.param({"x": 1}, ["a"], "a is attached, and the params do not use", id="not used"),
        pytest.param({"x": {"$attach": "a", "y": 1}}, ["a"], "do not use", id="used in a larger object"),
        pytest.param({"x": {"$attach": 1}}, ["a"], "do not use", id="used by a number"),
        pytest.param({"x": {"$attach": "../a"}}, ["../a"], "not '../a'", id="a name that would leave the folder"),
        pytest.param({"x": {"$attach": ".a"}}, [".a"], "not '.a'", id="a hidden name"),
        pytest.param({"x": {"$attach": ""}}, [""], "not ''", id="an empty name"),
    ],
)
def test_attachments_that_do_not_fit_the_params_are_wrong_usage(params: Any, names: list[str], words: str) -> None:
    """Nothing is stored for a request that cannot be meant."""
    with pytest.raises(AttachmentError, match=words.replace("$", r"\$").replace("{", r"\{")):
        check_attachments(params, names)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(JSON)
def test_params_without_attachments_stay_as_they_are(params: Any) -> None:
    """Replacing nothing changes nothing."""
    try:
        check_attachments(params, [])
    except AttachmentError:
        return
    assert attached(params, {}) == params

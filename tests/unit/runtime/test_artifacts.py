"""A file reference opens the one file that has its hash, below the read roots, or is refused by its rule."""

from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from processor_runtime.artifacts import Artifact, find_references, open_reference
from processor_runtime.errors import ArtifactNotUsableError
from processor_runtime.prefix import Roots
from tests.unit.runtime.json_values import values

CONTENT = b"what was sent\n" * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
POINTER = "/inputs/params/document"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return the host folder of `/artifacts/inputs`, with one good file in it."""
    inputs = tmp_path / "artifacts" / "inputs"
    inputs.mkdir(parents=True)
    (inputs / "page.png").write_bytes(CONTENT)
    return inputs


@pytest.fixture
def roots(folder: Path) -> Roots:
    """Return roots by which `/artifacts` is in the test's own folder."""
    return Roots.of("/artifacts", "/artifacts/inputs", str(folder.parent))


def _reference(path: object = "/artifacts/inputs/page.png", sha256: object = SHA256) -> dict[str, Any]:
    return {"$artifact": path, "sha256": sha256}


def _refused(reference: dict[str, Any], roots: Roots, refresh: Callable[[], None] | None = None) -> str:
    """Return the rule by which *reference* is refused."""
    with pytest.raises(ArtifactNotUsableError) as refusal:
        open_reference(reference, POINTER, roots, refresh)
    (detail,) = refusal.value.details
    assert detail["path"] == POINTER
    return detail["message"]


# --- opened


def test_a_reference_opens_its_file(roots: Roots) -> None:
    """With its name, size, hash and logical path; not where it lies on this machine."""
    artifact = open_reference(_reference(), POINTER, roots)

    assert (artifact.name, artifact.path) == ("page.png", "/artifacts/inputs/page.png")
    assert (artifact.sha256, artifact.size_bytes) == (SHA256, len(CONTENT))
    assert artifact.read_bytes() == CONTENT
    assert str(roots.artifacts_dir) not in repr(artifact)
    artifact.close()


def test_a_file_is_read_from_its_start_each_time_and_by_several_readers(roots: Roots) -> None:
    """Each reader has a position of its own."""
    artifact = open_reference(_reference(), POINTER, roots)

    with artifact.open() as first, artifact.open() as second:
        assert first.read(7) == second.read(7) == CONTENT[:7]
        assert first.read() == second.read() == CONTENT[7:]
    assert artifact.read_bytes() == CONTENT
    artifact.close()


def test_an_empty_file_is_a_file(folder: Path, roots: Roots) -> None:
    """Its hash is that of nothing."""
    (folder / "empty").touch()

    artifact = open_reference(_reference("/artifacts/inputs/empty", hashlib.sha256().hexdigest()), POINTER, roots)

    assert (artifact.size_bytes, artifact.read_bytes()) == (0, b"")
    artifact.close()


def test_a_file_larger_than_one_chunk_is_hashed_whole(folder: Path, roots: Roots) -> None:
    """3 MiB and a bit."""
    content = os.urandom(3 * 1024 * 1024 + 17)
    (folder / "large").write_bytes(content)

    artifact = open_reference(
        _reference("/artifacts/inputs/large", hashlib.sha256(content).hexdigest()), POINTER, roots
    )

    assert artifact.read_bytes() == content
    artifact.close()


def test_what_was_hashed_is_read_even_if_the_path_is_replaced_afterwards(folder: Path, roots: Roots) -> None:
    """By another file, by a link, or by nothing."""
    artifact = open_reference(_reference(), POINTER, roots)

    (folder / "other").write_bytes(b"swapped")
    (folder / "other").rename(folder / "page.png")
    assert artifact.read_bytes() == CONTENT
    (folder / "page.png").unlink()
    (folder / "page.png").symlink_to("/etc/passwd")
    assert artifact.read_bytes() == CONTENT
    artifact.close()


def test_a_link_that_stays_inside_is_followed(folder: Path, roots: Roots) -> None:
    """To a file, and through a folder."""
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "deep" / "er" / "page.png").write_bytes(CONTENT)
    (folder / "link").symlink_to("page.png")
    (folder / "folder").symlink_to(folder / "deep" / "er")

    for path in ("link", "folder/page.png"):
        artifact = open_reference(_reference(f"/artifacts/inputs/{path}"), POINTER, roots)
        assert artifact.read_bytes() == CONTENT
        artifact.close()


def test_another_read_root_stands_for_itself(tmp_path: Path) -> None:
    """As `PROCESSOR_READ_ROOTS` names it."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "x").write_bytes(CONTENT)
    roots = Roots.of("/artifacts", f"/artifacts/inputs:{tmp_path}/data", "/artifacts")

    artifact = open_reference(_reference(f"{tmp_path}/data/x"), POINTER, roots)

    assert artifact.read_bytes() == CONTENT
    artifact.close()


def test_closing_twice_closes_once(roots: Roots) -> None:
    """A second close of the same number could close somebody else's file."""
    artifact = open_reference(_reference(), POINTER, roots)
    artifact.close()
    with socket.socket() as somebody:
        artifact.close()
        assert somebody.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE) == socket.SOCK_STREAM


# --- refused


def test_another_hash_is_refused(roots: Roots) -> None:
    """The file is there, and is not the one that was meant."""
    assert _refused(_reference(sha256="0" * 64), roots) == "has another sha256"


@pytest.mark.parametrize(
    "reference",
    [
        _reference(path=None),
        _reference(path=7),
        _reference(path=["/artifacts/inputs/page.png"]),
        _reference(sha256=None),
        _reference(sha256=7),
        _reference(sha256=""),
        _reference(sha256=SHA256[:-1]),
        _reference(sha256=SHA256 + "0"),
        _reference(sha256=SHA256.upper()),
        _reference(sha256="sha256:" + SHA256),
        _reference(sha256="g" * 64),
        _reference(sha256=SHA256 + "\n"),
    ],
)
def test_a_reference_of_another_shape_is_refused(reference: dict[str, Any], roots: Roots) -> None:
    """It has both keys, and so it is meant as one."""
    assert "absolute path" in _refused(reference, roots)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "page.png",
        "artifacts/inputs/page.png",
        "/artifacts/inputs/../inputs/page.png",
        "/artifacts/inputs/./page.png",
        "/artifacts//inputs/page.png",
        "/artifacts/inputs/page.png/",
        "//artifacts/inputs/page.png",
    ],
)
def test_a_path_that_is_not_plain_and_absolute_is_refused(path: str, roots: Roots) -> None:
    """One file has one name."""
    assert "absolute path" in _refused(_reference(path), roots)


@pytest.mark.parametrize("path", ["/etc/passwd", "/artifacts/outputs/page.png", "/artifacts/inputs2/page.png"])
def test_a_file_outside_the_read_roots_is_refused(path: str, folder: Path, roots: Roots) -> None:
    """Even if it has the hash that was sent."""
    for other in ("outputs", "inputs2"):
        (folder.parent / other).mkdir()
        (folder.parent / other / "page.png").write_bytes(CONTENT)

    assert _refused(_reference(path), roots) == "must lie below /artifacts/inputs"


def test_a_root_itself_is_refused(roots: Roots) -> None:
    """It is not below itself, and no file."""
    _refused(_reference("/artifacts/inputs"), roots)


@pytest.mark.parametrize("target", ["/etc/passwd", "../outputs/page.png", "../inputs2/page.png"])
def test_a_link_that_leaves_its_root_is_refused(target: str, folder: Path, roots: Roots) -> None:
    """As a file and as a folder on the way."""
    for other in ("outputs", "inputs2"):
        (folder.parent / other).mkdir()
        (folder.parent / other / "page.png").write_bytes(CONTENT)
    (folder / "link").symlink_to(target)
    (folder / "folder").symlink_to(os.path.dirname(target))  # noqa: PTH120 - a link's text, not a path

    assert _refused(_reference("/artifacts/inputs/link"), roots) == "must lie below /artifacts/inputs"
    name = os.path.basename(target)  # noqa: PTH119 - the same
    assert _refused(_reference(f"/artifacts/inputs/folder/{name}"), roots) == "must lie below /artifacts/inputs"


def test_a_fifo_is_refused_at_once(folder: Path, roots: Roots) -> None:
    """Opening one waits for its writer, for ever."""
    os.mkfifo(folder / "fifo")

    assert _refused(_reference("/artifacts/inputs/fifo"), roots) == "must be a regular file"


def test_a_directory_is_refused(folder: Path, roots: Roots) -> None:
    """It has no content to hash."""
    (folder / "sub").mkdir()

    assert _refused(_reference("/artifacts/inputs/sub"), roots) == "must be a regular file"


@pytest.mark.parametrize(
    "path",
    [
        pytest.param("page.png/x", id="below a file"),
        pytest.param("loop", id="a loop of links"),
        pytest.param("x" * 300, id="a name that is too long"),
        pytest.param("a\0b", id="NUL"),
        pytest.param("socket", id="a socket"),
    ],
)
def test_a_path_that_cannot_be_opened_is_refused(
    path: str, folder: Path, roots: Roots, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the file system says, the answer is the same code."""
    (folder / "loop").symlink_to("loop")
    monkeypatch.chdir(folder)  # the address of a socket has room for 107 bytes
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind("socket")

    _refused(_reference(f"/artifacts/inputs/{path}"), roots)


def test_a_refused_file_is_not_left_open(folder: Path, roots: Roots) -> None:
    """A service that answers refusals for days must not run out of descriptors."""
    (folder / "sub").mkdir()
    references = [_reference(sha256="0" * 64), _reference("/artifacts/inputs/sub"), _reference("/etc/passwd")]
    before = len(os.listdir("/dev/fd"))  # noqa: PTH208 - only the count is wanted

    for reference in references * 50:
        _refused(reference, roots)

    assert len(os.listdir("/dev/fd")) < before + 50  # noqa: PTH208 - other threads may open a few


# --- not there yet


def test_an_absent_file_is_refused(roots: Roots) -> None:
    """Without a way to look again."""
    assert _refused(_reference("/artifacts/inputs/none"), roots) == "no such file"


def test_an_absent_file_is_looked_for_once_more_after_a_refresh(folder: Path, roots: Roots) -> None:
    """Another machine may have written it."""
    calls: list[None] = []

    def refresh() -> None:
        calls.append(None)
        (folder / "late.png").write_bytes(CONTENT)

    artifact = open_reference(_reference("/artifacts/inputs/late.png"), POINTER, roots, refresh)

    assert artifact.read_bytes() == CONTENT
    assert len(calls) == 1
    artifact.close()


def test_a_file_that_a_refresh_does_not_bring_is_refused(roots: Roots) -> None:
    """It is asked for once, not for ever."""
    calls: list[None] = []

    assert _refused(_reference("/artifacts/inputs/none"), roots, lambda: calls.append(None)) == "no such file"
    assert len(calls) == 1


def test_a_file_that_is_there_needs_no_refresh(roots: Roots) -> None:
    """It costs a round trip."""
    calls: list[None] = []

    open_reference(_reference(), POINTER, roots, lambda: calls.append(None)).close()

    assert calls == []


# --- found among the inputs


class _Found:
    """Collects what is found, and replaces it by itself."""

    def __init__(self) -> None:
        self.calls: list[tuple[dict[str, Any], str]] = []

    def __call__(self, reference: dict[str, Any], pointer: str) -> Artifact:
        self.calls.append((reference, pointer))
        return Artifact(-1, str(reference["$artifact"]), "", 0)


def test_references_are_found_at_any_depth_and_named_by_pointer() -> None:
    """RFC 6901: `~` and `/` in keys are escaped."""
    one, two, three = _reference("/1"), _reference("/2"), _reference("/3")
    found = _Found()

    value = find_references({"a": one, "b": [0, {"c/d~e": [two]}], "": three, "z": 1}, "/inputs/params", found)

    assert [pointer for _, pointer in found.calls] == [
        "/inputs/params/a", "/inputs/params/b/1/c~1d~0e/0", "/inputs/params/",
    ]  # fmt: skip
    assert (value["a"].path, value["b"][1]["c/d~e"][0].path, value[""].path) == ("/1", "/2", "/3")
    assert (value["b"][0], value["z"]) == (0, 1)


@pytest.mark.parametrize(
    "value",
    [
        {"$artifact": "/artifacts/inputs/page.png"},
        {"sha256": SHA256},
        {"$artifact": "/artifacts/inputs/page.png", "sha256": SHA256, "mime": "image/png"},
        {"artifact": "/artifacts/inputs/page.png", "sha256": SHA256},
        ["$artifact", "sha256"],
        {"$artifact/sha256": {}},
    ],
)
def test_an_object_with_other_keys_is_left_alone(value: Any) -> None:
    """Exactly the two keys make a reference."""
    found = _Found()

    assert find_references({"x": value}, "", found) == {"x": value}
    assert found.calls == []


@settings(max_examples=40)
@given(values)
def test_what_holds_no_reference_is_not_copied(value: Any) -> None:
    """The same object comes back, whatever its size."""
    assert find_references(value, "", _Found()) is value


def test_what_was_sent_is_not_changed() -> None:
    """`run.inputs` and the hash of the inputs keep the references."""
    params = {"a": [{"b": _reference()}], "c": {"d": 1}}

    replaced = find_references(params, "", _Found())

    assert params == {"a": [{"b": _reference()}], "c": {"d": 1}}
    assert replaced["c"] is params["c"]
    assert isinstance(replaced["a"][0]["b"], Artifact)


def test_a_pointer_in_a_detail_has_an_end(roots: Roots) -> None:
    """A key may be a megabyte."""
    with pytest.raises(ArtifactNotUsableError) as refusal:
        open_reference(_reference("/nowhere"), "/" + "x" * 5000, roots)

    assert len(refusal.value.details[0]["path"]) <= 256

"""A write prefix is taken or refused by the rules of CONTRACT section 2, as text and with links resolved."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor_runtime.errors import WritePrefixError
from processor_runtime.prefix import Place, Roots, expand

EXPANSIONS = [
    pytest.param("/artifacts/outputs/{execution_id}/", "/artifacts/outputs/e1/", id="the usual one"),
    pytest.param("/artifacts/outputs/{execution_id}", "/artifacts/outputs/e1/", id="a missing slash is added"),
    pytest.param("/tmp/{execution_id}/x/{execution_id}-2/", "/tmp/e1/x/e1-2/", id="every placeholder is expanded"),
    pytest.param("/tmp/fixed/", "/tmp/fixed/", id="no placeholder at all"),
    pytest.param("/tmp/.../", "/tmp/.../", id="three dots are a name"),
    pytest.param("/tmp/..a/b../.c/", "/tmp/..a/b../.c/", id="dots within names"),
    pytest.param("/tmp/a b:c*?~$'\"/", "/tmp/a b:c*?~$'\"/", id="what only a shell minds"),
    pytest.param("/tmp/é/\U0001f600/\u200b/", "/tmp/é/\U0001f600/\u200b/", id="any script"),
    pytest.param("/tmp/\xa0/", "/tmp/\xa0/", id="the first character after C1"),
]
REFUSALS = [
    pytest.param("artifacts/outputs/", "absolute", id="relative"),
    pytest.param("./tmp/", "absolute", id="relative to here"),
    pytest.param("{execution_id}/", "absolute", id="relative by expansion"),
    pytest.param("/tmp/{id}/", "braces", id="another placeholder"),
    pytest.param("/tmp/{execution_id/", "braces", id="an opening brace"),
    pytest.param("/tmp/execution_id}/", "braces", id="a closing brace"),
    pytest.param("/tmp/{{execution_id}}/", "braces", id="doubled braces"),
    pytest.param("/tmp/{Execution_id}/", "braces", id="a placeholder in another case"),
    pytest.param("/tmp//a/", "segments", id="an empty segment"),
    pytest.param("//tmp/a/", "segments", id="an empty segment first"),
    pytest.param("/tmp/a//", "segments", id="an empty segment last"),
    pytest.param("/tmp/./a/", "segments", id="a dot"),
    pytest.param("/tmp/a/.", "segments", id="a dot last"),
    pytest.param("/tmp/../etc/", "segments", id="two dots"),
    pytest.param("/tmp/a/..", "segments", id="two dots last"),
    pytest.param("/tmp/a\\b/", "backslashes", id="a backslash"),
    pytest.param("/tmp/\0/", "control", id="NUL"),
    pytest.param("/tmp/a\n/", "control", id="a line break"),
    pytest.param("/tmp/a\n", "control", id="a line break at the end"),
    pytest.param("/tmp/\x1f/", "control", id="the last of C0"),
    pytest.param("/tmp/\x7f/", "control", id="DEL"),
    pytest.param("/tmp/\x80/", "control", id="the first of C1"),
    pytest.param("/tmp/\x9f/", "control", id="the last of C1"),
    pytest.param("/tmp/\ud800/", "UTF-8", id="a lone surrogate"),
]
BELOW_A_ROOT = [
    "/artifacts/e1/",
    "/artifacts/outputs/e1/",
    "/artifacts/inputs2/e1/",
    "/tmp/e1/",
    "/artifacts/INPUTS/e1/",
]
NOT_BELOW_A_ROOT = ["/", "/artifacts/", "/tmp/", "/artifacts2/e1/", "/tmpx/e1/", "/etc/e1/", "/var/tmp/e1/"]


def _of(length: int, segment: int = 100) -> str:
    """Return an absolute prefix of *length* ASCII characters, its trailing slash included."""
    text = ""
    while len(text) < length - segment - 2:
        text += "/" + "x" * segment
    return text + "/" + "y" * (length - len(text) - 2) + "/"


@pytest.mark.parametrize(("text", "prefix"), EXPANSIONS)
def test_a_prefix_is_expanded(text: str, prefix: str) -> None:
    """Each placeholder becomes the execution id, and the result ends in a slash."""
    assert expand(text, "e1") == prefix


@pytest.mark.parametrize(("text", "rule"), REFUSALS)
def test_a_malformed_prefix_is_refused_by_its_rule(text: str, rule: str) -> None:
    """The detail names the rule and the field, and never the value."""
    with pytest.raises(WritePrefixError) as refusal:
        expand(text, "e1")

    (detail,) = refusal.value.details
    assert detail["path"] == "/write_prefix"
    assert rule in detail["message"]


def test_1024_bytes_are_accepted_and_1025_are_not() -> None:
    """Expanded, and with the trailing slash, whether or not it was sent."""
    assert len(expand(_of(1024), "e1")) == 1024
    assert len(expand(_of(1024)[:-1], "e1")) == 1024
    assert len(expand(_of(1022) + "{execution_id}", "e")) == 1024

    for text in (_of(1025), _of(1025)[:-1], _of(1022) + "{execution_id}"):
        with pytest.raises(WritePrefixError, match="not allowed") as refusal:
            expand(text, "ee")
        assert "1024" in refusal.value.details[0]["message"]


def test_it_is_bytes_that_count_and_not_characters() -> None:
    """Three bytes each: 341 characters of it are 1023 bytes."""
    fits = "/" + "/".join(["€" * 84] * 4) + "/"
    fits += "x" * (1023 - len(fits.encode())) + "/"

    assert len(expand(fits, "e1").encode()) == 1024
    assert len(fits) < 400
    with pytest.raises(WritePrefixError):
        expand("/x" + fits[1:], "e1")


@pytest.mark.parametrize("letter", ["x", "é", "€", "\U0001f600"])
def test_a_segment_has_at_most_255_bytes(letter: str) -> None:
    """As file systems count a name."""
    size = len(letter.encode())
    segment = letter * (255 // size) + "x" * (255 % size)

    assert expand(f"/tmp/{segment}/a/", "e1") == f"/tmp/{segment}/a/"
    for text in (f"/tmp/{segment}x/a/", f"/tmp/a/{segment}x"):
        with pytest.raises(WritePrefixError) as refusal:
            expand(text, "e1")
        assert "255" in refusal.value.details[0]["message"]


def test_a_segment_is_measured_after_expansion() -> None:
    """The placeholder itself has 14 bytes, an execution id up to 128."""
    expand("/tmp/" + "x" * 127 + "{execution_id}/", "e" * 128)

    with pytest.raises(WritePrefixError):
        expand("/tmp/" + "x" * 128 + "{execution_id}/", "e" * 128)


@given(st.text(max_size=30).map("/tmp/".__add__))
def test_what_is_accepted_keeps_every_rule(text: str) -> None:
    """Said a second time, in other words than the code's."""
    try:
        prefix = expand(text, "e1")
    except WritePrefixError:
        return
    *segments, last = prefix.split("/")[1:]
    assert last == ""
    assert not {"", ".", ".."} & set(segments)
    assert not any(ord(char) < 32 or 127 <= ord(char) < 160 or char in "{}\\" for char in prefix)


# --- below the roots


@pytest.mark.parametrize("prefix", BELOW_A_ROOT)
def test_a_prefix_below_a_root_is_accepted(prefix: str) -> None:
    """Names that only begin like a forbidden one are their own."""
    Roots.of("/artifacts:/tmp", "/artifacts/inputs", "/artifacts").check_write_lexically(prefix)


@pytest.mark.parametrize("prefix", NOT_BELOW_A_ROOT)
def test_a_prefix_that_is_not_strictly_below_a_root_is_refused(prefix: str) -> None:
    """A root itself is not below itself."""
    with pytest.raises(WritePrefixError) as refusal:
        Roots.of("/artifacts:/tmp", "/artifacts/inputs", "/artifacts").check_write(prefix)

    assert refusal.value.details[0]["message"] == "must lie below /artifacts or /tmp"


@pytest.mark.parametrize("prefix", ["/artifacts/inputs/", "/artifacts/inputs/e1/", "/artifacts/inputs/a/b/"])
def test_nothing_is_written_among_the_inputs(prefix: str, tmp_path: Path) -> None:
    """Not by the text, and whether or not the folder is there."""
    roots = Roots.of("/artifacts", "/artifacts/inputs", str(tmp_path))

    for check in (roots.check_write, roots.check_write_lexically):
        with pytest.raises(WritePrefixError) as refusal:
            check(prefix)
        assert "inputs" in refusal.value.details[0]["message"]


def test_artifacts_stand_for_the_artifacts_folder(tmp_path: Path) -> None:
    """And no other root does, nor a name that begins alike."""
    roots = Roots.of("/artifacts:/tmp", "/artifacts/inputs", f"{tmp_path}/")

    assert roots.host("/artifacts") == str(tmp_path)
    assert roots.host("/artifacts/outputs/e1/") == f"{tmp_path}/outputs/e1/"
    assert roots.host("/tmp/e1/") == "/tmp/e1/"
    assert roots.host("/artifacts2/e1/") == "/artifacts2/e1/"


def test_a_root_may_be_written_with_a_slash(tmp_path: Path) -> None:
    """It is the same folder."""
    roots = Roots.of(f"{tmp_path}/:/artifacts/", "/artifacts/inputs/", "/artifacts/")

    assert roots == Roots.of(f"{tmp_path}:/artifacts", "/artifacts/inputs", "/artifacts")


def test_links_inside_a_root_may_be_followed(tmp_path: Path) -> None:
    """What counts is where they lead."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")

    Roots.of(str(tmp_path), "/artifacts/inputs", "/artifacts").check_write(f"{tmp_path}/link/e1/")


def test_a_root_may_itself_be_a_link(tmp_path: Path) -> None:
    """On macOS `/tmp` is one. What lies below it lies below its target."""
    (tmp_path / "real").mkdir()
    (tmp_path / "root").symlink_to("real")
    roots = Roots.of(f"{tmp_path}/root", "/artifacts/inputs", "/artifacts")

    found = roots.check_write(f"{tmp_path}/root/e1/")

    prefix = f"{tmp_path}/root/e1/"
    assert found == roots.followed(prefix) == Place(prefix, f"{tmp_path}/real/", ("e1",), roots)


@pytest.mark.parametrize("prefix", ["new/e1", "there/e1", "there", "link/e1", "link/new/e1", "file/e1", "file"])
def test_a_place_is_where_the_system_finds_it(tmp_path: Path, prefix: str) -> None:
    """Through directories, links and what is not there yet."""
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to("there")
    (tmp_path / "file").touch()

    found = Roots.of(str(tmp_path), "/artifacts/inputs", "/artifacts").check_write(f"{tmp_path}/{prefix}/")

    assert found.root + "/".join(found.names) == os.path.realpath(tmp_path / prefix)


def test_a_link_that_leaves_its_root_is_refused(tmp_path: Path) -> None:
    """Into another folder, or onto the root itself, which is not strictly below."""
    (tmp_path / "root").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "root" / "out").symlink_to("../elsewhere")
    (tmp_path / "root" / "self").symlink_to(".")
    (tmp_path / "root" / "loop").symlink_to("loop")
    roots = Roots.of(f"{tmp_path}/root", "/artifacts/inputs", "/artifacts")

    for prefix in ("out/", "out/e1/", "self/"):
        with pytest.raises(WritePrefixError) as refusal:
            roots.check_write(f"{tmp_path}/root/{prefix}")
        assert "link" in refusal.value.details[0]["message"]


def test_a_link_into_another_root_is_accepted(tmp_path: Path) -> None:
    """Both may be written."""
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    (tmp_path / "one" / "out").symlink_to("../two")

    Roots.of(f"{tmp_path}/one:{tmp_path}/two", "/artifacts/inputs", "/artifacts").check_write(f"{tmp_path}/one/out/e1/")


def test_a_link_into_the_inputs_is_refused(tmp_path: Path) -> None:
    """Under any name, from any root."""
    (tmp_path / "artifacts" / "inputs").mkdir(parents=True)
    (tmp_path / "artifacts" / "sly").symlink_to("inputs")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "sly").symlink_to("../artifacts/inputs")
    roots = Roots.of(f"/artifacts:{tmp_path}/other", "/artifacts/inputs", f"{tmp_path}/artifacts")

    for prefix in ("/artifacts/sly/", "/artifacts/sly/e1/", f"{tmp_path}/other/sly/e1/"):
        with pytest.raises(WritePrefixError) as refusal:
            roots.check_write(prefix)
        assert "inputs" in refusal.value.details[0]["message"]


def test_no_directory_is_made_by_checking(tmp_path: Path) -> None:
    """What is refused, or only looked at, leaves nothing behind."""
    Roots.of("/artifacts", "/artifacts/inputs", str(tmp_path)).check_write("/artifacts/outputs/e1/")

    assert list(tmp_path.iterdir()) == []

"""Refs and digests: text becomes a value once, and only text that is one."""

from __future__ import annotations

import contextlib
from dataclasses import FrozenInstanceError

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor_runtime.values import Digest, DigestError, Ref, RefError

HEX = "0123456789abcdef" * 4

namespaces = st.from_regex(r"[a-z][a-z0-9]{0,31}", fullmatch=True)
names = st.from_regex(r"[a-z][a-z0-9_]{0,47}", fullmatch=True)
versions = st.integers(1, 999_999_999)
digests = st.text(alphabet="0123456789abcdef", min_size=64, max_size=64).map("sha256:".__add__)

WRONG_REFS = [
    "", "ns/name", "ns/name@", "ns/name@0", "ns/name@01", "ns/name@-1", "ns/name@1.0", "ns/name@latest", "name@1",
    "/name@1", "ns/@1", "Ns/name@1", "ns/Name@1", "1ns/name@1", "ns/1name@1", "n_s/name@1", "ns/na-me@1", "a/b/c@1",
    " ns/name@1", "ns/name@1 ", "ns/name@1\n", "ns/name@\u0661", "nś/name@1", "ns/name@1@1", "ns/name@1000000000",
    "a" * 33 + "/name@1", "ns/" + "a" * 49 + "@1",
]  # fmt: skip
WRONG_DIGESTS = [
    pytest.param("", id="nothing"),
    pytest.param(HEX, id="no algorithm"),
    pytest.param("sha256:", id="no digits"),
    pytest.param("sha256:" + HEX[:-1], id="63 digits"),
    pytest.param("sha256:" + HEX + "0", id="65 digits"),
    pytest.param("sha256:" + HEX.upper(), id="upper case"),
    pytest.param("SHA256:" + HEX, id="an upper-case algorithm"),
    pytest.param("sha512:" + HEX * 2, id="another algorithm"),
    pytest.param("sha256:" + HEX[:-1] + "g", id="not hexadecimal"),
    pytest.param("sha256:" + HEX + "\n", id="a line break at the end"),
    pytest.param(" sha256:" + HEX, id="a space before"),
    pytest.param("ghcr.io/owner/image:latest", id="a tag"),
    pytest.param("ghcr.io/owner/image:sha256:" + HEX, id="a colon for the @"),
    pytest.param("sha256:" + HEX + "@ghcr.io/owner/image", id="the wrong way round"),
]


@given(namespaces, names, versions)
def test_a_ref_survives_being_written_and_parsed(namespace: str, name: str, version: int) -> None:
    """Every ref that the contract's pattern allows."""
    ref = Ref.parse(f"{namespace}/{name}@{version}")

    assert (ref.namespace, ref.name, ref.version) == (namespace, name, version)
    assert Ref.parse(str(ref)) == ref
    assert ref.folder == f"{namespace}_{name}"


@pytest.mark.parametrize("text", WRONG_REFS)
def test_what_is_no_ref_is_refused(text: str) -> None:
    """The whole text has to match, white space included."""
    with pytest.raises(RefError):
        Ref.parse(text)


@given(st.text(max_size=20))
def test_any_text_is_a_ref_as_it_is_written_or_a_ref_error(text: str) -> None:
    """Nothing is trimmed or repaired on the way."""
    with contextlib.suppress(RefError):
        assert str(Ref.parse(text)) == text


def test_versions_are_ordered_as_numbers() -> None:
    """Version 10 comes after version 9."""
    assert sorted(map(Ref.parse, ["a/b@10", "a/b@9", "a/a@11"])) == [*map(Ref.parse, ["a/a@11", "a/b@9", "a/b@10"])]


@given(digests, st.sampled_from(["", "image@", "ghcr.io/owner/image@", "localhost:5000/image:tag@"]))
def test_a_digest_is_the_same_bare_and_behind_a_repository(digest: str, repository: str) -> None:
    """What an image is does not depend on where it is stored."""
    found = Digest.parse(repository + digest)

    assert str(found) == found.text == digest
    assert Digest.parse(str(found)) == found == Digest.parse(digest)


@pytest.mark.parametrize("text", WRONG_DIGESTS)
def test_what_names_no_digest_is_refused(text: str) -> None:
    """A tag can move, and a digest of another length is another thing."""
    with pytest.raises(DigestError):
        Digest.parse(text)


def test_a_value_cannot_be_changed() -> None:
    """What was parsed stays right."""
    with pytest.raises(FrozenInstanceError):
        Ref.parse("a/b@1").version = 2  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        Digest.parse("sha256:" + HEX).text = "latest"  # type: ignore[misc]


def test_the_errors_are_value_errors_that_say_the_rule_and_not_the_value() -> None:
    """They end up in logs and details."""
    with pytest.raises(ValueError, match="ns/name@1") as ref_error:
        Ref.parse("MARKER")
    with pytest.raises(ValueError, match="64 lower-case") as digest_error:
        Digest.parse("MARKER")

    assert "MARKER" not in f"{ref_error.value} {digest_error.value}"

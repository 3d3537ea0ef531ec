"""An image reference names one repository and one digest, or it is none."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.core.registry import Digest, ImageReference, ImageReferenceError, Repository

DIGEST = "sha256:" + "0123456789abcdef" * 4

hosts = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?(\.[a-z]{2,5})(:[0-9]{2,5})?", fullmatch=True)
components = st.from_regex(r"[a-z0-9]{1,8}((\.|_|__|-{1,3})[a-z0-9]{1,8}){0,2}", fullmatch=True)
digests = st.from_regex(r"sha256:[0-9a-f]{64}", fullmatch=True)
repositories = st.builds(
    lambda host, parts: "/".join([*host, *parts]),
    st.lists(hosts, max_size=1),
    st.lists(components, min_size=1, max_size=4),
)


@given(repository=repositories, digest=digests)
def test_what_is_parsed_is_spelled_the_same_again(repository: str, digest: str) -> None:
    """Parsing and printing are inverse, so a reference can travel as text."""
    reference = ImageReference.parse(f"{repository}@{digest}")

    assert (reference.repository, reference.digest) == (repository, Digest.parse(digest))
    assert str(reference) == f"{repository}@{digest}"


@given(st.text(max_size=120))
def test_no_text_is_anything_but_a_reference_or_refused(text: str) -> None:
    """Whatever is given, it is a reference that prints as it was, or an ImageReferenceError."""
    try:
        assert str(ImageReference.parse(text)) == text
    except ImageReferenceError:
        assert not re.fullmatch(rf"[a-z0-9]+(/[a-z0-9]+)*@{DIGEST[:7]}[0-9a-f]{{64}}", text)


@pytest.mark.parametrize(
    "repository",
    [
        "ghcr.io/owner/repo/image",
        "localhost:5000/llm_chat",
        "127.0.0.1:5000/a",
        "[::1]:5000/a/b",
        "python",
        "Example.COM/a--b/c__d.e",
    ],
)
def test_hosts_ports_and_bare_names_are_repositories(repository: str) -> None:
    """What Docker and the distribution specification accept, is accepted."""
    assert ImageReference.parse(f"{repository}@{DIGEST}").repository == repository


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        pytest.param("ghcr.io/o/image:latest", "names no digest", id="a tag"),
        pytest.param("ghcr.io/o/image", "names no digest", id="neither tag nor digest"),
        pytest.param("", "names no digest", id="nothing"),
        pytest.param(f"ghcr.io/o/image:1.2@{DIGEST}", "has a tag beside its digest", id="a tag and a digest"),
        pytest.param(f"image:1@{DIGEST}", "has a tag beside its digest", id="a tag without a host"),
        pytest.param(DIGEST, "names no digest", id="a bare digest"),
        pytest.param(f"@{DIGEST}", "names no repository", id="no repository"),
        pytest.param("a@sha256:abc", "malformed digest", id="a short digest"),
        pytest.param(f"a@{DIGEST.upper()}", "malformed digest", id="capitals in the digest"),
        pytest.param("a@sha512:" + "0" * 128, "malformed digest", id="another algorithm"),
        pytest.param(f"a@b@{DIGEST}", "malformed repository", id="two at signs"),
        pytest.param(f"ghcr.io/Owner/image@{DIGEST}", "malformed repository", id="capitals in a path"),
        pytest.param(f"ghcr.io//image@{DIGEST}", "malformed repository", id="an empty component"),
        pytest.param(f"../image@{DIGEST}", "malformed repository", id="dots"),
        pytest.param(f"https://ghcr.io/o/i@{DIGEST}", "malformed repository", id="an address"),
        pytest.param(f" a@{DIGEST}", "malformed repository", id="leading space"),
        pytest.param(f"a@{DIGEST}\n", "malformed digest", id="trailing newline"),
        pytest.param(f"{'a' * 256}@{DIGEST}", "malformed repository", id="longer than an image registry takes"),
    ],
)
def test_what_could_name_another_image_tomorrow_is_refused(text: str, reason: str) -> None:
    """A tag moves and a malformed name cannot be pulled: both are refused, and the rule is named."""
    with pytest.raises(ImageReferenceError, match=reason):
        ImageReference.parse(text)


@pytest.mark.parametrize(
    ("text", "host", "path"),
    [
        ("ghcr.io/owner/repo/image", "ghcr.io", "owner/repo/image"),
        ("localhost/image", "localhost", "image"),
        ("127.0.0.1:5000/a", "127.0.0.1:5000", "a"),
        ("[::1]:5000/a/b", "[::1]:5000", "a/b"),
        ("Example/a", "Example", "a"),
        ("owner/image", "docker.io", "owner/image"),
        ("python", "docker.io", "library/python"),
    ],
)
def test_a_repository_lies_where_docker_would_look_for_it(text: str, host: str, path: str) -> None:
    """A first part with a dot, a port or a capital is a host; without one it is Docker Hub's."""
    assert Repository.parse(text) == Repository(host, path)


@given(repository=repositories)
def test_a_repository_that_is_printed_is_the_same_one(repository: str) -> None:
    """Spelled out, it may be longer than it was written, and it lies in the same place."""
    parsed = Repository.parse(repository)

    assert Repository.parse(str(parsed)) == parsed


@pytest.mark.parametrize(
    ("text", "reason"),
    [("ghcr.io/o/i:1", "has a tag"), ("Ghcr.io/O/i", "malformed"), ("", "malformed"), (f"a@{DIGEST}", "or a digest")],
    ids=["a tag", "capitals", "nothing", "a digest"],
)
def test_what_is_no_repository_is_refused(text: str, reason: str) -> None:
    """Where images go is a place, not an image."""
    with pytest.raises(ImageReferenceError, match=reason):
        Repository.parse(text)

"""Every processor writes below its write roots and nowhere else (§2 "write_prefix")."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from tests.contract.judge import success
from tests.contract.requests import Request
from tests.support.service import Service

MISSING = object()
LONGEST = 1024
LONGEST_SEGMENT = 255


def with_prefix(service: Service, write_prefix: object) -> Request:
    """Return a good request but for its prefix."""
    return Request.good(service, write_prefix=write_prefix)


def of_bytes(size: int, *, last: str = "/") -> str:
    """Return a prefix of *size* bytes, its last slash included, that is used by nobody else."""
    text = f"/artifacts/{uuid4()}/"
    while size - len(text) > 101:
        text += "d" * 99 + "/"
    return text + "e" * (size - len(text) - 1) + last


@pytest.fixture
def elsewhere() -> Iterator[Path]:
    """A folder outside every write root."""
    folder = Path(tempfile.mkdtemp(dir="/var/tmp"))
    yield folder
    shutil.rmtree(folder)


@pytest.mark.parametrize("value", [MISSING, ""], ids=["absent", "empty"])
def test_a_missing_prefix_is_refused(service: Service, value: object) -> None:
    """Absent and empty are the same."""
    request = with_prefix(service, value)
    if value is MISSING:
        del request.payload["write_prefix"]

    request.refused("ERR_INPUTS", "missing write_prefix")


NOT_ALLOWED = [
    pytest.param(None, id="null"),
    pytest.param(5, id="a number"),
    pytest.param(["/artifacts/outputs/x/"], id="a list"),
    pytest.param({}, id="an object"),
    pytest.param("outputs/{execution_id}/", id="relative"),
    pytest.param("./outputs/{execution_id}/", id="relative with a dot"),
    pytest.param("~/{execution_id}/", id="a home"),
    pytest.param("{execution_id}/", id="the id alone"),
    pytest.param("file:///artifacts/x/", id="a URL"),
    pytest.param(" /artifacts/outputs/{execution_id}/", id="a space before"),
    pytest.param("/", id="the root of all"),
    pytest.param("/artifacts/", id="a root itself"),
    pytest.param("/artifacts", id="a root itself without its slash"),
    pytest.param("/tmp/", id="the other root itself"),
    pytest.param("/etc/{execution_id}/", id="outside"),
    pytest.param("/{execution_id}/", id="directly below the root of all"),
    pytest.param("/artifactsx/{execution_id}/", id="a longer name than a root's"),
    pytest.param("/artifact/{execution_id}/", id="a shorter one"),
    pytest.param("/Artifacts/{execution_id}/", id="another case"),
    pytest.param("/var/tmp/{execution_id}/", id="a root's name further in"),
    pytest.param("/artifacts/inputs/{execution_id}/", id="in the inputs"),
    pytest.param("/artifacts/inputs/a/b/{execution_id}/", id="far in the inputs"),
    pytest.param("/artifacts/inputs/", id="the inputs themselves"),
    pytest.param("/artifacts/inputs", id="the inputs themselves without their slash"),
    pytest.param("/artifacts/outputs/../../etc/{execution_id}/", id="two dots out"),
    pytest.param("/artifacts/outputs/../x/{execution_id}/", id="two dots inside"),
    pytest.param("/artifacts/outputs/{execution_id}/..", id="two dots at the end"),
    pytest.param("/artifacts/outputs/{execution_id}/../", id="two dots and a slash at the end"),
    pytest.param("/artifacts/./outputs/{execution_id}/", id="one dot"),
    pytest.param("/artifacts/outputs/{execution_id}/.", id="one dot at the end"),
    pytest.param("/artifacts//outputs/{execution_id}/", id="an empty segment"),
    pytest.param("//artifacts/outputs/{execution_id}/", id="an empty segment at the beginning"),
    pytest.param("/artifacts/outputs/{execution_id}//", id="an empty segment at the end"),
    pytest.param("/artifacts/outputs/{id}/", id="another brace"),
    pytest.param("/artifacts/outputs/{execution_id/", id="half a brace"),
    pytest.param("/artifacts/outputs/execution_id}/", id="the other half"),
    pytest.param("/artifacts/outputs/{{execution_id}}/", id="doubled braces"),
    pytest.param("/artifacts/outputs/{}/", id="empty braces"),
    pytest.param("/artifacts/outputs/{EXECUTION_ID}/", id="braces in capitals"),
    pytest.param("/artifacts/outputs/{execution_id!r}/", id="a format"),
    pytest.param("/artifacts/outputs/{execution_id}/{0}/", id="a good and a bad brace"),
    pytest.param("/artifacts\\outputs\\{execution_id}\\", id="backslashes"),
    pytest.param("/artifacts/outputs/a\\b/", id="one backslash"),
    *[
        pytest.param(f"/artifacts/outputs/a{character}b/{{execution_id}}/", id=f"U+{ord(character):04X}")
        for character in "\x00\x01\t\n\r\x1b\x1f\x7f\x80\x85\x9f"
    ],
    pytest.param("/artifacts/outputs/{execution_id}/\n", id="a line break at the end"),
    pytest.param(f"/artifacts/{'s' * (LONGEST_SEGMENT + 1)}/", id="a segment of 256 bytes"),
    pytest.param(f"/artifacts/{'é' * 128}/", id="a segment of 256 bytes in 128 characters"),
    pytest.param(of_bytes(LONGEST + 1), id="1025 bytes"),
    pytest.param(of_bytes(LONGEST + 1, last=""), id="1025 bytes once the slash is added"),
    pytest.param("/artifacts/" + "é/" * 400, id="1211 bytes in 811 characters"),
    pytest.param("/artifacts/" + "x/" * 100_000, id="200 kB"),
]


@pytest.mark.parametrize("write_prefix", NOT_ALLOWED)
def test_a_prefix_that_could_lead_elsewhere_is_refused(service: Service, write_prefix: object) -> None:
    """And nothing is made, here or there."""
    with_prefix(service, write_prefix).refused("ERR_WRITE_PREFIX")


@pytest.mark.parametrize(
    "write_prefix",
    [
        pytest.param(of_bytes(LONGEST), id="1024 bytes"),
        pytest.param(of_bytes(LONGEST, last=""), id="1024 bytes once the slash is added"),
        pytest.param(f"/artifacts/{'s' * LONGEST_SEGMENT}/{{execution_id}}/", id="a segment of 255 bytes"),
        pytest.param(f"/artifacts/{'é' * 127}s/{{execution_id}}/", id="a segment of 255 bytes in 128 characters"),
        pytest.param("/artifacts/{execution_id}", id="directly below a root"),
        pytest.param("/artifacts/inputs2/{execution_id}/", id="a longer name than the inputs'"),
        pytest.param("/artifacts/outputs/inputs/{execution_id}/", id="other inputs"),
        pytest.param("/artifacts/outputs/.hidden/..x/x../{execution_id}/", id="dots in names"),
        pytest.param("/artifacts/outputs/a b/%2e%2e/~/$HOME/*/{execution_id}/", id="names that mean nothing here"),
    ],
)
def test_a_prefix_that_stays_below_a_root_is_taken(service: Service, write_prefix: str) -> None:
    """Up to the limits, and however it looks."""
    request = with_prefix(service, write_prefix)

    success(service, request.send(), request.payload)


def test_the_limit_holds_for_the_expanded_prefix(service: Service) -> None:
    """An id of 128 characters makes it longer."""
    prefix = of_bytes(LONGEST - 100) + "{execution_id}/"
    request = with_prefix(service, prefix)
    request.payload["execution_id"] = "i" * 128

    request.refused("ERR_WRITE_PREFIX")


def test_a_symlink_that_leaves_the_roots_is_refused(service: Service, elsewhere: Path) -> None:
    """Symlinks are followed before the roots are compared."""
    link = service.artifacts / f"link-{uuid4()}"
    link.symlink_to(elsewhere)

    with_prefix(service, f"/artifacts/{link.name}/{{execution_id}}/").refused("ERR_WRITE_PREFIX")
    with_prefix(service, f"/artifacts/{link.name}/").refused("ERR_WRITE_PREFIX")
    assert list(elsewhere.iterdir()) == []


def test_a_symlink_to_a_root_itself_is_refused(service: Service) -> None:
    """Strictly below, once the links are resolved."""
    link = service.artifacts / f"link-{uuid4()}"
    link.symlink_to("/tmp")

    with_prefix(service, f"/artifacts/{link.name}/").refused("ERR_WRITE_PREFIX")


def test_a_symlink_into_the_inputs_is_refused(service: Service) -> None:
    """What runs read, no run writes."""
    link = service.artifacts / f"link-{uuid4()}"
    link.symlink_to("inputs")

    with_prefix(service, f"/artifacts/{link.name}/{{execution_id}}/").refused("ERR_WRITE_PREFIX")


def test_the_inputs_are_refused_by_their_other_name_too(service: Service) -> None:
    """On this machine the artifacts folder lies in another root: `/tmp` leads there as well."""
    inputs = service.artifacts.resolve() / "inputs"
    assert inputs.is_relative_to("/tmp"), "pytest's folders lie in /tmp"

    with_prefix(service, f"{inputs}/{{execution_id}}/").refused("ERR_WRITE_PREFIX")


def test_a_symlink_that_stays_below_a_root_is_taken(service: Service) -> None:
    """Where it leads is what counts."""
    link = service.artifacts / f"link-{uuid4()}"
    (service.artifacts / f"{link.name}-target").mkdir()
    link.symlink_to(f"{link.name}-target")
    request = with_prefix(service, f"/artifacts/{link.name}/{{execution_id}}/")

    envelope = success(service, request.send(), request.payload)

    assert envelope["index_path"] == f"/artifacts/{link.name}/{request.payload['execution_id']}/outputs.json"
    assert (service.artifacts / f"{link.name}-target" / request.payload["execution_id"] / "outputs.json").is_file()

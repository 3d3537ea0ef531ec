"""One image in an answer: for a program, and for a person."""

from __future__ import annotations

from apps.core.images.errors import DockerError, ImageNotFoundError
from apps.core.management.image_rows import Row, answer, failed
from processor_runtime.errors import Detail

REFERENCE = "ghcr.io/o/i@sha256:" + "0" * 64
GOOD = Row("ns/name@1", "amd64", "verified", REFERENCE, "sha256:" + "1" * 64)
BAD = failed("ns/name@1", "arm64", ImageNotFoundError(Detail(path=REFERENCE, message="is not there")))


def test_a_program_finds_the_same_fields_in_each_row() -> None:
    """What is not known is null."""
    good, bad = (row.as_json() for row in (GOOD, BAD))

    assert good.keys() == bad.keys() == {"ref", "platform", "state", "image", "source", "sbom", "error"}
    assert (good["image"], good["sbom"], good["error"]) == (REFERENCE, None, None)
    assert bad["error"] == {
        "code": "ERR_IMAGE_NOT_FOUND",
        "message": "image not found",
        "retryable": False,
        "details": [{"path": REFERENCE, "message": "is not there"}],
    }


def test_an_answer_is_ok_if_each_row_is() -> None:
    """And so it is without any."""
    assert answer("verify", [GOOD]) == {"action": "verify", "ok": True, "images": [GOOD.as_json()]}
    assert answer("verify", [GOOD, BAD])["ok"] is False
    assert answer("list", [])["ok"] is True


def test_a_person_reads_one_line_or_the_reasons_below_it() -> None:
    """The last line of a failure says what to do."""
    assert GOOD.lines() == [f"verified   ns/name@1  amd64  {REFERENCE}"]
    assert BAD.lines() == [
        "failed     ns/name@1  arm64  ERR_IMAGE_NOT_FOUND: image not found",
        f"  {REFERENCE}: is not there",
        "  Publish the image, or correct the pin.",
    ]


def test_what_has_no_image_or_platform_ends_early() -> None:
    """No trailing spaces, no empty columns."""
    assert Row("ns/name@1", "", "unpinned").lines() == ["unpinned   ns/name@1"]
    assert failed("", "", DockerError()).lines()[0] == "failed     ERR_DOCKER: Docker Engine failed"

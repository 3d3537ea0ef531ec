"""The envelope for a person: what happened, and where the outputs lie here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from apps.core.management.summary import size, summary

META = {"ref": "ns/name@1", "env_fingerprint": "cpu:1;memory:1Gi", "image_digest": "", "pinned": False}
ROOT = Path("/var/lib/artifacts")


def success(*rows: tuple[str, int]) -> dict[str, Any]:
    """Return the envelope of a run with outputs of these paths and sizes."""
    return {
        "status": "success",
        "execution_id": "e1",
        "outputs": [{"path": path, "size_bytes": size_bytes} for path, size_bytes in rows],
        "meta": META | {"duration_ms": 1234},
    }


def failed(code: str, *details: dict[str, str], ref: str = "ns/name@1") -> dict[str, Any]:
    """Return an error envelope."""
    error = {"code": code, "message": "it failed", "retryable": False, "details": list(details)}
    return {"status": "error", "execution_id": "e1", "error": error, "meta": META | {"ref": ref}}


def test_a_success_says_what_ran_how_long_and_where_its_outputs_lie() -> None:
    """Logical paths are shown as paths of this host; sizes stand in a column."""
    envelope = success(("/artifacts/outputs/e1/outputs/a.txt", 7), ("/tmp/e1/outputs/b.bin", 5_000_000))

    assert summary(envelope, "mock", ROOT).splitlines() == [
        "success  ns/name@1  mock  1.23 s  e1",
        "      7 B  /var/lib/artifacts/outputs/e1/outputs/a.txt",
        "  4.8 MiB  /tmp/e1/outputs/b.bin",
    ]


def test_a_long_path_stays_on_one_line() -> None:
    """It can be copied, however wide the terminal is."""
    envelope = success((f"/artifacts/{'x' * 300}", 1))

    assert summary(envelope, "mock", ROOT).splitlines()[1] == f"  1 B  /var/lib/artifacts/{'x' * 300}"


def test_what_looks_like_markup_is_text() -> None:
    """A file may have any name."""
    assert "[bold]x[/bold]" in summary(success(("/artifacts/[bold]x[/bold]", 1)), "mock", ROOT)


def test_a_success_without_outputs_is_one_line() -> None:
    """Optional outputs may all be missing."""
    assert summary(success(), "real", ROOT) == "success  ns/name@1  real  1.23 s  e1"


def test_an_error_says_why_where_and_what_to_do() -> None:
    """The contract's table knows the next step of each code."""
    envelope = failed("ERR_CI_SAFETY", {"path": "/mode", "message": "CI is set"}, {"path": "", "message": "no place"})

    assert summary(envelope, "real", ROOT).splitlines() == [
        "error  ns/name@1  ERR_CI_SAFETY: it failed",
        "  /mode: CI is set",
        "  no place",
        "  Use `mock` in CI; run `real` from a lane that is meant to.",
    ]


def test_an_error_that_this_version_does_not_know_is_shown_as_it_is() -> None:
    """Readers ignore what they do not know; so is a processor that nobody knows."""
    assert summary(failed("ERR_OF_TOMORROW", ref=""), "mock", ROOT) == "error  -  ERR_OF_TOMORROW: it failed"


def test_at_a_terminal_the_verdict_has_a_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    """And the same text; `NO_COLOR` is obeyed."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.delenv("NO_COLOR", raising=False)
    coloured = summary(success(), "mock", ROOT)
    monkeypatch.setenv("NO_COLOR", "1")

    assert coloured.startswith("\x1b[1;32msuccess\x1b[0m  ns/name@1")
    assert "32m" not in summary(success(), "mock", ROOT)


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (5 * 1024**3, "5.0 GiB"),
        (1024**5, "1024.0 TiB"),
    ],
)
def test_sizes_are_read_by_persons(size_bytes: int, text: str) -> None:
    """Powers of two, as the registry's memory."""
    assert size(size_bytes) == text

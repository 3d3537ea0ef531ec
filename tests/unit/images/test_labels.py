"""What an image says about itself, and how it is read back."""

from __future__ import annotations

import pytest

from apps.core.images.labels import Labels

SOURCE = "sha256:" + "0" * 64


@pytest.mark.parametrize("base", ["", "python:3.12-slim-bookworm"])
def test_what_is_written_is_read_back(base: str) -> None:
    """Other tools find title, version and base under the names that the image specification gives them."""
    labels = Labels("ns/name@3", SOURCE, base=base)

    written = labels.written()

    assert Labels.read(written) == labels
    assert (written["org.opencontainers.image.title"], written["org.opencontainers.image.version"]) == ("ns/name", "3")
    assert ("org.opencontainers.image.base.name" in written) is bool(base)


@pytest.mark.parametrize("labels", [None, {}, {"maintainer": "somebody"}], ids=["none", "empty", "others"])
def test_an_image_of_somebody_elses_says_nothing(labels: dict[str, str] | None) -> None:
    """Absent is empty, and equal to no label of ours."""
    assert Labels.read(labels) == Labels("", "", "", "")

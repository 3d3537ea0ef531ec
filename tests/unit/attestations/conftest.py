"""An image, as tests of attestations need one: it is stored nowhere."""

from __future__ import annotations

import pytest

from apps.core.images.distribution import MANIFEST, Manifest
from apps.core.images.labels import Labels
from apps.core.images.stored import StoredImage
from apps.core.registry import ImageReference
from processor_runtime.values import Digest

DIGEST = Digest.parse(f"sha256:{'ab' * 32}")


@pytest.fixture
def image() -> StoredImage:
    """Return an image of `llm/chat@1`."""
    reference = ImageReference.parse(f"127.0.0.1:5000/o/llm_chat@{DIGEST}")
    labels = Labels("llm/chat@1", f"sha256:{'cd' * 32}", base="python:3.12-slim-bookworm")
    return StoredImage(reference, "amd64", labels, Manifest(DIGEST, MANIFEST, {}, 0))

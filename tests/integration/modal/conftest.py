"""What tests against a Modal share."""

from __future__ import annotations

from tests.local_modal.fixture import local_modal

__all__ = ["local_modal"]

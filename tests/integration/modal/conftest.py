"""What tests against a Modal share."""

from __future__ import annotations

from tests.local_modal.fixture import client, deployer, local_modal

__all__ = ["client", "deployer", "local_modal"]

"""The fixtures of tests with containers."""

from tests.integration.local.conftest import boxes, host, story

__all__ = ["boxes", "host", "story"]

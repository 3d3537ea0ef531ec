"""The fixtures of tests with containers."""

from tests.integration.local.conftest import host, story

__all__ = ["host", "story"]

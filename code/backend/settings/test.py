"""CI, and commands by hand: like production in behaviour, without its secrets."""

from backend.settings.base import *

SECRET_KEY = "test-only-never-in-production"  # noqa: S105 - no secret: production refuses to start without its own
ALLOWED_HOSTS = ["localhost", "127.0.0.1", "[::1]", "testserver"]

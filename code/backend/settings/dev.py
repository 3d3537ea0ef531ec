"""A laptop: Django's error pages, and a key that protects nothing."""

from backend.settings.base import *

DEBUG = True
SECRET_KEY = "dev-only-never-in-production"  # noqa: S105 - no secret: production refuses to start without its own
ALLOWED_HOSTS = ["localhost", "127.0.0.1", "[::1]"]

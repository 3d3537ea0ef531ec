"""Production: refuses to start without what it cannot guess, runs images only, and answers over TLS only."""

import os

from django.core.exceptions import ImproperlyConfigured

from backend.settings.base import *


def _required(name: str, meaning: str) -> str:
    value = os.environ.get(name, "")
    if not value.strip(" ,"):
        raise ImproperlyConfigured(f"{name} is not set: {meaning}")
    return value


SECRET_KEY = _required("DJANGO_SECRET_KEY", "at least 50 random characters, the same on every machine of this service")

_hosts = _required("DJANGO_ALLOWED_HOSTS", "the host names this service answers to, separated by commas")
ALLOWED_HOSTS = [host.strip() for host in _hosts.split(",") if host.strip()]

ADAPTERS = ("local", "modal")

CSRF_COOKIE_SECURE = True
SECURE_SSL_REDIRECT = True
SECURE_HSTS_SECONDS = 31_536_000  # a year, as hstspreload.org asks for
SECURE_HSTS_INCLUDE_SUBDOMAINS = True
SECURE_HSTS_PRELOAD = True

"""What all settings have in common. Nothing here needs a database, a secret or a network."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

CODE_DIR = Path(__file__).resolve().parents[2]
REPO_DIR = CODE_DIR.parent

# Everything this machine makes while running lies below: artifacts, environments of the process adapter, caches.
VAR_DIR = REPO_DIR / "var"

# The folder on this host that stands for the logical `/artifacts` (CONTRACT §4).
ARTIFACTS_ROOT = Path(os.environ.get("ARTIFACTS_ROOT") or VAR_DIR / "artifacts").absolute()

# Where this code runs in a container itself: the Docker network on which it reaches the containers that it starts.
LOCAL_ADAPTER_NETWORK = os.environ.get("LOCAL_ADAPTER_NETWORK", "")

# Which adapters `--adapter` may name. Production leaves `process` out: it runs source, not an image.
ADAPTERS: tuple[str, ...] = ("process", "local", "modal")

DEBUG = False
ALLOWED_HOSTS: list[str] = []
INSTALLED_APPS = ["apps.core"]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "backend.urls"
ASGI_APPLICATION = "backend.asgi.application"
DATABASES: dict[str, dict[str, Any]] = {}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True
USE_I18N = False

# stdout belongs to a command's answer: all that Django has to say goes to stderr, one JSON object a line.
LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"ndjson": {"()": "backend.logs.NdjsonFormatter"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "ndjson", "stream": "ext://sys.stderr"}},
    "loggers": {
        "django": {"handlers": ["stderr"], "level": "INFO", "propagate": False},
        # Its default handler is Django's own coloured console line, with a stream of its own
        "django.server": {"handlers": ["stderr"], "level": "INFO", "propagate": False},
        "py.warnings": {"handlers": ["stderr"], "level": "WARNING", "propagate": False},
    },
}

"""How Django knows this app."""

from __future__ import annotations

import logging

from django.apps import AppConfig


class CoreConfig(AppConfig):
    """The one app: no models, but the commands."""

    name = "apps.core"

    def ready(self) -> None:
        """Send Python's warnings through logging: on a command's stderr they are NDJSON like all else."""
        logging.captureWarnings(True)  # noqa: FBT003 - logging's signature, positional only

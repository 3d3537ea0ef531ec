"""The file that a deploy of the sample uploads: it takes the app from the image, as a processor's does."""

from __future__ import annotations

from typing import Any


def fastapi_app() -> Any:
    """Return the image's own app."""
    from app.http import app  # type: ignore[import-not-found]  # in the image

    return app

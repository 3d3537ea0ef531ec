"""The ASGI door of the orchestrator: `uvicorn backend.asgi:application`, production unless told otherwise."""

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "backend.settings.production")

application = get_asgi_application()

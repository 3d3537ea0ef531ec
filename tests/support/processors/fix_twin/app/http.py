"""The ASGI app: `uvicorn app.http:app`."""

from processor_runtime import create_app

from .logging import configure

configure()

from .handler import entry  # noqa: E402  # its imports are captured too

app = create_app(entry)

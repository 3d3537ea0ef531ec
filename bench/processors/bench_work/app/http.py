"""The ASGI app: `uvicorn app.http:app`."""

from processor_runtime import create_app

from .logging import configure

configure()  # before the handler is imported: what its libraries print on import is captured too

from .handler import entry  # noqa: E402

app = create_app(entry)

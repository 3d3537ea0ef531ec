"""NDJSON on stderr, nothing on stdout."""

import logging
from pathlib import Path

from processor_runtime import logs


def configure() -> None:
    """Take over the streams and loggers of this process; the registry says which ref its lines carry."""
    logs.configure(registry=Path(__file__).parents[1] / "registry.yaml")
    logging.getLogger("httpx2").setLevel(
        logging.WARNING
    )  # a line per request, with the provider's address, says little

"""NDJSON on stderr, nothing on stdout."""

from pathlib import Path

from processor_runtime import logs


def configure() -> None:
    """Take over the streams and loggers of this process."""
    logs.configure(registry=Path(__file__).parents[1] / "registry.yaml")

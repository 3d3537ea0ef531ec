"""The one logger: NDJSON on stderr."""

from pathlib import Path

from processor_runtime import logs


def configure() -> None:
    """Send every line of this process, stray ones included, to stderr as NDJSON."""
    logs.configure(registry=Path(__file__).parents[1] / "registry.yaml")

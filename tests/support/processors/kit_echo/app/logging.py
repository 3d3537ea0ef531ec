"""The one logger."""

from pathlib import Path

from processor_runtime import logs


def configure() -> None:
    """Make the process keep the contract's rule for streams."""
    logs.configure(registry=Path(__file__).parents[1] / "registry.yaml")

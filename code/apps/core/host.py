"""What this machine gives to executions: folders, environment, limits; read from Django's settings at the edge."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

START_ALLOWANCE_S: Final = 600.0


@dataclass(frozen=True, slots=True)
class Host:
    """One machine, as an execution sees it.

    Attributes:
        processors: The folder of processors.
        artifacts_root: The folder that stands for the logical `/artifacts`.
        var: The folder for whatever is made while running.
        adapters: Which adapters may be used here.
        environ: The environment: secrets, `CI`, settings of uv and pip.
        start_allowance_s: How long a processor may take to become healthy, its set-up included.
        network: The Docker network on which this machine, itself a container, reaches others; ``""`` on a plain host.
        python: The interpreter of the process adapter; ``None`` for environments of the processors' own.
    """

    processors: Path
    artifacts_root: Path
    var: Path
    adapters: tuple[str, ...]
    environ: Mapping[str, str] = field(repr=False)
    start_allowance_s: float = START_ALLOWANCE_S
    network: str = ""
    python: Path | None = None

    @classmethod
    def here(cls) -> Host:
        """Return this machine, as Django's settings and the environment describe it."""
        import os  # noqa: PLC0415  # with Django's settings, the one place that reads the outside

        from django.conf import settings  # noqa: PLC0415  # what executions are made of needs no Django

        from apps.core.registry import PROCESSORS  # noqa: PLC0415  # the same

        return cls(
            processors=PROCESSORS,
            artifacts_root=Path(settings.ARTIFACTS_ROOT),
            var=Path(settings.VAR_DIR),
            adapters=tuple(settings.ADAPTERS),
            environ=dict(os.environ),
            start_allowance_s=float(getattr(settings, "START_ALLOWANCE_S", START_ALLOWANCE_S)),
            network=settings.LOCAL_ADAPTER_NETWORK,
        )

"""The lanes: which steps each has, in order. Workflows and `make lanes` follow this one table.

Each step is a target of the Makefile.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

ENVIRONMENTS: Final = ("dev", "staging", "prod")
BEFORE: Final[Mapping[str, str]] = {"staging": "dev", "prod": "staging"}  # from where a digest is promoted


@dataclass(frozen=True, slots=True)
class Plan:
    """One lane.

    Attributes:
        gates: Must hold for the change itself, before anything leaves this machine.
        steps: What is then done, in order; the first that fails stops it.
        undo: What is done when a step after `undo_from` fails, or that step itself.
        undo_from: The first step whose failure is undone.
    """

    gates: tuple[str, ...] = ()
    steps: tuple[str, ...] = ()
    undo: str = ""
    undo_from: str = ""


PLANS: Final[Mapping[str, Plan]] = {
    "pr": Plan(gates=("check", "changelog-check", "guard-real", "test", "conformance", "bench-guard")),
    "dev": Plan(
        gates=("check", "guard-real", "test", "conformance", "bench-guard"),
        steps=("images", "attest", "pins", "secrets", "deploy", "smoke", "probe", "drift", "mark", "open-promotion"),
    ),
    "staging": Plan(steps=("promote", "secrets", "deploy", "smoke", "acceptance", "drift", "mark", "open-promotion")),
    "prod": Plan(steps=("promote", "secrets", "deploy", "smoke", "drift", "mark"), undo="rollback", undo_from="deploy"),
}

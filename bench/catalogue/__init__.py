"""Every server that is measured, and how each is started."""

from __future__ import annotations

from bench.subjects import Subject

from .limits import LIMITS
from .ours import OURS
from .peers import PEERS

SUBJECTS: dict[str, Subject] = {subject.name: subject for subject in (*LIMITS, *OURS, *PEERS)}

__all__ = ["LIMITS", "OURS", "PEERS", "SUBJECTS"]

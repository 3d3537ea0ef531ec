"""The index settings of the product, for scripts that run before anything is installed."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / "code"))

from apps.core.package_index import uv_environment

__all__ = ["uv_environment"]

"""The ASGI app of the healthy processor in the working directory, with the fault that `PLANTED_FAULT` names."""

from __future__ import annotations

import importlib
import os

from tests.contract.planted.faults import BY_NAME, CHANGED

_fault = os.environ.get(CHANGED, "")
_around = BY_NAME[_fault].plant() if _fault else None  # before the app is made, which reads what is planted
_healthy = importlib.import_module("app.http").app
app = _around(_healthy) if _around else _healthy

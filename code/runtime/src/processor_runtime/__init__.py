"""The runtime of a processor: keeps the contract, so that an author writes only the work.

An author needs `processor`, `Run` and `create_app`, and the two errors that a
handler may raise. They are imported when they are asked for: the orchestrator
uses values and errors of this package, and must not pay for a web framework.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .app import create_app
    from .artifacts import Artifact
    from .errors import InputsError, ProviderError
    from .handler import processor
    from .run import Run

__version__ = "0.1.0"
__all__ = ["Artifact", "InputsError", "ProviderError", "Run", "create_app", "processor"]

_HOMES = {
    "Artifact": "artifacts",
    "InputsError": "errors",
    "ProviderError": "errors",
    "Run": "run",
    "create_app": "app",
    "processor": "handler",
}


def __getattr__(name: str) -> Any:
    """Return a public name from the module that defines it."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    with _uncollected():
        globals()[name] = found = getattr(import_module(f".{home}", __name__), name)
    return found


@contextmanager
def _uncollected() -> Iterator[None]:
    """Let nothing be collected meanwhile, nor what was made meanwhile later.

    What an import makes stays, and need not be looked at again for every few
    hundred objects more.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.freeze()
            gc.enable()

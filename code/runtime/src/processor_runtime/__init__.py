"""The runtime of a processor: keeps the contract, so that an author writes only the work.

An author needs `processor`, `Run` and `create_app`, and the two errors that a
handler may raise.
"""

from .app import create_app
from .artifacts import Artifact
from .errors import InputsError, ProviderError
from .handler import processor
from .run import Run

__version__ = "0.1.0"
__all__ = ["Artifact", "InputsError", "ProviderError", "Run", "create_app", "processor"]

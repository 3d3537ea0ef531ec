"""Which environment variables a processor may call its secrets."""

import re
from typing import Final

_NAME: Final = re.compile(r"[A-Z][A-Z0-9_]*")

# Declared secrets are taken out of the environment when a service starts, and are passed on by name in real mode only:
# a name that the system, the interpreter or the contract reads would break both.
_RESERVED: Final = frozenset(
    {"CI", "HOME", "HOSTNAME", "LANG", "PATH", "PWD", "SHELL", "TEMP", "TMP", "TMPDIR", "TZ", "USER"}
)
_RESERVED_PREFIXES: Final = ("IMAGE_", "LC_", "LD_", "PROCESSOR_", "PYTHON", "UVICORN_")


def secret_name_fault(name: str) -> str | None:
    """Return why *name* cannot be a secret's, as the end of a sentence that begins with it, or ``None`` if it can."""
    if not _NAME.fullmatch(name):
        return "must be written in capitals, digits and underscores, beginning with a letter"
    if name in _RESERVED or name.startswith(_RESERVED_PREFIXES):
        return "must not be a reserved name: the system or the contract gives it a meaning of its own"
    return None

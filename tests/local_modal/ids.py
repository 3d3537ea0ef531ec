"""Ids as Modal writes them: the SDK checks the prefix, its command line the length."""

import secrets
import string
from typing import Final

_ALPHABET: Final = string.ascii_letters + string.digits
_DIGITS: Final = 22


def new_id(prefix: str) -> str:
    """Return an id that was never given before, such as ``ap-3fQ…`` for *prefix* ``ap``."""
    return f"{prefix}-{''.join(secrets.choice(_ALPHABET) for _ in range(_DIGITS))}"

"""What bounds a goal that is not reached, and what would be needed: words, the page has the numbers."""

from typing import Final

BOUNDS: Final[dict[str, str]] = {}

"""The text that every server answers."""

from typing import Final

TEXT: Final = ("the quick brown fox jumps over the lazy dog " * 5)[:200]

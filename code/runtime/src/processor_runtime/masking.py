"""Secrets never leave in a log line, envelope, event or receipt (CONTRACT §7)."""

from collections.abc import Iterable
from typing import Any, Final

import orjson

MASK: Final = "***"
SHORTEST: Final = 8
_LEVELS: Final = 64
_LARGE: Final = 2**63
_KEPT_KEYS: Final = frozenset({"path", "sha256", "execution_id"})


class Mask:
    """Replaces the values of secrets in what is about to be written.

    Values shorter than 8 characters are left alone: masking ``1`` or ``test``
    would tear every line apart and protect nothing.
    """

    def __init__(self, values: Iterable[str] = ()) -> None:
        # the longest first, so that a secret that holds another one leaves no rest of it
        self._values = sorted({value for value in values if _maskable(value)}, key=len, reverse=True)
        self._needles = [orjson.dumps(value)[1:-1] for value in self._values]

    def dumps(self, document: dict[str, Any]) -> bytes:
        """Return *document* as JSON without any secret in its string values.

        Keys, and the values under `path`, `sha256` and `execution_id`, stay.
        What JSON cannot hold is written as its `str`: neither a log line nor an
        answer may fail by what a handler put into it.
        """
        try:
            raw = orjson.dumps(document, default=str)
        except TypeError:  # other keys than text, or what `default` cannot help
            raw = _dumps_anything(document)
        for needle in self._needles:
            if needle in raw:
                return orjson.dumps(self._masked(orjson.loads(raw)))
        return raw

    def text(self, text: str) -> str:
        """Return *text* without any secret."""
        for value in self._values:
            text = text.replace(value, MASK)
        return text

    def _masked(self, value: Any) -> Any:  # any JSON value
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {
                key: child if key in _KEPT_KEYS and isinstance(child, str) else self._masked(child)
                for key, child in value.items()
            }
        if isinstance(value, list):
            return [self._masked(child) for child in value]
        return value


def _dumps_anything(document: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(document, default=str, option=orjson.OPT_NON_STR_KEYS)
    except TypeError:
        return orjson.dumps(_plain(document, 1))


def _maskable(value: str) -> bool:
    # bytes of the environment that are no UTF-8 can stand in no JSON text
    return len(value) >= SHORTEST and value.encode(errors="replace").decode() == value


def _plain(value: Any, level: int) -> Any:
    """Return *value* as JSON can hold it: other keys, numbers and objects as text, at most 64 levels."""
    if level > _LEVELS:
        return "…"
    if isinstance(value, dict):
        return {_text(key): _plain(child, level + 1) for key, child in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(child, level + 1) for child in value]
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, int) and abs(value) < _LARGE:
        return value
    return _text(value)


def _text(value: object) -> str:
    try:
        text = str(value)
    except Exception:  # noqa: BLE001  # an object that cannot say what it is
        text = type(value).__name__
    return text.encode(errors="replace").decode()

"""RFC 8785: the one JSON text of a value. Written anew, so that the kit judges `inputs_sha256` by itself."""

from __future__ import annotations

import hashlib
import json
import math
from typing import Any, Final

_PLAIN_DIGITS: Final = 21  # ECMAScript writes numbers below 10^21 without an exponent
_SMALLEST_PLAIN: Final = -6  # and those from 10^-6 on


def dumps(value: Any) -> bytes:
    """Return the canonical form of a JSON value, in UTF-8.

    Raises:
        ValueError: a number that is not finite.
    """
    return _text(value).encode()


def sha256(value: Any) -> str:
    """Return the SHA-256 of the canonical form, 64 hexadecimal digits."""
    return hashlib.sha256(dumps(value)).hexdigest()


def _text(value: Any) -> str:
    if isinstance(value, dict):
        # keys are ordered by their UTF-16 code units (RFC 8785, 3.2.3)
        keys = sorted(value, key=lambda key: key.encode("utf-16-be", "surrogatepass"))
        return "{" + ",".join(f"{_text(key)}:{_text(value[key])}" for key in keys) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_text, value)) + "]"
    if isinstance(value, float):
        return number(value)
    return json.dumps(value, ensure_ascii=False)


def number(value: float) -> str:
    """Return *value* as ECMAScript's Number.prototype.toString does (RFC 8785, 3.2.2.3).

    Raises:
        ValueError: it is not finite.
    """
    if not math.isfinite(value):
        raise ValueError("not a JSON number")
    if value == 0:
        return "0"
    sign = "-" if value < 0 else ""
    mantissa, _, exponent = f"{abs(value)!r}".partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    # the value is 0.DIGITS times ten to the power of `point`
    point = int(exponent or 0) + (len(whole) if whole.strip("0") else len(fraction.lstrip("0")) - len(fraction))
    digits = digits.rstrip("0")
    if len(digits) <= point <= _PLAIN_DIGITS:
        return sign + digits + "0" * (point - len(digits))
    if 0 < point <= _PLAIN_DIGITS:
        return f"{sign}{digits[:point]}.{digits[point:]}"
    if _SMALLEST_PLAIN < point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    power = point - 1
    rest = f".{digits[1:]}" if len(digits) > 1 else ""
    return f"{sign}{digits[0]}{rest}e{'+' if power > 0 else '-'}{abs(power)}"

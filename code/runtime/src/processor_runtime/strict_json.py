"""I-JSON (RFC 7493): the JSON that every reader understands alike.

orjson is fast and strict about syntax, UTF-8, surrogates and infinities, but it
takes duplicate keys (the last one wins) and reads integers past 2^64 as floats.
Two systems can then see two different requests, so those are refused here.
"""

import re
from typing import Any, Final

import orjson

MAX_LEVELS: Final = 64
MAX_INTEGER: Final = 2**53 - 1
LONGEST_INTEGER: Final = len(f"-{MAX_INTEGER}")

_STRING: Final = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_OF_NUMBERS: Final = b"0123456789.eE+-"
_LONG: Final = len(str(MAX_INTEGER))
_LONG_NUMBER: Final = re.compile(b"[%b]{%d,}" % (re.escape(_OF_NUMBERS), _LONG))
# whether there is one at all a search for zeros tells sooner than the pattern, once each of those bytes is one
_ZEROS: Final = bytes(ord("0") if byte in _OF_NUMBERS else ord(" ") for byte in range(256))
_INTEGER: Final = re.compile(rb"-?[0-9]+")


class JsonError(ValueError):
    """The bytes are not I-JSON."""


def loads(data: bytes) -> Any:  # any JSON value
    """Return the value that *data* spells.

    Raises:
        JsonError: not UTF-8 or with a BOM, not JSON, a duplicate key, a lone
            surrogate, an integer (a number without fraction or exponent)
            beyond ±(2^53-1), a number that is not finite, or more than 64
            levels of containers.

    Source: RFC 7493 §2; CONTRACT §2.
    """
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError as exc:
        raise JsonError(exc.msg) from exc
    keys = _keys(value, 1)
    if data.count(b":") == keys and b"0" * _LONG not in data.translate(_ZEROS):
        return value
    # what is left without its strings is structure and numbers: one colon a key
    rest = _STRING.sub(b"", data)
    if keys != rest.count(b":"):
        reason = "duplicate key"
        raise JsonError(reason)
    for number in _LONG_NUMBER.findall(rest):
        # the length first: int() of a megabyte of digits takes minutes
        if _INTEGER.fullmatch(number) and (len(number) > LONGEST_INTEGER or abs(int(number)) > MAX_INTEGER):
            reason = "integer beyond 2^53-1"
            raise JsonError(reason)
    return value


def _keys(value: Any, level: int) -> int:  # any JSON value
    """Return how many keys *value* holds at any depth."""
    if type(value) is dict:
        count = len(value)
        children: Any = value.values()
    elif type(value) is list:
        count = 0
        children = value
    else:
        return 0
    if level > MAX_LEVELS:
        reason = "more than 64 levels"
        raise JsonError(reason)
    for child in children:
        kind = type(child)
        if kind is dict or kind is list:
            count += _keys(child, level + 1)
    return count

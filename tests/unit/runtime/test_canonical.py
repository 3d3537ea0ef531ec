"""The one spelling of a value is RFC 8785's, whichever library writes it."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
import rfc8785
from hypothesis import example, given, settings
from hypothesis import strategies as st

from processor_runtime import canonical
from tests.unit.runtime.json_values import values

# Characters on both sides of each border at which the orders of UTF-8, UTF-16 and Python's strings part
_BORDERS = st.text(
    alphabet='\x00\x1f"\\/a\x7f\x80é\u2028\ud7ff\ue000\ufb33\uffff\U00010000\U0001f600\U0010ffff',
    max_size=3,
)

SPELLINGS = [
    pytest.param({}, b"{}", id="an empty object"),
    pytest.param({"b": 1, "a": [True, None, "x"]}, b'{"a":[true,null,"x"],"b":1}', id="sorted, without white space"),
    pytest.param({"a": 1.0, "b": 1e21, "c": -0.0}, b'{"a":1,"b":1e+21,"c":0}', id="numbers as ECMAScript writes them"),
    pytest.param({"a": 1e-7, "b": 333333333.33333329}, b'{"a":1e-7,"b":333333333.3333333}', id="small and long floats"),
    pytest.param({"a": '\x0f\n\b"\\/'}, b'{"a":"\\u000f\\n\\b\\"\\\\/"}', id="the shortest escapes"),
    pytest.param({"€": 1, "\r": 2, "1": 3}, '{"\\r":2,"1":3,"€":1}'.encode(), id="escaped keys in their own order"),
    pytest.param(
        {"\ufb33": 1, "\U0001f600": 2}, '{"\U0001f600":2,"\ufb33":1}'.encode(), id="UTF-16 puts pairs before U+FB33"
    ),
]


@pytest.mark.parametrize(("value", "spelling"), SPELLINGS)
def test_a_value_has_the_spelling_of_rfc_8785(value: dict[str, Any], spelling: bytes) -> None:
    """Section 3.2: white space, literals, strings, numbers and the order of keys."""
    assert canonical.dumps(value) == spelling


@given(values)
@example({"\U00010000": {"\uffff": 1}, "\uffff": [1.5]})
def test_every_value_is_written_as_the_reference_writes_it(value: object) -> None:
    """Also where orjson is taken because it is faster."""
    assert canonical.dumps(value) == rfc8785.dumps(value)  # type: ignore[arg-type]  # any JSON value


@settings(max_examples=60)
@given(st.dictionaries(_BORDERS, st.one_of(st.integers(-9, 9), st.dictionaries(_BORDERS, st.none(), max_size=3))))
def test_keys_are_ordered_by_their_utf_16_units_at_every_level(value: dict[str, Any]) -> None:
    """Where the orders of UTF-8 and UTF-16 part, the latter counts."""
    assert canonical.dumps(value) == rfc8785.dumps(value)


@settings(max_examples=40)
@given(st.dictionaries(st.text(max_size=5), values, min_size=1, max_size=4))
def test_the_order_in_which_a_value_was_made_does_not_show(value: dict[str, Any]) -> None:
    """Two clients that send the same inputs have the same hash."""
    backwards = dict(reversed(list(value.items())))

    assert canonical.sha256(backwards) == canonical.sha256(value)


def test_the_hash_is_that_of_the_canonical_bytes() -> None:
    """64 lower-case hexadecimal digits."""
    assert canonical.sha256({"b": 1.0, "a": "é"}) == hashlib.sha256('{"a":"é","b":1}'.encode()).hexdigest()


def test_values_that_differ_have_hashes_that_differ() -> None:
    """`1` and `"1"`, a missing key and a null one."""
    others: list[Any] = [{"a": 1}, {"a": "1"}, {"a": None}, {}, {"a": True}, [], "", None]

    assert len({canonical.sha256(value) for value in others}) == len(others)

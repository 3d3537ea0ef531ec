"""RFC 8785, written anew for the kit: the RFC's own examples, and the runtime's library as a second opinion."""

from __future__ import annotations

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from processor_conformance import jcs

SAFE = 2**53 - 1
TEXT = st.text(st.characters(codec="utf-8"))
SCALARS = st.none() | st.booleans() | st.integers(-SAFE, SAFE) | st.floats(allow_nan=False, allow_infinity=False) | TEXT
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner), max_leaves=20)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (-0.0, "0"),
        (5e-324, "5e-324"),
        (-1.7976931348623157e308, "-1.7976931348623157e+308"),
        (9007199254740992.0, "9007199254740992"),
        (295147905179352830000.0, "295147905179352830000"),
        (1e21, "1e+21"),
        (1e23, "1e+23"),
        (9.999999999999997e-7, "9.999999999999997e-7"),
        (0.000001, "0.000001"),
        (333333333.33333325, "333333333.33333325"),
    ],
)
def test_numbers_are_written_as_ecmascript_does(value: float, text: str) -> None:
    """Samples of RFC 8785, appendix B."""
    assert jcs.number(value) == text


def test_keys_are_ordered_by_their_utf16_code_units() -> None:
    """RFC 8785, 3.2.3: an emoji comes before U+FB33, because its first surrogate does."""
    value = {"\ufb33": 1, "\U0001f600": 2, "\u20ac": 3, "1": 4}

    assert jcs.dumps(value).decode() == '{"1":4,"\u20ac":3,"\U0001f600":2,"\ufb33":1}'


@given(VALUES)
def test_both_implementations_agree(value: object) -> None:
    """The kit's and the runtime's are written by different hands."""
    assert jcs.dumps(value) == rfc8785.dumps(value)  # type: ignore[arg-type]  # any JSON value


def test_what_is_no_json_number_is_refused() -> None:
    """JSON has no NaN."""
    with pytest.raises(ValueError, match="not a JSON number"):
        jcs.number(float("nan"))

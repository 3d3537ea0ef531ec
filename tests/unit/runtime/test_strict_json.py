"""I-JSON is taken as every reader understands it; all else is refused, and nothing but `JsonError` comes out."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from processor_runtime.strict_json import JsonError, loads
from tests.unit.runtime.json_values import values

ACCEPTED = [
    pytest.param(b"{}", {}, id="an empty object"),
    pytest.param(b' \t\r\n{"a" : 1 } \n', {"a": 1}, id="white space around and between"),
    pytest.param(b'{"a": 1, "b": {"a": 2}, "c": [{"a": 3}]}', {"a": 1, "b": {"a": 2}, "c": [{"a": 3}]}, id="keys"),
    pytest.param(b'{"a": 1, "A": 2}', {"a": 1, "A": 2}, id="keys that differ by case"),
    pytest.param('{"é": 1, "e\u0301": 2}'.encode(), {"é": 1, "e\u0301": 2}, id="keys alike only when normalised"),
    pytest.param(b'{"a:b": "c:d", "\\"x\\":1": 1}', {"a:b": "c:d", '"x":1': 1}, id="colons and quotes inside strings"),
    pytest.param(b'{"a\\\\": "b\\\\"}', {"a\\": "b\\"}, id="backslashes before closing quotes"),
    pytest.param(b'"\\ud83d\\ude00"', "\N{GRINNING FACE}", id="an escaped surrogate pair"),
    pytest.param(b'"\\uffff\\ufdd0"', "\uffff\ufdd0", id="escaped noncharacters"),
    pytest.param("\uffff\U0010ffff".join('""').encode(), "\uffff\U0010ffff", id="noncharacters as bytes"),
    pytest.param(b'"\\u0000"', "\0", id="an escaped NUL"),
    pytest.param(b"9007199254740991", 2**53 - 1, id="the largest integer"),
    pytest.param(b"-9007199254740991", -(2**53) + 1, id="the smallest integer"),
    pytest.param(b"9007199254740993.0", 9007199254740992.0, id="a large number with a fraction"),
    pytest.param(b"9007199254740993e0", 9007199254740992.0, id="a large number with an exponent"),
    pytest.param(b"1E400".replace(b"400", b"308"), 1e308, id="a float near the end of the range"),
    pytest.param(b"1e-400", 0.0, id="a float too small for a double"),
    pytest.param(b"-0", 0, id="minus zero"),
    pytest.param(b'"9007199254740993"', "9007199254740993", id="digits in a string are no number"),
    pytest.param(b'{"9007199254740993": null}', {"9007199254740993": None}, id="nor in a key"),
    pytest.param(b"true", True, id="a bare scalar"),
]
REFUSED = [
    pytest.param(b"", id="nothing"),
    pytest.param(b" ", id="white space"),
    pytest.param(b"\xef\xbb\xbf{}", id="a BOM"),
    pytest.param("{}".encode("utf-16"), id="UTF-16"),
    pytest.param(b'"\xff"', id="a byte that is not UTF-8"),
    pytest.param(b'"\xc0\xaf"', id="an overlong form"),
    pytest.param(b'"\xed\xa0\x80"', id="a surrogate as bytes"),
    pytest.param(b'"\xf4\x90\x80\x80"', id="beyond U+10FFFF"),
    pytest.param(b'"\\ud800"', id="a lone high surrogate"),
    pytest.param(b'"\\udc00"', id="a lone low surrogate"),
    pytest.param(b'"\\ud800\\ud800"', id="two high surrogates"),
    pytest.param(b'"\\ude00\\ud83d"', id="a pair in the wrong order"),
    pytest.param(b'{"\\udfff": 1}', id="a lone surrogate in a key"),
    pytest.param(b'{"a": 1, "a": 1}', id="a key twice with one value"),
    pytest.param(b'{"a": 1, "\\u0061": 2}', id="a key twice in two spellings"),
    pytest.param(b'{"": 1, "": 2}', id="the empty key twice"),
    pytest.param(b'[[{"x": {"a": 1, "b": 2, "a": 3}}]]', id="a key twice deep inside"),
    pytest.param(b'{"a:": 1, "a:": 2}', id="a key with a colon twice"),
    pytest.param(b"9007199254740992", id="2^53"),
    pytest.param(b"-9007199254740992", id="-2^53"),
    pytest.param(b'{"a": [18446744073709551616]}', id="2^64, which many readers take for a float"),
    pytest.param(b"1" * 1_000_000, id="a megabyte of digits"),
    pytest.param(b"1e400", id="infinity by overflow"),
    pytest.param(b"-1e400", id="minus infinity by overflow"),
    pytest.param(b"NaN", id="NaN"),
    pytest.param(b"[Infinity]", id="Infinity"),
    pytest.param(b"01", id="a leading zero"),
    pytest.param(b"+1", id="a plus sign"),
    pytest.param(b".5", id="no digit before the point"),
    pytest.param(b"[1,]", id="a trailing comma"),
    pytest.param(b"{} {}", id="two values"),
    pytest.param(b"{} // x", id="a comment"),
    pytest.param(b"{'a': 1}", id="single quotes"),
    pytest.param(b'"a\nb"', id="a control character in a string"),
    pytest.param(b'{"a": 1', id="an unfinished object"),
    pytest.param(b"\x00", id="a NUL"),
]
OPENINGS = [pytest.param(b"[", b"]", id="lists"), pytest.param(b'{"a":', b"}", id="objects")]


@pytest.mark.parametrize(("raw", "value"), ACCEPTED)
def test_i_json_is_accepted(raw: bytes, value: object) -> None:
    """With the value that the text spells, of the same type."""
    found = loads(raw)

    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize("raw", REFUSED)
def test_what_is_not_i_json_is_refused(raw: bytes) -> None:
    """RFC 7493 section 2, and the contract's sharper reading of numbers."""
    with pytest.raises(JsonError):
        loads(raw)


@pytest.mark.parametrize(("opening", "closing"), OPENINGS)
def test_64_levels_are_accepted_and_65_are_not(opening: bytes, closing: bytes) -> None:
    """The outermost container is the first level; a scalar inside is none."""
    loads(opening * 64 + b"1" + closing * 64)

    with pytest.raises(JsonError):
        loads(opening * 65 + b"1" + closing * 65)


@pytest.mark.parametrize("levels", [65, 1_000, 100_000])
def test_a_bottomless_document_is_refused(levels: int) -> None:
    """However deep: no recursion error, no crash."""
    with pytest.raises(JsonError):
        loads(b"[" * levels + b"]" * levels)


@given(values, st.booleans())
@example({"": {"": [{"": ""}]}}, True)  # noqa: FBT003 - a parameter of the property
def test_whatever_json_dumps_writes_within_the_limits_is_accepted_and_equal(value: object, ascii_only: object) -> None:
    """Escaped or not, indented or not."""
    assert loads(json.dumps(value, ensure_ascii=bool(ascii_only)).encode()) == value
    assert loads(json.dumps(value, indent=1).encode()) == value


def _escaped(text: str) -> str:
    """Return *text* as a JSON string in which every character is an escape."""
    units = text.encode("utf-16-be")
    return '"' + "".join(f"\\u{units[at]:02x}{units[at + 1]:02X}" for at in range(0, len(units), 2)) + '"'


@settings(max_examples=60)
@given(
    key=st.text(max_size=8),
    others=st.dictionaries(st.text(max_size=4), values, max_size=3),
    first=values,
    second=values,
    escaped=st.booleans(),
    wrappers=st.lists(st.sampled_from(["[{}]", '{{"k": {}}}', '[1, {{"a": [2]}}, {}, "x"]']), max_size=8),
)
def test_any_duplicate_key_at_any_depth_is_refused(
    *, key: str, others: dict[str, Any], first: object, second: object, escaped: bool, wrappers: list[str]
) -> None:
    """Whatever the values, and however the second one is spelled."""
    others.pop(key, None)
    rows = [f"{json.dumps(key)}: {json.dumps(first)}"]
    rows += [f"{json.dumps(name)}: {json.dumps(value)}" for name, value in others.items()]
    good = "{" + ", ".join(rows) + "}"
    bad = "{" + ", ".join([*rows, f"{_escaped(key) if escaped else json.dumps(key)}: {json.dumps(second)}"]) + "}"
    for wrapper in wrappers:
        good, bad = wrapper.format(good), wrapper.format(bad)

    loads(good.encode())
    with pytest.raises(JsonError):
        loads(bad.encode())


@given(
    st.one_of(st.integers(min_value=2**53), st.integers(max_value=-(2**53))),
    st.sampled_from(["{}", "[{}]", '{{"a": [0, {}]}}']),
)
def test_an_integer_that_a_double_cannot_hold_is_refused_wherever_it_stands(number: int, around: str) -> None:
    """A reader with doubles would see another number."""
    with pytest.raises(JsonError):
        loads(around.format(number).encode())


def _damaged(raw: bytes, at: int, byte: int) -> bytes:
    at %= len(raw)
    return raw[:at] + bytes([byte]) + raw[at + 1 :]


@given(
    st.one_of(
        st.binary(max_size=64),
        st.text(alphabet='{}[]",:\\u0123456789abcdeE+-. \n', max_size=40).map(str.encode),
        st.builds(
            _damaged, values.map(lambda value: json.dumps(value).encode()), st.integers(0, 10_000), st.integers(0, 255)
        ),
    )
)
def test_nothing_but_a_json_error_comes_out_of_arbitrary_bytes(raw: bytes) -> None:
    """What is accepted is what the standard library reads too."""
    with contextlib.suppress(JsonError):
        assert loads(raw) == json.loads(raw)

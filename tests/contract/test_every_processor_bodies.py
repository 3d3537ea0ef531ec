"""Every processor reads I-JSON and nothing else (§2 "body", RFC 7493)."""

from __future__ import annotations

import json

import pytest

from tests.contract.requests import Request
from tests.support.service import Service

MOST = 2**53 - 1


def with_context(service: Service, context: str | bytes) -> Request:
    """Return a good request whose `context`, where any JSON may stand, is spelt exactly so."""
    request = Request.good(service)
    spelt = context if isinstance(context, bytes) else context.encode()
    request.body = json.dumps(request.payload).encode()[:-1] + b', "context": {"x": ' + spelt + b"}}"
    return request


def nested(levels: int, *, opened: str = "[", closed: str = "]") -> str:
    """Return containers in containers, *levels* of them."""
    return opened * levels + ("1" if opened != "[" else "") + closed * levels


NOT_JSON = [
    pytest.param(b"", id="nothing"),
    pytest.param(b" \n", id="white space"),
    pytest.param(b"[]", id="an array"),
    pytest.param(b'"x"', id="a string"),
    pytest.param(b"5", id="a number"),
    pytest.param(b"null", id="null"),
    pytest.param(b"true", id="true"),
    pytest.param(b"{", id="a beginning"),
    pytest.param(b"}", id="an end"),
    pytest.param(b"{}{}", id="two objects"),
    pytest.param(b"{},", id="an object and a comma"),
    pytest.param(b"{'schema': 'v1'}", id="single quotes"),
    pytest.param(b"{schema: 1}", id="a bare key"),
    pytest.param(b"a=1&b=2", id="a form"),
    pytest.param(b"\x00", id="a NUL"),
    pytest.param(b"\xff\xfe{\x00}\x00", id="UTF-16"),
    pytest.param(b"[" * 100_000, id="a hundred thousand brackets"),
    pytest.param(b'{"a":' * 50_000, id="fifty thousand objects"),
]


@pytest.mark.parametrize("body", NOT_JSON)
def test_what_is_no_object_is_refused(service: Service, body: bytes) -> None:
    """Whatever it is, the answer is the same."""
    Request(service, {}, body=body).refused("ERR_INPUTS", "Invalid JSON body", echoed=False)


@pytest.mark.parametrize("head", [b"\xef\xbb\xbf", b"\x0c", b"\x0b", b"\xc2\xa0", b"/**/", b"\x1e", b")]}',\n"])
def test_nothing_but_white_space_comes_before_the_object(service: Service, head: bytes) -> None:
    """No byte order mark, and no white space that is not JSON's."""
    request = Request.good(service)
    request.body = head + request.content()

    request.refused("ERR_INPUTS", "Invalid JSON body", echoed=False)


def test_white_space_may_stand_around_everything(service: Service) -> None:
    """The four characters that JSON knows."""
    request = Request.good(service)
    request.body = b" \t\r\n" + json.dumps(request.payload, indent=1).encode() + b" \t\r\n"

    assert request.send().json()["status"] == "success"


BAD_VALUES = [
    pytest.param('{"a": 1, "a": 1}', id="a key twice"),
    pytest.param('{"a": 1, "\\u0061": 1}', id="a key twice, in two spellings"),
    pytest.param('[{"b": {"a": 1, "c": [], "a": 2}}]', id="a key twice, far inside"),
    pytest.param('{"": 1, "": 1}', id="the empty key twice"),
    pytest.param('"\\ud800"', id="a high surrogate alone"),
    pytest.param('"\\udc00"', id="a low surrogate alone"),
    pytest.param('"\\udc00\\ud800"', id="surrogates in the wrong order"),
    pytest.param('"\\ud83d\\ud83d\\ude00"', id="one surrogate too many"),
    pytest.param('"\\ud800x"', id="a surrogate and a letter"),
    pytest.param('{"\\ud800": 1}', id="a lone surrogate in a key"),
    pytest.param('{"\\uD800": 1}', id="the same in capitals"),
    pytest.param(b'"\xed\xa0\x80"', id="a surrogate in UTF-8"),
    pytest.param(b'"\xff"', id="a byte that is never UTF-8"),
    pytest.param(b'"\xc0\xaf"', id="an overlong form"),
    pytest.param(b'"\xe2\x82"', id="a cut character"),
    pytest.param(b'"\xf4\x90\x80\x80"', id="beyond the last character"),
    pytest.param(str(MOST + 1), id="2^53"),
    pytest.param(str(-MOST - 1), id="-2^53"),
    pytest.param(str(2**64), id="2^64"),
    pytest.param("[" + "9" * 5000 + "]", id="5000 digits"),
    pytest.param("1e400", id="a number beyond doubles"),
    pytest.param("-1E+309", id="its opposite"),
    pytest.param("9" * 400 + ".5", id="400 digits and a fraction"),
    pytest.param("NaN", id="NaN"),
    pytest.param("Infinity", id="Infinity"),
    pytest.param("-Infinity", id="-Infinity"),
    pytest.param("01", id="a leading zero"),
    pytest.param("+1", id="a plus"),
    pytest.param(".5", id="no digit before the point"),
    pytest.param("5.", id="no digit after the point"),
    pytest.param("0x10", id="hexadecimal"),
    pytest.param("1_000", id="an underscore"),
    pytest.param("True", id="Python's True"),
    pytest.param("undefined", id="undefined"),
    pytest.param("[1,]", id="a comma at the end"),
    pytest.param("[,1]", id="a comma at the beginning"),
    pytest.param('"a\nb"', id="a line break in a string"),
    pytest.param('"\t"', id="a tab in a string"),
    pytest.param(b'"\x00"', id="a NUL in a string"),
    pytest.param('"\\x41"', id="an escape that is none"),
    pytest.param('"\\u12G4"', id="half an escape"),
    pytest.param("// no\n1", id="a comment"),
    pytest.param(nested(63), id="65 levels"),
    pytest.param(nested(63, opened='{"a":', closed="}"), id="65 levels of objects"),
    pytest.param(nested(2000), id="2000 levels"),
]


@pytest.mark.parametrize("spelt", BAD_VALUES)
def test_what_two_readers_could_read_in_two_ways_is_refused(service: Service, spelt: str | bytes) -> None:
    """Deep inside as well as at the top."""
    with_context(service, spelt).refused("ERR_INPUTS", "Invalid JSON body", echoed=False)


GOOD_VALUES = [
    pytest.param('"\\ud83d\\ude00"', id="a pair of surrogates"),
    pytest.param('"\\uffff\\ufdd0\\u0000"', id="noncharacters and an escaped NUL"),
    pytest.param('"\uffff\U0010ffff\x7f\u2028\ufeff"', id="noncharacters as they are"),
    pytest.param(str(MOST), id="2^53-1"),
    pytest.param(str(-MOST), id="-(2^53-1)"),
    pytest.param("1e16", id="a large number with an exponent"),
    pytest.param("9007199254740993.0", id="a large number with a fraction"),
    pytest.param("1.7976931348623157e308", id="the largest double"),
    pytest.param("5e-324", id="the smallest double"),
    pytest.param("-0", id="minus zero"),
    pytest.param('{"a": 1, "A": 1, "": 1, "a ": 1}', id="keys that are nearly the same"),
    pytest.param('[{"a": 1}, {"a": 1}]', id="a key in two objects"),
    pytest.param('"\\u0061\\/\\b\\f\\n\\r\\t\\"\\\\"', id="every escape"),
    pytest.param(nested(62), id="64 levels"),
    pytest.param(nested(62, opened='{"a":', closed="}"), id="64 levels of objects"),
    pytest.param('"[[[[{{{{"', id="brackets in a string"),
]


@pytest.mark.parametrize("spelt", GOOD_VALUES)
def test_all_that_is_i_json_is_taken(service: Service, spelt: str) -> None:
    """However unusual."""
    response = with_context(service, spelt).send()

    assert (response.status_code, response.json()["status"]) == (200, "success"), response.text


def test_the_context_comes_back_in_the_receipt_as_it_was_sent(service: Service) -> None:
    """Large numbers and unusual characters unharmed."""
    context = {"most": MOST, "least": -MOST, "text": "\uffff😀\u2028\x00", "half": 0.5, "deep": [[{}]], "none": None}
    request = Request.good(service, context=context)
    envelope = request.send().json()

    receipt = json.loads(service.file(envelope["index_path"]).with_name("receipt.json").read_bytes())
    assert receipt["context"] == context


def test_a_key_twice_is_refused_wherever_it_stands(service: Service) -> None:
    """At the top, where one would hide the other."""
    for name, value in Request.good(service).payload.items():
        request = Request.good(service)
        twice = f"{{{json.dumps(name)}: {json.dumps(value)}, ".encode()
        request.body = twice + request.content()[1:]
        request.refused("ERR_INPUTS", "Invalid JSON body", echoed=False)

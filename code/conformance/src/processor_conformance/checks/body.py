"""The body of a request: media type, size, and I-JSON.

Each body is that of a request whose `ref` is another image's, so that one which
is taken for JSON is refused as `ERR_REF_MISMATCH` and runs nothing.
"""

from __future__ import annotations

import json

from processor_conformance.catalogue import check
from processor_conformance.outcome import NotCheckedError
from processor_conformance.service import Request, Service
from processor_conformance.wire import Answer

DEFAULT_LIMIT = 16 * 1024 * 1024
LARGEST_SENT = 64 * 1024 * 1024
BIG = 2**53


def _raw(request: Request) -> bytes:
    return json.dumps(request).encode()


def _with_context(service: Service, context: bytes) -> bytes:
    """Return a body whose `context` is written exactly so."""
    return _raw(service.probe())[:-1] + b',"context":' + context + b"}"


def _expect_broken(answer: Answer) -> None:
    answer.expect_refused(400, "ERR_INPUTS", "Invalid JSON body")


def _expect_taken(answer: Answer) -> None:
    answer.expect_refused(400, "ERR_REF_MISMATCH")


async def _expect_all_broken(service: Service, *contexts: bytes) -> None:
    for context in contexts:
        note = f"a request with context {context[:80]!r}"
        _expect_broken(await service.run(_with_context(service, context), note=note))


@check("C-REQ-01", "2")
async def media_type(service: Service) -> None:
    """A media type other than `application/json` is 415 `ERR_INPUTS`, and so is none.

    The message is "Content-Type must be application/json".
    """
    for kind in ("text/plain", "application/x-www-form-urlencoded", "application/jsonp", "application/ld+json", None):
        headers = [("Content-Type", kind)] if kind else []
        answer = await service.run(service.probe(), headers=headers, note=f"as {kind or 'nothing'}")
        answer.expect_refused(415, "ERR_INPUTS", "Content-Type must be application/json")


@check("C-REQ-02", "2")
async def media_type_parameters(service: Service) -> None:
    """Parameters of the media type are allowed."""
    for kind in ("application/json; charset=utf-8", 'application/json;a="b"'):
        _expect_taken(await service.run(service.probe(), headers=[("Content-Type", kind)], note=f"as {kind}"))


@check("C-REQ-03", "2")
async def content_encoding(service: Service) -> None:
    """A `Content-Encoding` is 415 `ERR_INPUTS`."""
    answer = await service.run(service.probe(), extra=[("Content-Encoding", "gzip")], note="Content-Encoding: gzip")
    answer.expect_refused(415, "ERR_INPUTS", "Content-Type must be application/json")


def _limit(service: Service) -> int:
    limit = service.facts.limit("max_body_bytes", DEFAULT_LIMIT)
    if limit > LARGEST_SENT:
        raise NotCheckedError(f"a limit of at most {LARGEST_SENT} bytes")
    return limit


async def _sized(service: Service, size: int, *, chunked: bool = False) -> Answer:
    note = f"{size} bytes{', chunked' if chunked else ''}"
    return await service.run(_raw(service.probe()).ljust(size), chunked=chunked, note=note)


def _expect_too_large(answer: Answer) -> None:
    answer.expect_refused(413, "ERR_INPUTS", "Request body too large")


@check("C-REQ-04", "2")
async def too_large(service: Service) -> None:
    """A body larger than the limit is 413 `ERR_INPUTS` "Request body too large"."""
    _expect_too_large(await _sized(service, _limit(service) + 1))


@check("C-REQ-05", "2")
async def too_large_in_chunks(service: Service) -> None:
    """A chunked body larger than the limit is 413 too."""
    _expect_too_large(await _sized(service, _limit(service) + 1, chunked=True))


@check("C-REQ-06", "2")
async def just_so_large(service: Service) -> None:
    """A body of exactly the limit is accepted."""
    _expect_taken(await _sized(service, _limit(service)))
    _expect_taken(await _sized(service, _limit(service), chunked=True))


@check("C-REQ-07", "2", start=True)
async def set_limit(service: Service) -> None:
    """`PROCESSOR_MAX_BODY_BYTES` sets the limit, for announced and chunked bodies."""
    async with service.another({"PROCESSOR_MAX_BODY_BYTES": "4096", "PROCESSOR_QUEUE": "1"}) as small:
        for chunked in (False, True):
            _expect_taken(await _sized(small, 4096, chunked=chunked))
            _expect_too_large(await _sized(small, 4097, chunked=chunked))


@check("C-REQ-08", "2")
async def no_json(service: Service) -> None:
    """A body that is not JSON is 400 `ERR_INPUTS` "Invalid JSON body": empty, cut, followed by more, with comments."""
    whole = _raw(service.probe())
    bodies = [b"", b" ", b"kit", whole[:-1], whole + whole, whole + b"/* kit */", whole[:-1] + b",}", b"\x00" + whole]
    bodies += [whole.replace(b'"', b"'"), b"{" + whole[1:].replace(b'"schema"', b"schema", 1)]
    for body in bodies:
        _expect_broken(await service.run(body))


@check("C-REQ-09", "2")
async def no_object(service: Service) -> None:
    """A body that is JSON but no object is "Invalid JSON body"."""
    for body in (b"[]", b'"kit"', b"1", b"null", b"true", b"[" + _raw(service.probe()) + b"]"):
        _expect_broken(await service.run(body))


@check("C-REQ-10", "2")
async def duplicate_keys(service: Service) -> None:
    """Duplicate keys are "Invalid JSON body", nested and escaped ones included."""
    whole = _raw(service.probe())
    _expect_broken(await service.run(whole[:-1] + b',"schema":"v1"}', note='a request with "schema" twice'))
    await _expect_all_broken(service, b'{"a":1,"a":1}', b'{"a":1,"\\u0061":2}', b'{"k":[{"a":1,"b":2,"a":3}]}')


@check("C-REQ-11", "2")
async def no_utf8(service: Service) -> None:
    """A body that is not UTF-8, or begins with a BOM, is "Invalid JSON body"."""
    whole = _raw(service.probe())
    _expect_broken(await service.run(b"\xef\xbb\xbf" + whole, note="a request behind a BOM"))
    _expect_broken(await service.run(whole.decode().encode("utf-16"), note="a request in UTF-16"))
    await _expect_all_broken(service, b'{"k":"\xff"}', b'{"k":"\xc0\x80"}', b'{"k":"\xed\xa0\x80"}', b'{"\xe9":1}')


@check("C-REQ-12", "2")
async def lone_surrogates(service: Service) -> None:
    """Lone surrogates are "Invalid JSON body", in values and in keys."""
    await _expect_all_broken(
        service, rb'{"k":"\ud800"}', rb'{"k":"\udc00\ud800"}', rb'{"k":["\uDFFFx"]}', rb'{"\ud83d":1}'
    )


@check("C-REQ-13", "2")
async def large_integers(service: Service) -> None:
    """Integers beyond ±(2^53-1) are "Invalid JSON body"."""
    numbers = [str(BIG), str(-BIG), str(2**64), "1" + "0" * 400]
    await _expect_all_broken(service, *(f'{{"k":{number}}}'.encode() for number in numbers))


@check("C-REQ-14", "2")
async def not_finite(service: Service) -> None:
    """Numbers that are not finite (`NaN`, `Infinity`, `1e999`) are "Invalid JSON body"."""
    numbers = [b"NaN", b"Infinity", b"-Infinity", b"1e999", b"-1e999"]
    await _expect_all_broken(service, *(b'{"k":%b}' % number for number in numbers))


def _nested(levels: int) -> bytes:
    """Return a context that makes the whole request *levels* levels of containers deep."""
    lists = levels - 2
    return b'{"k":' + b"[" * lists + b"]" * lists + b"}"


@check("C-REQ-15", "2")
async def too_deep(service: Service) -> None:
    """More than 64 levels of containers are "Invalid JSON body"."""
    await _expect_all_broken(service, _nested(65), _nested(20_000))


@check("C-REQ-16", "2")
async def all_that_is_allowed(service: Service) -> None:
    """What I-JSON allows is accepted.

    That is noncharacters, ±(2^53-1), larger numbers with an exponent or fraction, and 64 levels.
    """
    for context in (
        '{"k":"\ufdd0\uffff\U0001fffe"}'.encode(),
        rb'{"k":"\uFFFE\ud83d\ude00"}',
        f'{{"k":[{BIG - 1},{1 - BIG}]}}'.encode(),
        b'{"k":[1e20,1E300,-1.5e-7,18446744073709551616.0,-0,0.0,1e-999]}',
        b' { "k" :\t[\r\n] } ',
        _nested(64),
    ):
        answer = await service.run(_with_context(service, context), note=f"a request with context {context[:80]!r}")
        _expect_taken(answer)

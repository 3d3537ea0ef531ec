"""Routes and methods: whatever is asked, the answer is an envelope."""

from __future__ import annotations

from processor_conformance.catalogue import check
from processor_conformance.service import Service
from processor_conformance.wire import Answer

TEXT = [("Content-Type", "text/plain")]
ODD = [
    ("GET", "/%00"),
    ("GET", "/%ff%fe"),
    ("GET", "/..%2f..%2fetc%2fpasswd"),
    ("GET", "/kit?x=%zz&&=;"),
    ("GET", "//kit//run"),
    ("GET", f"/{'k' * 4000}"),
    ("PATCH", "/run"),
    ("OPTIONS", "/run"),
    ("TRACE", "/kit"),
    ("DELETE", "/healthz"),
]
ODD_HEADERS = [("X-Kit", "\xff\xfe"), ("Accept", "text/html;q=x"), ("Accept", ","), ("Cookie", "=;=")]


@check("C-ROUTE-01", "1")
async def unknown(service: Service) -> None:
    """An unknown route is 404 `ERR_NOT_FOUND`, an envelope with `execution_id` `""`."""
    answer = await service.send("GET", "/kit-no-such-route")
    answer.expect_refused(404, "ERR_NOT_FOUND", "not found")
    answer.expect(answer.envelope.get("execution_id") == "", 'execution_id ""')


@check("C-ROUTE-02", "1")
async def no_redirects(service: Service) -> None:
    """There are no redirects: `/run/` and `/healthz/` are 404."""
    (await service.send("POST", "/run/", service.probe())).expect_refused(404, "ERR_NOT_FOUND")
    (await service.send("GET", "/healthz/")).expect_refused(404, "ERR_NOT_FOUND")


@check("C-ROUTE-03", "1")
async def wrong_method(service: Service) -> None:
    """A wrong method is 405 `ERR_METHOD`, an envelope, with `Allow` naming the right one."""
    wrong = [("GET", "/run", "POST"), ("PUT", "/run", "POST"), ("POST", "/healthz", "GET")]
    if "contract" in service.facts.capabilities:
        wrong.append(("POST", "/contract", "GET"))
    if "stream" in service.facts.capabilities:
        wrong.append(("GET", "/run-stream", "POST"))
    if "cancel" in service.facts.capabilities:
        wrong.append(("POST", "/run/kit-none", "DELETE"))
    for method, path, right in wrong:
        answer = await service.send(method, path)
        answer.expect_refused(405, "ERR_METHOD", "method not allowed")
        allowed = [word.strip() for word in (answer.header("allow") or "").split(",")]
        answer.expect(right in allowed, f"an Allow header with {right}", f"Allow: {answer.header('allow')}")


@check("C-ROUTE-04", "1")
async def odd(service: Service) -> None:
    """Odd but parseable requests (escaped, long or doubled paths, unusual methods and headers) get an envelope too."""
    for method, path in ODD:
        _expect_some_refusal(await service.send(method, path))
    _expect_some_refusal(await service.send("GET", "/kit", headers=ODD_HEADERS, note="with odd headers"))


def _expect_some_refusal(answer: Answer) -> None:
    refused = answer.status >= 400 and answer.envelope.get("status") == "error" and answer.code.startswith("ERR_")
    answer.expect(refused, "an error envelope")


@check("C-ROUTE-05", "1")
async def reserved(service: Service) -> None:
    """`GET /run/{execution_id}` is reserved: it is refused now, with 404 or 405."""
    answer = await service.send("GET", "/run/kit-none")
    expected = (405, "ERR_METHOD") if answer.status == 405 else (404, "ERR_NOT_FOUND")
    answer.expect_refused(*expected)


@check("C-ROUTE-06", "2")
async def before_the_body(service: Service) -> None:
    """Route and method are looked at before the body: a bad body on an unknown route is 404, not 415."""
    answer = await service.send("POST", "/kit-no-such-route", b"{", headers=TEXT, note="a broken body as text/plain")
    answer.expect_refused(404, "ERR_NOT_FOUND")
    answer = await service.send("PUT", "/run", b"{", headers=TEXT, note="a broken body as text/plain")
    answer.expect_refused(405, "ERR_METHOD")

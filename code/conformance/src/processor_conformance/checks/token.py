"""`PROCESSOR_TOKEN`: before anything else is looked at."""

from __future__ import annotations

from processor_conformance.catalogue import check, unseen
from processor_conformance.service import Service
from processor_conformance.wire import Answer

TEXT = [("Content-Type", "text/plain")]


def _expect_unauthorized(answer: Answer) -> None:
    answer.expect_refused(401, "ERR_UNAUTHORIZED", "missing or wrong token")


@check("C-TOKEN-01", "1", token=True)
async def missing(service: Service) -> None:
    """Without a token: 401 `ERR_UNAUTHORIZED`, an envelope, with `WWW-Authenticate: Bearer`."""
    async with service.guarded() as (guarded, _):
        answer = await guarded.send("POST", "/run", guarded.probe(), token="")
        _expect_unauthorized(answer)
        told = answer.header("www-authenticate")
        answer.expect(told == "Bearer", "WWW-Authenticate: Bearer", f"WWW-Authenticate: {told}")


@check("C-TOKEN-02", "1", token=True)
async def wrong(service: Service) -> None:
    """A wrong token is refused: another one, a part of it, more than it, another scheme, none at all after `Bearer`."""
    async with service.guarded() as (guarded, token):
        values = ["Bearer kit-another", f"Bearer {token[:-1]}", f"Bearer {token}x", f"Basic {token}", "Bearer", token]
        for value in values:
            headers = [("Authorization", value)]
            answer = await guarded.send("POST", "/run", guarded.probe(), extra=headers, token="", note="a wrong token")
            _expect_unauthorized(answer)


@check("C-TOKEN-03", "1", token=True)
async def everywhere(service: Service) -> None:
    """Every route but `/healthz` wants it.

    These are `/run`, `/contract`, `/run-stream`, `DELETE /run/{id}`, `/openapi.json`, unknown routes and wrong methods.
    """
    async with service.guarded() as (guarded, _):
        for method, path in (
            ("GET", "/contract"),
            ("DELETE", "/run/kit-none"),
            ("GET", "/openapi.json"),
            ("GET", "/kit-no-such-route"),
            ("GET", "/run"),
            ("GET", "/"),
        ):
            _expect_unauthorized(await guarded.send(method, path, token=""))
        _expect_unauthorized(await guarded.send("POST", "/run-stream", guarded.probe(), token=""))


@check("C-TOKEN-04", "1", token=True)
async def first(service: Service) -> None:
    """It is checked before anything else is looked at: media type, size and body included."""
    async with service.guarded() as (guarded, _):
        for body, headers, note in (
            (b"{", TEXT, "text/plain"),
            (b"{", None, "no JSON"),
            (b" " * (17 * 1024 * 1024), None, "17 MiB"),
        ):
            answer = await guarded.send("POST", "/run", body, headers=headers, token="", note=note)
            _expect_unauthorized(answer)


@check("C-TOKEN-05", "1", token=True)
async def right(service: Service) -> None:
    """With the right token a request is served."""
    async with service.guarded() as (guarded, _):
        (await guarded.run(guarded.probe())).expect_refused(400, "ERR_REF_MISMATCH")


unseen(
    "C-TOKEN-06",
    "1",
    "The token is compared in constant time.",
    "the network's own noise hides it: read the code",
)

"""How an image registry is told who asks: by name and password, or by a token that its token service gives for them."""

import base64
import re
from collections.abc import AsyncGenerator
from typing import Final

import httpx2

from processor_runtime.errors import Detail

from .credentials import Credentials
from .errors import ImageRegistryError

_CLIENT: Final = "processorctl"
_PARAMETER: Final = re.compile(r'([a-zA-Z_]+)="([^"]*)"')


class Login(httpx2.Auth):
    """Answers the challenge of one image registry, and keeps what it answered for the next request.

    Args:
        host: The image registry; nobody else is told, wherever it sends us for a blob.
        credentials: The login; ``None`` asks as anybody, which may do for reading.

    Source: RFC 9110, section 11 (challenges); distribution, ``spec/auth/token.md`` and ``oauth.md``.
    """

    requires_response_body = True

    def __init__(self, host: str, credentials: Credentials | None) -> None:
        self._host = host
        self._credentials = credentials
        self._header = ""

    async def async_auth_flow(self, request: httpx2.Request) -> AsyncGenerator[httpx2.Request, httpx2.Response]:
        """Send *request*; where it is challenged, again with an answer."""
        if request.url.netloc.decode("ascii") != self._host:
            yield request
            return
        if self._header:
            request.headers["Authorization"] = self._header
        response = yield request
        if response.status_code != httpx2.codes.UNAUTHORIZED:
            return
        scheme, _, rest = response.headers.get("WWW-Authenticate", "").partition(" ")
        if scheme.lower() == "bearer":
            answer = yield self._token_request(dict(_PARAMETER.findall(rest)))
            await answer.aread()
            self._header = f"Bearer {_token(answer)}"
        elif scheme.lower() == "basic" and self._credentials:
            self._header = f"Basic {self._basic()}"
        else:
            return
        request.headers["Authorization"] = self._header
        yield request

    def _token_request(self, challenge: dict[str, str]) -> httpx2.Request:
        realm = challenge.get("realm", "")
        asked: dict[str, str] = {name: challenge[name] for name in ("service", "scope") if name in challenge}
        known = self._credentials
        if known and known.identity_token:
            form = {**asked, "client_id": _CLIENT, "grant_type": "refresh_token", "refresh_token": known.identity_token}
            return httpx2.Request("POST", realm, data=form)
        headers = {"Authorization": f"Basic {self._basic()}"} if known else {}
        return httpx2.Request("GET", realm, params=asked, headers=headers)

    def _basic(self) -> str:
        known = self._credentials or Credentials()
        return base64.b64encode(f"{known.user}:{known.password}".encode()).decode()


def _token(answer: httpx2.Response) -> str:
    try:
        value = answer.json()
        return str(value.get("token") or value["access_token"])
    except (ValueError, KeyError, AttributeError) as exc:
        reason = f"the token service answered {answer.status_code}: log in with `docker login`"
        raise ImageRegistryError(Detail(path=answer.request.url.host, message=reason)) from exc

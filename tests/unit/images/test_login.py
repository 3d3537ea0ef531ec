"""How a challenge of an image registry is answered, and to whom a login is told."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable

import httpx2
import pytest

from apps.core.images.credentials import Credentials
from apps.core.images.errors import ImageRegistryError
from apps.core.images.login import Login

HOST = "images.example"
ME = Credentials("me", "secret")
BASIC = "Basic " + base64.b64encode(b"me:secret").decode()
CHALLENGE = 'Bearer realm="https://tokens.example/token",service="images.example",scope="repository:o/i:pull,push"'

Serve = Callable[[httpx2.Request], httpx2.Response]


class Registry:
    """An image registry that wants *wanted*, and the token service that it names.

    Attributes:
        asked: Every request, in order.
        told: What each of them said of who asks.
    """

    def __init__(self, challenge: str, wanted: str, token: httpx2.Response | None = None) -> None:
        self.asked: list[httpx2.Request] = []
        self.told: list[str | None] = []
        self._challenge = challenge
        self._wanted = wanted
        self._token = token or httpx2.Response(200, json={"token": "good"})

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        """Answer *request*."""
        self.asked.append(request)
        self.told.append(request.headers.get("Authorization"))
        if request.url.host == "tokens.example":
            return self._token
        if request.headers.get("Authorization") == self._wanted:
            return httpx2.Response(200, text="in")
        return httpx2.Response(401, headers={"WWW-Authenticate": self._challenge})


def get(serve: Serve, login: Login, *paths: str) -> list[int]:
    """Return the status of a GET of each of *paths*."""

    async def work() -> list[int]:
        transport = httpx2.MockTransport(serve)
        async with httpx2.AsyncClient(transport=transport, auth=login, base_url=f"https://{HOST}") as client:
            return [(await client.get(path)).status_code for path in paths]

    return asyncio.run(work())


def test_a_name_and_password_are_sent_where_they_are_asked_for() -> None:
    """Not before, and from then on at once."""
    registry = Registry('Basic realm="x"', BASIC)

    assert get(registry, Login(HOST, ME), "/v2/a", "/v2/b") == [200, 200]
    assert registry.told == [None, BASIC, BASIC]


def test_a_token_is_fetched_for_them() -> None:
    """Of the service that the challenge names, for what it says."""
    registry = Registry(CHALLENGE, "Bearer good")

    assert get(registry, Login(HOST, ME), "/v2/a", "/v2/b") == [200, 200]
    (token,) = [request for request in registry.asked if request.url.host == "tokens.example"]
    assert dict(token.url.params) == {"service": HOST, "scope": "repository:o/i:pull,push"}
    assert token.headers["Authorization"] == BASIC


def test_an_identity_token_is_exchanged_for_one() -> None:
    """It travels in the body, never in an address."""
    registry = Registry(CHALLENGE, "Bearer good", httpx2.Response(200, json={"access_token": "good"}))

    assert get(registry, Login(HOST, Credentials(identity_token="long-lived")), "/v2/a") == [200]
    (token,) = [request for request in registry.asked if request.url.host == "tokens.example"]
    assert token.method == "POST"
    assert b"grant_type=refresh_token" in token.content
    assert b"refresh_token=long-lived" in token.content
    assert "long-lived" not in str(token.url)


def test_anybody_may_ask_for_a_token() -> None:
    """Public images need no login, and their registries a token all the same."""
    registry = Registry(CHALLENGE, "Bearer good")

    assert get(registry, Login(HOST, None), "/v2/a") == [200]
    assert registry.told == [None, None, "Bearer good"]


@pytest.mark.parametrize(
    ("challenge", "login"),
    [
        pytest.param('Basic realm="x"', None, id="nobody"),
        pytest.param('Basic realm="x"', Credentials("me", "wrong"), id="a wrong password"),
        pytest.param("Negotiate", ME, id="a scheme that we do not know"),
        pytest.param("", ME, id="no challenge"),
    ],
)
def test_who_is_refused_stays_refused(challenge: str, login: Credentials | None) -> None:
    """Once more at most, never in a circle."""
    registry = Registry(challenge, BASIC)

    assert get(registry, Login(HOST, login), "/v2/a") == [401]
    assert len(registry.asked) <= 2


def test_no_other_host_is_told() -> None:
    """A registry sends us elsewhere for its blobs, and could send us anywhere."""
    registry = Registry('Basic realm="x"', BASIC)

    assert get(registry, Login(HOST, ME), "/v2/a", "https://elsewhere.example/blob") == [200, 401]
    assert registry.told[-1] is None


@pytest.mark.parametrize(
    "answer",
    [httpx2.Response(401, json={"details": "no"}), httpx2.Response(200, text="<html>"), httpx2.Response(200, json=[])],
    ids=["refused", "no JSON", "no object"],
)
def test_a_token_service_that_gives_none_is_named(answer: httpx2.Response) -> None:
    """The registry itself would only say 401."""
    with pytest.raises(ImageRegistryError) as refused:
        get(Registry(CHALLENGE, "Bearer good", answer), Login(HOST, ME), "/v2/a")

    assert refused.value.details[0]["path"] == "tokens.example"
    assert "docker login" in refused.value.details[0]["message"]

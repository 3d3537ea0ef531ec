"""Proxy tokens: the pairs of Modal-Key and Modal-Secret that a web function lets in."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from grpclib import GRPCError, Status
from modal_proto import api_pb2

from .environment import Environments
from .ids import new_id
from .named import OWNER
from .rpc import Call, answers


@dataclass
class ProxyToken:
    """One pair, and the ids of the environments that it opens: a new one opens none."""

    secret: str
    name: str = ""
    environments: set[str] = field(default_factory=set)
    created_at: float = field(default_factory=time.time)


class ProxyTokens:
    """All pairs of the workspace.

    Args:
        environments: What they open.
        everywhere: A pair that opens every environment.
    """

    def __init__(self, environments: Environments, everywhere: tuple[str, str]) -> None:
        self._environments = environments
        self._everywhere = everywhere
        self._tokens: dict[str, ProxyToken] = {}

    def open(self, key: str, secret: str, environment: str) -> bool:
        """Whether a pair lets in, in *environment*."""
        token = self._tokens.get(key)
        allowed = token is not None and self._environments[environment].id in token.environments
        return (key, secret) == self._everywhere or (token is not None and allowed and secret == token.secret)

    @answers("WorkspaceNameLookup")
    def workspace(self, _request: Any, _: Call) -> api_pb2.WorkspaceNameLookupResponse:
        """Return the name of the workspace."""
        return api_pb2.WorkspaceNameLookupResponse(workspace_name="local", username="local")

    @answers("WebhookTokenCreate")
    def create(self, request: api_pb2.WebhookTokenCreateRequest, _: Call) -> api_pb2.TokenCreateResponse:
        """Create a pair; its secret is told this once."""
        token_id, secret = new_id("wk"), new_id("ws")
        self._tokens[token_id] = ProxyToken(secret, request.name)
        return api_pb2.TokenCreateResponse(token_id=token_id, token_secret=secret)

    @answers("WebhookTokenList")
    def list(self, _request: Any, _: Call) -> api_pb2.WebhookTokenListResponse:
        """Return all pairs, without their secrets."""
        return api_pb2.WebhookTokenListResponse(tokens=[_row(*each) for each in self._tokens.items()])

    @answers("WebhookTokenListForEnvironment")
    def list_for(
        self, request: api_pb2.WebhookTokenListForEnvironmentRequest, _: Call
    ) -> api_pb2.WebhookTokenListResponse:
        """Return the pairs that open an environment."""
        environment = self._environments[request.environment_name].id
        rows = [_row(*each) for each in self._tokens.items() if environment in each[1].environments]
        return api_pb2.WebhookTokenListResponse(tokens=rows)

    @answers("WebhookTokenEnvironmentAdd")
    def allow(self, request: api_pb2.WebhookTokenEnvironmentAddRequest, _: Call) -> None:
        """Let a pair open an environment."""
        self._token(request.token_id).environments.add(request.environment_id)

    @answers("WebhookTokenEnvironmentRemove")
    def revoke(self, request: api_pb2.WebhookTokenEnvironmentRemoveRequest, _: Call) -> None:
        """Let a pair open an environment no longer."""
        self._token(request.token_id).environments.discard(request.environment_id)

    @answers("WebhookTokenDelete")
    def delete(self, request: api_pb2.TokenDeleteRequest, _: Call) -> None:
        """Forget a pair."""
        self._token(request.token_id)
        del self._tokens[request.token_id]

    def _token(self, token_id: str) -> ProxyToken:
        if token_id not in self._tokens:
            raise GRPCError(Status.NOT_FOUND, f"Proxy token {token_id} not found")
        return self._tokens[token_id]


def _row(token_id: str, token: ProxyToken) -> api_pb2.WebhookToken:
    who = api_pb2.UserIdentity(username=OWNER)
    return api_pb2.WebhookToken(token_id=token_id, created_at=token.created_at, name=token.name, created_by=who)

"""Secrets: written, merged, listed and deleted; their values leave only into containers."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from grpclib import GRPCError, Status
from modal_proto import api_pb2

from .environment import Environments
from .ids import new_id
from .named import Entry, Shelf
from .rpc import Call, answers


@dataclass
class Secret(Entry):
    """One secret: variables of a container's environment."""

    values: dict[str, str] = field(default_factory=dict)
    last_used_at: float = 0

    def metadata(self) -> api_pb2.SecretMetadata:
        """Return what the SDK learns of it: the keys, never a value."""
        return api_pb2.SecretMetadata(
            name=self.name,
            creation_info=self.creation_info(),
            keys=sorted(self.values),
            environment_name=self.environment,
            last_used_at=self.last_used_at,
        )


class Secrets:
    """All secrets of the workspace."""

    def __init__(self, environments: Environments) -> None:
        self._environments = environments
        self._shelf: Shelf[Secret] = Shelf("Secret")

    def named(self, name: str, environment: str = "") -> Secret | None:
        """Return the secret of that name: for tests, which may look at its values."""
        return self._shelf.named(name, self._environments[environment].name)

    def environ(self, ids: Iterable[str]) -> dict[str, str]:
        """Return the variables that the secrets *ids* put into a container; later ones win."""
        variables: dict[str, str] = {}
        for secret_id in ids:
            secret = self._shelf[secret_id]
            secret.last_used_at = time.time()
            variables |= secret.values
        return variables

    def values(self, secret_id: str) -> dict[str, str]:
        """Return the values of one secret."""
        return dict(self._shelf[secret_id].values)

    @answers("SecretGetOrCreate")
    def get_or_create(self, request: api_pb2.SecretGetOrCreateRequest, _: Call) -> api_pb2.SecretGetOrCreateResponse:
        """Return the id and the keys of a secret, a new one if the request says so."""
        environment = self._environments[request.environment_name].name

        def make() -> Secret:
            return Secret(new_id("st"), request.deployment_name, environment, values=dict(request.env_dict))

        secret = self._shelf.get_or_create(request.deployment_name, environment, request.object_creation_type, make)
        missing = sorted(set(request.required_keys) - secret.values.keys())
        if missing:
            raise GRPCError(
                Status.NOT_FOUND, f"Secret '{secret.name}' is missing required key(s): {', '.join(missing)}"
            )
        return api_pb2.SecretGetOrCreateResponse(secret_id=secret.id, metadata=secret.metadata())

    @answers("SecretUpdate")
    def update(self, request: api_pb2.SecretUpdateRequest, _: Call) -> None:
        """Merge values into a secret."""
        secret = self._shelf[request.secret_id]
        for change in request.updates:
            if change.HasField("value"):
                secret.values[change.key] = change.value
            else:
                secret.values.pop(change.key, None)

    @answers("SecretDelete")
    def delete(self, request: api_pb2.SecretDeleteRequest, _: Call) -> None:
        """Delete a secret; deployed functions keep what they have."""
        self._shelf.delete(request.secret_id)

    @answers("SecretList")
    def list(self, request: api_pb2.SecretListRequest, _: Call) -> api_pb2.SecretListResponse:
        """Return a page of an environment's secrets."""
        environment = self._environments[request.environment_name].name
        return api_pb2.SecretListResponse(
            environment_name=environment,
            items=[
                api_pb2.SecretListItem(
                    label=secret.name,
                    created_at=secret.created_at,
                    last_used_at=secret.last_used_at,
                    environment_name=environment,
                    secret_id=secret.id,
                    metadata=secret.metadata(),
                )
                for secret in self._shelf.page(environment, request.pagination)
            ],
        )

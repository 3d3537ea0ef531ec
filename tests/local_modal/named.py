"""Objects that have an id, and a name in one environment: secrets and volumes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

from grpclib import GRPCError, Status
from modal_proto import api_pb2

OWNER: Final = "tester"  # who did it, as far as the local Modal knows

_LOOK_UP: Final = api_pb2.OBJECT_CREATION_TYPE_UNSPECIFIED
_NEVER_NEW: Final = api_pb2.OBJECT_CREATION_TYPE_CREATE_FAIL_IF_EXISTS
_NAMELESS: Final = (api_pb2.OBJECT_CREATION_TYPE_ANONYMOUS_OWNED_BY_APP, api_pb2.OBJECT_CREATION_TYPE_EPHEMERAL)
_REPLACE: Final = api_pb2.OBJECT_CREATION_TYPE_CREATE_OVERWRITE_IF_EXISTS


@dataclass
class Entry:
    """What every such object has. *name* is ``""`` for one that only an app knows."""

    id: str
    name: str
    environment: str
    created_at: float = field(default_factory=time.time)

    def creation_info(self) -> api_pb2.CreationInfo:
        """Return who made it, and when."""
        return api_pb2.CreationInfo(created_at=self.created_at, created_by=OWNER)


Thing = TypeVar("Thing", bound=Entry)


class Shelf(Generic[Thing]):
    """All objects of one kind.

    Args:
        kind: What error messages call one of them.
    """

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._by_id: dict[str, Thing] = {}
        self._id_by_name: dict[tuple[str, str], str] = {}

    def get_or_create(self, name: str, environment: str, how: int, make: Callable[[], Thing]) -> Thing:
        """Return the object that a request of type *how* (an `ObjectCreationType`) asks for.

        Raises:
            GRPCError: there is none and none is to be made, or there is one and none may be.
        """
        if how in _NAMELESS:
            return self._add(make())
        found = self.named(name, environment)
        if found is None and how == _LOOK_UP:
            raise GRPCError(Status.NOT_FOUND, f"{self._kind} '{name}' not found in environment '{environment}'")
        if found is not None and how == _NEVER_NEW:
            raise GRPCError(Status.ALREADY_EXISTS, f"{self._kind} '{name}' already exists in '{environment}'")
        if found is not None and how != _REPLACE:
            return found
        return self._add(make())

    def named(self, name: str, environment: str) -> Thing | None:
        """Return the object of that name, if there is one."""
        thing_id = self._id_by_name.get((environment, name))
        return self._by_id.get(thing_id) if thing_id else None

    def __getitem__(self, thing_id: str) -> Thing:
        if thing_id not in self._by_id:
            raise GRPCError(Status.NOT_FOUND, f"{self._kind} {thing_id} not found")
        return self._by_id[thing_id]

    def delete(self, thing_id: str) -> Thing:
        """Forget the name of an object, and return it; what holds its id may keep using it."""
        thing = self[thing_id]
        self._id_by_name.pop((thing.environment, thing.name), None)
        return thing

    def page(self, environment: str, pagination: api_pb2.ListPagination) -> Iterator[Thing]:
        """Yield the named objects of *environment*, newest first, as a request for a page of them says."""
        ids = {thing_id for (where, _), thing_id in self._id_by_name.items() if where == environment}
        things = sorted((self._by_id[thing_id] for thing_id in ids), key=lambda thing: -thing.created_at)
        before = pagination.created_before or float("inf")
        yield from [thing for thing in things if thing.created_at < before][: pagination.max_objects or None]

    def _add(self, thing: Thing) -> Thing:
        self._by_id[thing.id] = thing
        if thing.name:
            self._id_by_name[thing.environment, thing.name] = thing.id
        return thing

"""Hooks of whoever hosts a service, for an `app/http.py` that says no more than `create_app(entry)`."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final

Hook = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Hooks:
    """What a host does for a service's files.

    Attributes:
        publish: Makes what a run wrote visible to other machines.
        refresh: Makes what other machines wrote visible here; a `StorageError` says that it cannot now.
    """

    publish: Hook | None = None
    refresh: Hook | None = None


_current: Final[ContextVar[Hooks]] = ContextVar("hooks")


@contextmanager
def hosted(*, publish: Hook, refresh: Hook) -> Iterator[None]:
    """Give these hooks to every service that is made meanwhile and is given none of its own.

    A host that imports `app.http` within gets the very app that the image
    serves elsewhere, whatever its author put around it.
    """
    token = _current.set(Hooks(publish, refresh))
    try:
        yield
    finally:
        _current.reset(token)


def current() -> Hooks:
    """Return the hooks of the host; none where there is no host."""
    return _current.get(Hooks())

"""The fixture `local_modal`: a local Modal that the SDK of this very process talks to.

A conftest makes it known by `from tests.local_modal.fixture import local_modal`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from .cloud import LocalModal


@pytest.fixture
def local_modal(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalModal]:
    """A fresh workspace; the environment of this process leads to it, and nothing of it is left afterwards."""
    for name in list(os.environ):
        if name.startswith("MODAL_"):
            monkeypatch.delenv(name)
    with LocalModal() as cloud:
        for name, value in cloud.environ.items():
            monkeypatch.setenv(name, value)
        forget()
        monkeypatch.setattr("modal.config._user_config", {})  # read when `modal` was imported, maybe before this
        yield cloud
        forget()
    assert not cloud.broken, cloud.broken


def forget() -> None:
    """Let the SDK forget what it keeps for a process: its client, its HTTP session, its environments.

    Both the client and the list of environments would otherwise be a former local Modal's.
    """
    import modal
    from modal._environments import ENVIRONMENT_CACHE
    from modal._utils.async_utils import synchronizer
    from modal._utils.http_utils import ClientSessionRegistry
    from modal.client import _Client

    ENVIRONMENT_CACHE.clear()
    if _Client._client_from_env is not None:
        modal.Client.from_env().close()
    synchronizer.create_blocking(ClientSessionRegistry.close_session)()

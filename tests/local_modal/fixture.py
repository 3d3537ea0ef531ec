"""The fixture `local_modal`: a local Modal that the SDK of this very process talks to.

A conftest makes it known by `from tests.local_modal.fixture import local_modal`,
and so the two others, which test the local Modal itself.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from .cloud import LocalModal

if TYPE_CHECKING:  # importing the SDK reads a configuration file, which the environment names
    import modal

    from .deployer import Deployer


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


@pytest.fixture
def client(local_modal: LocalModal) -> Iterator[modal.Client]:
    """The SDK's client; it holds threads and sockets until it is closed."""
    import modal

    client = modal.Client.from_credentials(*local_modal.token)
    yield client
    client.close()


@pytest.fixture
def deployer(local_modal: LocalModal, client: modal.Client, monkeypatch: pytest.MonkeyPatch) -> Deployer:
    """Deploys the sample, whose image can be pulled."""
    from .deployer import BUILDER, Deployer

    monkeypatch.setenv("MODAL_IMAGE_BUILDER_VERSION", BUILDER)
    monkeypatch.setenv("GIT_DIR", "/nonexistent")  # else the SDK sends who committed what
    deployer = Deployer(local_modal, client)
    deployer.image()
    return deployer


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

"""What an operator does with the local Modal, by the SDK and its command line; and how it fails."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta

import modal
import pytest
from grpclib import Status
from modal.exception import AlreadyExistsError, NotFoundError

from tests.local_modal import LocalModal
from tests.local_modal.deployer import Deployer
from tests.local_modal.faults import EVERY, Fail, Silent, Slow

pytestmark = pytest.mark.slow  # most tests start a container, or the command line


def command(cloud: LocalModal, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Return what the SDK's command line answers."""
    return subprocess.run(
        [sys.executable, "-m", "modal", *arguments],
        env=os.environ | cloud.environ | {"NO_COLOR": "1", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_apps_are_listed_by_environment(deployer: Deployer, client: modal.Client) -> None:
    """With their state and version; stopped ones are left out by the SDK."""
    deployer.deploy("one")
    deployer.deploy("one")
    deployer.deploy("two")
    deployer.deploy("elsewhere", environment="prod")
    modal.App.lookup("two", environment_name="dev", client=client).stop()

    (app,) = modal.Environment.from_name("dev", client=client).apps.list()

    info = app.info()
    assert (app.name, info.lifecycle.version, info.lifecycle.state) == ("one", 2, "deployed")
    assert set(info.functions) == {"fastapi_app"}
    assert info.lifecycle.deployed_by == "tester"


def test_an_app_is_looked_up_and_tagged(deployer: Deployer, client: modal.Client) -> None:
    """By its name; the tags of the deploy can be read and replaced."""
    deployer.deploy(tags={"ref": "one"})

    app = modal.App.lookup("app", environment_name="dev", client=client)
    assert app.get_tags() == {"ref": "one"}
    app.set_tags({"ref": "two"})

    assert modal.App.lookup("app", environment_name="dev", client=client).get_tags() == {"ref": "two"}
    assert app.info().functions
    with pytest.raises(NotFoundError):
        modal.App.lookup("other", environment_name="dev", client=client)


def test_a_stopped_app_is_not_found(deployer: Deployer, client: modal.Client) -> None:
    """Twice is fine; its function is gone too."""
    deployer.deploy()
    app = modal.App.lookup("app", environment_name="dev", client=client)

    app.stop()
    app.stop()

    with pytest.raises(NotFoundError):
        modal.App.lookup("app", environment_name="dev", client=client)
    with pytest.raises(NotFoundError):
        modal.Function.from_name("app", "fastapi_app", environment_name="dev", client=client).get_web_url()


def test_a_function_says_what_it_was_deployed_with(deployer: Deployer, client: modal.Client) -> None:
    """Among it the image's id, which the same definition has again."""
    deployer.deploy(cpu=2.0, memory=1024, gpu="T4")

    info = modal.Function.from_name("app", "fastapi_app", environment_name="dev", client=client).hydrate().info()
    again = deployer.deploy("other")
    other = modal.Function.from_name("other", "fastapi_app", environment_name="dev", client=client).hydrate().info()

    assert (info.cpu, info.memory_mib, info.gpus, info.timeout) == (2.0, 1024, [("T4", 1)], 60)
    assert again.url != ""
    assert info.image_info.image_id == other.image_info.image_id
    assert info.web_info is not None
    assert not info.web_info.unauthenticated


def test_a_version_can_be_rolled_back_to(deployer: Deployer) -> None:
    """By the command line, which has no equal in the SDK: what served then serves again, at the same address."""
    deployed = deployer.deploy(env={"VERSION": "one"}, tag="first", tags={"v": "one"})
    deployer.deploy(env={"VERSION": "two"}, tag="second", tags={"v": "two"})
    assert deployed.ask("environ").json()["VERSION"] == "two"

    rolled = command(deployer.cloud, "app", "rollback", "app", "v1", "--env", "dev")
    history = command(deployer.cloud, "app", "history", "app", "--env", "dev", "--json")

    assert (rolled.returncode, rolled.stderr) == (0, "")
    assert deployed.ask("environ").json()["VERSION"] == "one"
    rows = json.loads(history.stdout)
    assert [(row["version"], row["tag"]) for row in rows] == [("v3", "first"), ("v2", "second"), ("v1", "first")]
    app = modal.App.lookup("app", environment_name="dev", client=deployer.client)
    assert app.get_tags() == {"v": "two"}  # as far as anyone knows: a rollback carries none


def test_what_cannot_be_rolled_back_is_refused(deployer: Deployer) -> None:
    """Exit status 1, and the reason on stderr."""
    deployer.deploy()

    for arguments in (("app",), ("other",)):
        refused = command(deployer.cloud, "app", "rollback", *arguments, "--env", "dev")
        assert refused.returncode == 1, arguments
        assert "Error" in refused.stderr, arguments


def test_logs_are_fetched_searched_and_followed(deployer: Deployer, client: modal.Client) -> None:
    """What a container wrote, stdout and stderr apart."""
    deployed = deployer.deploy()
    deployed.ask("echo", "needle")
    deployed.ask("echo", "hay")
    logs = modal.App.lookup("app", environment_name="dev", client=client).logs
    since = datetime.now(UTC) - timedelta(minutes=5)

    tail = list(logs.tail(100))
    assert [entry.message for entry in tail] == ["lifespan.startup\n", "said needle\n", "said hay\n"]
    assert [entry.source for entry in tail] == ["stderr", "stdout", "stdout"]
    assert [entry.message for entry in logs.tail(1)] == ["said hay\n"]
    assert [entry.message for entry in logs.fetch(since=since, source="stderr")] == ["lifespan.startup\n"]
    assert [entry.message for entry in logs.fetch(since=since, search_text="needle")] == ["said needle\n"]
    assert list(logs.fetch(since=since, until=since + timedelta(minutes=1))) == []
    assert [entry.message for entry in logs.stream(timeout=0.5)] == [entry.message for entry in tail]


def test_a_stream_of_logs_ends_with_its_app(deployer: Deployer, client: modal.Client) -> None:
    """It shows what is written meanwhile."""
    deployed = deployer.deploy()
    app = modal.App.lookup("app", environment_name="dev", client=client)
    read = []

    deployed.ask("echo", "one")
    for entry in app.logs.stream(timeout=20):
        read.append(entry.message)
        if entry.message == "said one\n":
            deployed.ask("echo", "two")
        if entry.message == "said two\n":
            app.stop()

    assert read == ["lifespan.startup\n", "said one\n", "said two\n"]


def test_secrets_are_written_listed_and_deleted(local_modal: LocalModal, client: modal.Client) -> None:
    """An update merges; keys are checked by name."""
    modal.Secret.objects.create("keys", {"A": "1", "B": "2"}, environment_name="dev", client=client)
    secret = modal.Secret.from_name("keys", environment_name="dev", client=client)

    with pytest.raises(AlreadyExistsError):
        modal.Secret.objects.create("keys", {"A": "3"}, environment_name="dev", client=client)
    modal.Secret.objects.create("keys", {"A": "3"}, environment_name="dev", client=client, allow_existing=True)
    stored = local_modal.secrets.named("keys", "dev")
    assert stored is not None
    assert stored.values == {"A": "1", "B": "2"}

    secret.update({"B": "4", "C": "5"})
    assert stored.values == {"A": "1", "B": "4", "C": "5"}
    assert [each.name for each in modal.Secret.objects.list(environment_name="dev", client=client)] == ["keys"]
    assert modal.Secret.objects.list(environment_name="prod", client=client) == []

    modal.Secret.objects.delete("keys", environment_name="dev", client=client)
    with pytest.raises(NotFoundError):
        modal.Secret.from_name("keys", environment_name="dev", client=client).hydrate()


def test_required_keys_are_asserted(local_modal: LocalModal, client: modal.Client) -> None:
    """The one way to learn of keys: by naming them."""
    modal.Secret.objects.create("keys", {"A": "1"}, environment_name="dev", client=client)

    def wanted(*keys: str) -> modal.Secret:
        return modal.Secret.from_name("keys", environment_name="dev", required_keys=list(keys), client=client)

    wanted("A").hydrate()
    with pytest.raises(NotFoundError, match="B"):
        wanted("A", "B").hydrate()
    assert len(local_modal.sent("SecretGetOrCreate")) == 3


def test_a_replaced_secret_reaches_apps_when_they_are_deployed_again(deployer: Deployer, client: modal.Client) -> None:
    """Deleted and created anew it has a new id; a deployed function has the old one."""

    def replace(value: str) -> modal.Secret:
        modal.Secret.objects.delete("keys", environment_name="dev", allow_missing=True, client=client)
        modal.Secret.objects.create("keys", {"A": value}, environment_name="dev", client=client)
        return modal.Secret.from_name("keys", environment_name="dev")

    deployed = deployer.deploy(secrets=[replace("old")])
    secret = replace("new")

    assert deployed.ask("environ").json()["A"] == "old"
    assert deployer.deploy(secrets=[secret]).ask("environ").json()["A"] == "new"


def test_environments_are_created_listed_and_deleted(client: modal.Client) -> None:
    """The one that is gone is not found."""
    modal.Environment.objects.create("review", client=client)

    names = [environment.name for environment in modal.Environment.objects.list(client=client)]
    assert names == ["main", "dev", "staging", "prod", "review"]
    modal.Environment.objects.delete("review", client=client)
    with pytest.raises(NotFoundError):
        modal.Environment.from_name("review", client=client).hydrate()


def test_the_command_line_lists_and_stops_apps(deployer: Deployer) -> None:
    """It takes the ids, states and times as it takes the cloud's."""
    deployer.deploy()

    before = json.loads(command(deployer.cloud, "app", "list", "--env", "dev", "--json").stdout)
    stopped = command(deployer.cloud, "app", "stop", "app", "--env", "dev", "--yes")
    after = json.loads(command(deployer.cloud, "app", "list", "--env", "dev", "--json").stdout)

    assert [(row["description"], row["state"]) for row in before] == [("app", "deployed")]
    assert stopped.returncode == 0, stopped.stderr
    assert [row["state"] for row in after] == ["stopped"]


def test_a_server_that_is_down_is_a_connection_error(local_modal: LocalModal, client: modal.Client) -> None:
    """Whoever waits for the SDK bounds it; once the server is back, the same client goes on."""
    modal.Environment.from_name("dev", client=client).hydrate()
    local_modal.go_down()

    async def ask() -> None:
        await asyncio.wait_for(modal.Environment.from_name("dev", client=client).hydrate.aio(), 2)

    with pytest.raises((modal.exception.ConnectionError, TimeoutError)):
        asyncio.run(ask())
    local_modal.come_back()
    modal.Environment.from_name("dev", client=client).hydrate()


def test_a_silent_server_answers_nothing(local_modal: LocalModal, client: modal.Client) -> None:
    """Until the fault is taken away."""
    local_modal.faults[EVERY] = Silent()

    async def ask() -> None:
        await asyncio.wait_for(modal.Environment.from_name("dev", client=client).hydrate.aio(), 0.5)

    with pytest.raises(TimeoutError):
        asyncio.run(ask())
    local_modal.faults.clear()
    modal.Environment.from_name("dev", client=client).hydrate()


def test_a_slow_call_is_answered_late(local_modal: LocalModal, client: modal.Client) -> None:
    """Of the one that is named; a failure that is retried by the SDK is asked for four times."""
    local_modal.faults["EnvironmentGetOrCreate"] = Slow(0.3)
    began = time.monotonic()
    modal.Environment.from_name("dev", client=client).hydrate()
    assert time.monotonic() - began >= 0.3

    local_modal.calls.clear()
    local_modal.faults["EnvironmentGetOrCreate"] = Fail(Status.UNAVAILABLE)
    with pytest.raises(modal.exception.Error, match="planted"):
        modal.Environment.from_name("dev", client=client).hydrate()
    assert len(local_modal.sent("EnvironmentGetOrCreate")) == 4

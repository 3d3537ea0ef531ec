"""A deployment, judged by every request that Modal's SDK sent for it: what must be in them, and what must not."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import modal
import pytest
from grpclib import Status
from modal_proto import api_pb2

from apps.core.adapters.errors import EndpointMissingError, NetworkError
from apps.core.adapters.modal.errors import ModalAuthError
from apps.core.adapters.modal.naming import Lane
from apps.core.deployments import deploy as module
from apps.core.deployments.plan import ENTRY
from apps.core.images.errors import ImagePullError
from processor_runtime.errors import MissingSecretError, ProcessorError
from tests.local_modal import LocalModal
from tests.local_modal.faults import EVERY, Fail, Silent
from tests.local_modal.fixture import forget
from tests.support.deployed import DIGEST, LANE, OTHER_DIGEST, Cloud
from tests.support.executions import ROOT, SECRET

TROUBLE, STEPS = "fix_trouble", "fix_steps"
TAG = "sha256-" + "a" * 40


@pytest.fixture
def cloud(local_modal: LocalModal, tmp_path: Path) -> Cloud:
    """Return a Modal with nothing deployed."""
    return Cloud(local_modal, tmp_path)


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a repository whose author, and whose remote with a token in it, nobody else may learn."""
    folder = tmp_path / "checkout"

    def git(*arguments: str) -> None:
        subprocess.run(["git", "-C", str(folder), *arguments], check=True, capture_output=True)

    folder.mkdir()
    git("init", "--initial-branch", "canary-branch")
    git("remote", "add", "origin", "https://user:canary-token@example.com/canary-repository.git")
    author = ["-c", "user.name=Canary Author", "-c", "user.email=canary@example.com"]
    git(*author, "commit", "--allow-empty", "--message", "canary-message")
    monkeypatch.chdir(folder)
    return folder


def only(messages: list[Any]) -> Any:
    """Return the one message."""
    (message,) = messages
    return message


# --- what is in it


def test_the_image_is_the_one_from_line(cloud: Cloud) -> None:
    """Whatever builder the environment says: nothing is added to what the digest names."""
    deployment = cloud.deploy(TROUBLE)

    image = only(cloud.modal.sent("ImageGetOrCreate"))
    assert list(image.image.dockerfile_commands) == [f"FROM ghcr.io/owner/fix_trouble@{DIGEST}"]
    assert image.builder_version == "2025.06"
    assert (deployment.app, deployment.environment) == ("fix-trouble-v1-main-anna-dev", "dev")
    assert deployment.url.startswith("http://127.0.0.1:")


def test_the_function_has_what_the_registry_says(cloud: Cloud) -> None:
    """Resources, limits, concurrency, secrets, the Volume, and a proxy token."""
    cloud.deploy(STEPS)

    function = only(cloud.modal.sent("FunctionCreate")).function
    resources = function.resources
    assert (function.module_name, function.implementation_name) == ("modal_entry", "fastapi_app")
    assert function.definition_type == api_pb2.Function.DEFINITION_TYPE_FILE
    assert (resources.milli_cpu, resources.milli_cpu_max) == (500, 500)
    assert (resources.memory_mb, resources.memory_mb_max) == (1536, 1536)
    assert (resources.gpu_config.gpu_type, resources.gpu_config.count) == ("T4", 1)
    assert (function.timeout_secs, function.startup_timeout_secs) == (120, 600)
    assert function.max_concurrent_inputs == 4
    assert function.webhook_config.type == api_pb2.WEBHOOK_TYPE_ASGI_APP
    assert function.webhook_config.requires_proxy_auth is True
    mount = only(list(function.volume_mounts))
    assert mount.mount_path == "/artifacts"
    volume = only(cloud.modal.sent("VolumeGetOrCreate"))
    assert (volume.deployment_name, volume.environment_name) == ("processor-artifacts", "dev")
    assert len(function.secret_ids) == 2  # the one that it requires, and its own environment


def test_the_functions_environment_is_all_that_the_plan_says(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """The digest, and nothing of whoever deploys: in CI a deployment would else refuse every real run."""
    monkeypatch.setenv("CI", "true")
    plan = cloud.plan(TROUBLE)

    cloud.deploy_plan(plan)

    given = [dict(request.env_dict) for request in cloud.modal.sent("SecretGetOrCreate") if request.env_dict]
    assert given == [{"FIX_SECRET": SECRET}, plan.environ]
    assert plan.environ["IMAGE_DIGEST"] == DIGEST


def test_the_deployment_and_the_app_are_tagged_by_the_digest(cloud: Cloud) -> None:
    """So that it can be found without a run."""
    cloud.deploy(TROUBLE)

    published = only(cloud.modal.sent("AppPublish"))
    assert published.deployment_tag == TAG
    app = modal.App.lookup("fix-trouble-v1-main-anna-dev", environment_name="dev")
    assert app.get_tags() == {
        "processor-namespace": "fix",
        "processor-name": "trouble",
        "processor-version": "1",
        "image-digest": TAG,
        "processor-branch": "main",
        "processor-user": "anna",
    }


def test_every_request_names_the_environment(cloud: Cloud) -> None:
    """The workspace's default one is another."""
    cloud.deploy(TROUBLE, lane=Lane("staging"))

    named = {
        call.message.environment_name
        for call in cloud.modal.calls
        if "environment_name" in call.message.DESCRIPTOR.fields_by_name and call.rpc != "MountGetOrCreate"
    }
    assert named == {"staging"}


def test_one_file_leaves_this_machine(cloud: Cloud) -> None:
    """The entry file, as it is."""
    cloud.deploy(TROUBLE)

    assert cloud.modal.mounts.uploaded() == {"/root/modal_entry.py": ENTRY.read_bytes()}


# --- what is not in it


def test_nothing_of_this_machine_is_in_any_request(
    cloud: Cloud, checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither who works here, nor where it is pushed to, nor a variable, nor a path, nor a line of our code."""
    monkeypatch.setenv("CANARY", "canary-value")
    cloud.deploy(TROUBLE)
    sent = b"\n".join(call.message.SerializeToString() for call in cloud.modal.calls)
    told = repr([call.metadata for call in cloud.modal.calls]).encode()

    assert b"modal_entry" in sent  # it is looked at
    for canary in (b"canary", b"Canary", str(checkout).encode(), str(ROOT).encode(), b"apps.core", b"SECRET_KEY"):
        assert canary not in sent, canary
        assert canary not in told, canary
    published = only(cloud.modal.sent("AppPublish"))
    assert not published.HasField("commit_info")


def test_the_environment_of_this_process_is_as_before(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """What keeps the SDK silent is in force for the deployment alone, also where that fails."""
    monkeypatch.setenv("GIT_DIR", "/somewhere")
    monkeypatch.delenv("MODAL_IMAGE_BUILDER_VERSION", raising=False)
    before = dict(os.environ)

    cloud.deploy(TROUBLE)
    cloud.modal.faults["AppPublish"] = Fail(Status.PERMISSION_DENIED)
    with pytest.raises(ModalAuthError):
        cloud.deploy(TROUBLE)

    assert dict(os.environ) == before


def test_a_secrets_value_is_in_no_request_of_a_deployment(cloud: Cloud) -> None:
    """It names secrets, and which keys they must have."""
    cloud.make_secrets(cloud.plan(TROUBLE))
    cloud.modal.calls.clear()

    cloud.deploy(TROUBLE)

    named = [request for request in cloud.modal.sent("SecretGetOrCreate") if request.deployment_name == "FIX_SECRET"]
    assert {tuple(request.required_keys) for request in named} == {("FIX_SECRET",)}
    assert SECRET.encode() not in b"".join(call.message.SerializeToString() for call in cloud.modal.calls)


# --- again


def test_a_redeployment_keeps_the_address_and_is_a_new_version(cloud: Cloud) -> None:
    """Whoever resolved it goes on."""
    first = cloud.deploy(TROUBLE)
    second = cloud.deploy(TROUBLE, OTHER_DIGEST)

    assert (second.app_id, second.url) == (first.app_id, first.url)
    app = modal.App.lookup(first.app, environment_name="dev")
    assert app.info().lifecycle.version == 2
    assert app.get_tags()["image-digest"] == "sha256-" + "b" * 40


def test_two_branches_are_two_apps(cloud: Cloud) -> None:
    """Neither takes the other's address."""
    one, other = (cloud.deploy(TROUBLE, lane=Lane("dev", branch, "anna")) for branch in ("main", "feature/x"))

    assert one.app != other.app
    assert one.url != other.url


# --- secrets


def test_an_optional_secret_is_given_if_it_exists(cloud: Cloud) -> None:
    """And is no reason to refuse if it does not."""
    assert cloud.deploy(TROUBLE).secrets == ("FIX_SECRET",)

    modal.Secret.objects.create("FIX_SETUP", {"FIX_SETUP": "fine"}, environment_name="dev")

    assert cloud.deploy(TROUBLE).secrets == ("FIX_SECRET", "FIX_SETUP")


@pytest.mark.parametrize("values", [None, {"ANOTHER_KEY": "value"}])
def test_a_required_secret_that_is_not_there_stops_it_before_it_begins(
    cloud: Cloud, values: dict[str, str] | None
) -> None:
    """Whether the secret is missing, or the key in it; no app is made."""
    cloud.secrets.clear()
    if values:
        modal.Secret.objects.create("FIX_SECRET", values, environment_name="dev")

    with pytest.raises(MissingSecretError) as refused:
        cloud.deploy(TROUBLE)

    assert refused.value.details[0]["path"] == "FIX_SECRET"
    assert "modalctl secrets sync" in refused.value.details[0]["message"]
    assert cloud.modal.sent("AppCreate") == []


# --- private images


def test_a_private_image_is_pulled_by_a_named_secret(cloud: Cloud) -> None:
    """Its values stay with Modal."""
    values = {"REGISTRY_USERNAME": "reader", "REGISTRY_PASSWORD": "canary"}
    modal.Secret.objects.create("ghcr-pull", values, environment_name="dev")
    plan = cloud.plan(TROUBLE, image={"credentials": ("reader", "canary")}, registry_secret="ghcr-pull")
    cloud.modal.calls.clear()

    cloud.deploy_plan(plan)

    config = only(cloud.modal.sent("ImageGetOrCreate")).image.image_registry_config
    assert config.registry_auth_type == api_pb2.REGISTRY_AUTH_TYPE_STATIC_CREDS
    assert b"canary" not in b"".join(call.message.SerializeToString() for call in cloud.modal.calls)


def test_an_image_that_cannot_be_pulled_is_told_with_the_last_lines_of_its_log(cloud: Cloud) -> None:
    """No token for a private image, say."""
    plan = cloud.plan(TROUBLE, image={"credentials": ("reader", "word")})

    with pytest.raises(ImagePullError) as refused:
        cloud.deploy_plan(plan)

    assert f"fix_trouble@{DIGEST}" in refused.value.details[0]["message"]
    assert refused.value.retryable


def test_a_registry_secret_that_is_not_there_is_told(cloud: Cloud) -> None:
    """Before anything is made."""
    plan = cloud.plan(TROUBLE, registry_secret="ghcr-pull")

    with pytest.raises(MissingSecretError) as refused:
        cloud.deploy_plan(plan)

    assert refused.value.details[0]["path"] == "--registry-secret"
    assert cloud.modal.sent("AppCreate") == []


# --- what goes wrong


def test_an_environment_that_is_not_there_is_told(cloud: Cloud) -> None:
    """With the command that makes it."""
    with pytest.raises(EndpointMissingError) as refused:
        cloud.deploy("kit_echo", lane=Lane("nowhere"))

    assert "modal environment create nowhere" in refused.value.details[0]["message"]


@pytest.mark.parametrize("variable", ["MODAL_TOKEN_ID", "MODAL_TOKEN_SECRET"])
@pytest.mark.parametrize("value", ["", "wrong"])
def test_a_token_that_is_missing_or_wrong_is_told(
    cloud: Cloud, variable: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever half of it."""
    plan = cloud.plan(TROUBLE)
    cloud.make_secrets(plan)
    monkeypatch.setattr(Cloud, "environ", property(lambda self: {**self.modal.environ, variable: value}))
    monkeypatch.setenv(variable, value)
    forget()  # the SDK keeps the client that made the secrets

    with pytest.raises(ModalAuthError):
        cloud.deploy_plan(plan)

    assert cloud.modal.sent("AppCreate") == []


def test_a_silent_server_is_not_waited_for_without_end(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """The SDK would wait."""
    plan = cloud.plan(TROUBLE)
    cloud.make_secrets(plan)
    monkeypatch.setattr(module, "LOOKUP_S", 0.3)
    cloud.modal.faults[EVERY] = Silent()

    with pytest.raises(NetworkError):
        cloud.deploy_plan(plan)


def test_a_deployment_that_fails_halfway_is_told_as_it_is(cloud: Cloud) -> None:
    """What was there before stays."""
    first = cloud.deploy(TROUBLE)
    cloud.modal.faults["FunctionCreate"] = Fail(Status.RESOURCE_EXHAUSTED, "quota of GPUs")

    with pytest.raises(ProcessorError) as refused:
        cloud.deploy(TROUBLE, OTHER_DIGEST)

    assert refused.value.code == "ERR_BUSY"
    assert "quota of GPUs" in refused.value.details[0]["message"]
    assert modal.App.lookup(first.app, environment_name=LANE.environment).info().lifecycle.version == 1

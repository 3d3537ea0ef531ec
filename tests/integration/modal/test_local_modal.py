"""The local Modal, asked by the real SDK: deploy, look up, call."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import modal
import pytest
from grpclib import Status
from modal.exception import AuthError, InvalidError, NotFoundError
from modal_proto import api_pb2

from tests.local_modal import LocalModal
from tests.local_modal.deployer import OTHER, REFERENCE, SAMPLE, Deployer
from tests.local_modal.faults import Fail

ROOT: Final = Path(__file__).resolve().parents[3]
JSON: Final = {"Content-Type": "application/json"}


def test_what_is_deployed_is_found_and_answers(deployer: Deployer, client: modal.Client) -> None:
    """The address comes from a look-up by name, and leads to the app that the uploaded file takes from the image."""
    deployed = deployer.deploy(tag="v-one")

    found = modal.Function.from_name("app", "fastapi_app", environment_name="dev", client=client)

    assert found.get_web_url() == deployed.url
    answer = deployed.ask("echo?q=1", "hello")
    assert (answer.status_code, answer.headers["x-app"]) == (200, "sample")
    assert {"method": "POST", "query": "q=1", "text": "hello"}.items() <= answer.json().items()


def test_nothing_but_the_entry_file_is_uploaded(deployer: Deployer) -> None:
    """Its bytes are what the container runs."""
    deployer.deploy()

    entry = (SAMPLE / "sample_entry.py").read_bytes()
    assert deployer.cloud.mounts.uploaded() == {"/root/sample_entry.py": entry}


def test_a_container_knows_its_secrets_and_nothing_of_this_machine(
    deployer: Deployer, client: modal.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Named secrets and `env=` reach it; the environment of the test does not."""
    monkeypatch.setenv("OF_THIS_MACHINE", "yes")
    modal.Secret.objects.create("keys", {"A_KEY": "a-value"}, environment_name="dev", client=client)
    secret = modal.Secret.from_name("keys", environment_name="dev")

    deployed = deployer.deploy(secrets=[secret], env={"IMAGE_DIGEST": REFERENCE})

    environ = deployed.ask("environ").json()
    assert (environ["A_KEY"], environ["IMAGE_DIGEST"]) == ("a-value", REFERENCE)
    assert "OF_THIS_MACHINE" not in environ
    assert "MODAL_TOKEN_SECRET" not in environ
    assert Path(environ["PROCESSOR_ARTIFACTS_DIR"]).is_relative_to(deployer.cloud.folder)


def test_every_request_is_recorded(deployer: Deployer) -> None:
    """With its message and metadata, so that a test can say what was sent and what was not."""
    deployer.deploy(tag="v-one", tags={"ref": "llm.chat-v1"}, cpu=2.0, memory=1024)

    (publish,) = deployer.cloud.sent("AppPublish")
    (create,) = deployer.cloud.sent("FunctionCreate")
    (image,) = deployer.cloud.sent("ImageGetOrCreate")
    assert (publish.deployment_tag, dict(publish.tags)) == ("v-one", {"ref": "llm.chat-v1"})
    assert not publish.commit_info.author_email
    assert (create.function.resources.milli_cpu, create.function.resources.memory_mb) == (2000, 1024)
    assert list(image.image.dockerfile_commands) == [f"FROM {REFERENCE}"]
    assert {call.metadata["x-modal-token-id"] for call in deployer.cloud.calls} == {deployer.cloud.token[0]}


def test_an_unknown_call_is_refused_by_its_name(local_modal: LocalModal, client: modal.Client) -> None:
    """A test never passes because nobody answered."""
    with pytest.raises(modal.exception.Error, match="rpc QueueGetOrCreate is not known to the local Modal"):
        modal.Queue.from_name("jobs", environment_name="dev", create_if_missing=True).hydrate(client)

    assert local_modal.sent("QueueGetOrCreate")


def test_a_wrong_token_is_refused(local_modal: LocalModal) -> None:
    """As by the cloud, on the first call."""
    with modal.Client.from_credentials("ak-wrong", "as-wrong") as stranger, pytest.raises(AuthError):
        modal.Environment.from_name("dev", client=stranger).hydrate()

    assert [call.metadata["x-modal-token-id"] for call in local_modal.calls] == ["ak-wrong"]


MISSING = [
    pytest.param({"app_name": "other"}, id="no such app"),
    pytest.param({"name": "other"}, id="no such function"),
    pytest.param({"environment_name": "staging"}, id="in another environment"),
    pytest.param({"environment_name": "nowhere"}, id="no such environment"),
    pytest.param({"version": 7}, id="no such version"),
]


@pytest.mark.parametrize("change", MISSING)
def test_what_is_not_deployed_is_not_found(deployer: Deployer, client: modal.Client, change: dict[str, Any]) -> None:
    """Whatever is missing, the SDK says NotFoundError."""
    deployer.deploy()
    wanted = {"app_name": "app", "name": "fastapi_app", "environment_name": "dev"} | change

    with pytest.raises(NotFoundError):
        modal.Function.from_name(**wanted, client=client).get_web_url()


def test_a_planted_failure_is_the_answer(deployer: Deployer) -> None:
    """Of the call that it is planted for, and of no other."""
    deployer.cloud.faults["AppPublish"] = Fail(Status.INVALID_ARGUMENT, "planted here")

    with pytest.raises(InvalidError, match="planted here"):
        deployer.deploy()

    (disconnect,) = deployer.cloud.sent("AppClientDisconnect")
    assert disconnect.reason != api_pb2.APP_DISCONNECT_REASON_ENTRYPOINT_COMPLETED


def test_an_image_that_cannot_be_pulled_fails_the_deploy(deployer: Deployer) -> None:
    """The digest is not known here, as it would not be in a registry."""
    with pytest.raises(modal.exception.ImageBuildError, match="manifest unknown") as caught:
        deployer.deploy(reference=OTHER)

    assert not deployer.cloud.sent("AppPublish")
    log = modal.Image.from_id(caught.value.image_id, client=deployer.client).logs.tail()
    assert next(log).message == f"=> Step 0: FROM {OTHER}\n"


def test_an_image_of_more_than_one_line_is_refused(deployer: Deployer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Older builders let the SDK add layers: other code than the digest's would run."""
    monkeypatch.delenv("MODAL_IMAGE_BUILDER_VERSION")

    with pytest.raises(modal.exception.ImageBuildError, match="one FROM line and nothing else"):
        deployer.deploy()


def test_a_private_image_needs_its_registrys_secret(deployer: Deployer, client: modal.Client) -> None:
    """The right user and password, in a secret with the names that Modal reads."""
    deployer.image(credentials=("robot", "pass"))
    values = {"REGISTRY_USERNAME": "robot", "REGISTRY_PASSWORD": "pass"}
    modal.Secret.objects.create("pull", values, environment_name="dev", client=client)
    wrong = {"REGISTRY_USERNAME": "robot", "REGISTRY_PASSWORD": "wrong"}
    modal.Secret.objects.create("wrong", wrong, environment_name="dev", client=client)

    with pytest.raises(modal.exception.ImageBuildError, match="unauthorized"):
        deployer.deploy()
    with pytest.raises(modal.exception.ImageBuildError, match="unauthorized"):
        deployer.deploy(pull_secret=modal.Secret.from_name("wrong", environment_name="dev"))
    deployed = deployer.deploy(pull_secret=modal.Secret.from_name("pull", environment_name="dev"))

    assert deployed.ask("echo", "in").json()["text"] == "in"


def test_a_deploy_shows_its_build_where_output_is_enabled(
    deployer: Deployer, capfd: pytest.CaptureFixture[str]
) -> None:
    """The SDK prints the log of the build and the address; without, it is silent."""
    deployer.deploy("silent")
    assert capfd.readouterr() == ("", "")

    deployer.image(OTHER)
    with modal.enable_output():
        deployed = deployer.deploy("loud", reference=OTHER)

    printed = capfd.readouterr().out
    assert f"Step 0: FROM {OTHER}" in printed
    assert deployed.url in printed


def test_a_choice_of_gpus_is_deployed_too(deployer: Deployer, client: modal.Client) -> None:
    """The SDK sends a definition for each; containers run by the first."""
    deployed = deployer.deploy(gpu=["T4", "A10G"])

    info = modal.Function.from_name("app", "fastapi_app", environment_name="dev", client=client).hydrate().info()
    assert info.gpus == [("T4", 1), ("A10G", 1)]
    assert deployed.ask("echo", "on").json()["text"] == "on"


def test_a_processor_runs_in_it(deployer: Deployer) -> None:
    """The folder of one of ours stands for its image: a run, a stream, and artifacts in the container's volume."""
    digest = REFERENCE.rpartition("@")[2]
    deployer.image(folder=ROOT / "code" / "apps" / "core" / "processors" / "llm_chat")
    deployed = deployer.deploy(env={"IMAGE_DIGEST": REFERENCE, "IMAGE_PINNED": "1"})
    params = {"messages": [{"role": "user", "content": "hello"}]}
    payload = {
        "schema": "v1",
        "execution_id": "e1",
        "write_prefix": "/artifacts/outputs/{execution_id}/",
        "mode": "mock",
        "inputs": {"schema": "v1", "params": params},
    }

    ran = deployed.ask("run", json.dumps(payload), headers=deployed.headers | JSON).json()
    payload["execution_id"] = "e2"
    streamed = deployed.ask("run-stream", json.dumps(payload), headers=deployed.headers | JSON)

    assert (ran["status"], ran["meta"]["image_digest"], ran["meta"]["pinned"]) == ("success", digest, True)
    assert ran["index_path"] == "/artifacts/outputs/e1/outputs.json"
    assert streamed.headers["content-type"].startswith("text/event-stream")
    assert streamed.text.count("event: done") == 1
    assert '"event":"http.run.settle"' in deployer.cloud.logs.text()


def test_by_hand_it_prints_what_to_export_and_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Until it is interrupted."""
    arguments = ["-m", "tests.local_modal", "--image", f"{REFERENCE}={SAMPLE}"]
    with subprocess.Popen([sys.executable, *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        printed = [line.rstrip() for line in iter(server.stdout.readline, "\n")]
        exported = dict(line.removeprefix("export ").split("=", 1) for line in printed if line.startswith("export "))
        for name, value in exported.items():
            monkeypatch.setenv(name, value)
        with modal.Client.from_credentials(exported["MODAL_TOKEN_ID"], exported["MODAL_TOKEN_SECRET"]) as client:
            client.hello()
        server.send_signal(signal.SIGINT)
        assert server.wait() == 0

    assert exported.keys() >= {"MODAL_SERVER_URL", "MODAL_CONFIG_PATH"}

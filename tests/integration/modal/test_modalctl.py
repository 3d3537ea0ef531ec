"""`manage.py modalctl` against the local Modal: each action's answer, what it changed, and what a plan leaves alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import modal
import pytest
from django.core.management import call_command
from grpclib import Status

from apps.core.adapters.modal import adapter as module
from apps.core.host import Host
from tests.local_modal import Image, LocalModal
from tests.local_modal.faults import Fail
from tests.local_modal.fixture import forget
from tests.support.deployed import DIGEST, OTHER_DIGEST, RUNTIME, Cloud
from tests.support.executions import OWN, ROOT, SECRET, host_in, payload

pytestmark = pytest.mark.slow  # each deploys, and some start a container or Modal's command line

TROUBLE = "fix/trouble@1"
APP = "fix-trouble-v1-main-anna-dev"
IMAGE = f"ghcr.io/owner/fix_trouble@{DIGEST}"
OTHER = f"ghcr.io/owner/fix_trouble@{OTHER_DIGEST}"
TAG, OTHER_TAG = ("sha256-" + digit * 40 for digit in "ab")


@dataclass
class Shell:
    """A user's shell, whose environment is the caller's of *cloud*."""

    cloud: Cloud
    environ: dict[str, str]
    capture: pytest.CaptureFixture[str]

    def run(self, *arguments: str, status: int = 0) -> Any:
        """Return the JSON object that the command answered; fails unless it ended with *status*."""
        text = self.text(*arguments, "--json", status=status)
        (line,) = text.splitlines()
        return json.loads(line)

    def text(self, *arguments: str, status: int = 0) -> str:
        """Return what the command wrote to stdout; fails unless it ended with *status*."""
        ended = 0
        argv, sys.argv = sys.argv, ["manage.py", "modalctl", *arguments]
        self.capture.readouterr()
        try:
            call_command("modalctl", *arguments)
        except SystemExit as exc:
            ended = int(exc.code or 0)
        finally:
            sys.argv = argv
        out, err = self.capture.readouterr()
        self.stderr = err
        assert ended == status, (out, err)
        assert SECRET not in out + err
        return out


@pytest.fixture
def shell(
    local_modal: LocalModal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Shell:
    """Return a shell; the images of `fix/trouble@1` can be pulled, and its secret exists."""
    module._urls.clear()
    cloud = Cloud(local_modal, tmp_path)
    for digest in (DIGEST, OTHER_DIGEST):
        cloud.make_secrets(cloud.plan("fix_trouble", digest))
    shell = Shell(cloud, cloud.environ, capfd)
    monkeypatch.setattr(Host, "here", lambda: replace(host_in(tmp_path), environ=shell.environ))
    cloud.modal.calls.clear()
    return shell


def on(action: str, *arguments: str, env: str = "dev") -> tuple[str, ...]:
    """Return the arguments of *action* on `fix/trouble@1`."""
    return (*action.split(), "--ref", TROUBLE, "--env", env, *arguments)


def changed(cloud: Cloud) -> set[str]:
    """Return the calls that changed something."""
    changes = ("Create", "Publish", "Stop", "Rollback", "SetTags", "Update", "Delete", "PutFile")
    asks = {"SecretGetOrCreate", "EnvironmentGetOrCreate", "VolumeGetOrCreate", "AppGetOrCreate", "ImageGetOrCreate"}
    return {
        call.rpc for call in cloud.modal.calls if call.rpc not in asks and any(word in call.rpc for word in changes)
    }


# --- deploy


def test_the_command_of_the_specification_works_as_it_is_written(local_modal: LocalModal) -> None:
    """From code/, with the repository's own processor, in a process of its own."""
    reference = f"ghcr.io/owner/chat@{DIGEST}"
    local_modal.images[reference] = Image(OWN / "llm_chat", path=(RUNTIME,))
    modal.Secret.objects.create("OPENAI_API_KEY", {"OPENAI_API_KEY": "value"}, environment_name="dev")

    done = subprocess.run(
        [sys.executable, "manage.py", "modalctl", "deploy", "--ref", "llm/chat@1", "--env", "dev", "--oci", reference],
        cwd=ROOT / "code",
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "backend.settings.unittest", "DEPLOY_BRANCH": "main"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("deployed llm-chat-v1-main-")
    assert [json.loads(line)["event"] for line in done.stderr.splitlines()] == ["modalctl.deploy", "modalctl.deployed"]
    assert local_modal.sent("AppPublish")[0].deployment_tag == TAG


def test_a_plan_is_what_would_be_deployed_and_asks_nothing(shell: Shell) -> None:
    """It needs no token either."""
    shell.environ = {"PATH": os.environ["PATH"], "DEPLOY_BRANCH": "main", "DEPLOY_USER": "anna"}

    plan = shell.run(*on("deploy", "--oci", IMAGE, "--dry-run"))

    assert plan["dry_run"] is True
    assert (plan["plan"]["app"], plan["plan"]["image"], plan["plan"]["proxy_auth"]) == (APP, IMAGE, True)
    assert shell.cloud.modal.calls == []


def test_a_deployment_is_what_was_planned(shell: Shell) -> None:
    """And can be called."""
    plan = shell.run(*on("deploy", "--oci", IMAGE, "--dry-run"))["plan"]

    answer = shell.run(*on("deploy", "--oci", IMAGE))

    assert answer["plan"] == plan
    assert answer["deployment"]["url"].startswith("http://127.0.0.1:")
    assert answer["deployment"]["secrets"] == ["FIX_SECRET"]


def test_public_access_must_be_asked_for(shell: Shell) -> None:
    """Then anybody may call it."""
    shell.run(*on("deploy", "--oci", IMAGE, "--public"))

    (created,) = shell.cloud.modal.sent("FunctionCreate")
    assert created.function.webhook_config.requires_proxy_auth is False
    assert shell.run(*on("status"))["proxy_auth"] is False


@pytest.mark.parametrize("oci", ["ghcr.io/o/i:latest", "ghcr.io/o/i", DIGEST])
def test_what_is_no_digest_is_refused(shell: Shell, oci: str) -> None:
    """Before anything is asked."""
    answer = shell.run(*on("deploy", "--oci", oci), status=1)

    assert answer["error"]["code"] == "ERR_IMAGE_UNPINNED"
    assert shell.cloud.modal.calls == []


def test_an_error_tells_a_person_what_to_do(shell: Shell) -> None:
    """Code, place, and the next step."""
    shell.text(*on("deploy"), status=1)

    assert "ERR_IMAGE_UNPINNED" in shell.stderr
    assert "processorctl publish" in shell.stderr


def test_a_wrong_option_is_wrong_usage(shell: Shell) -> None:
    """Not an error of Modal's."""
    shell.text("deploy", "--ref", TROUBLE, status=2)
    shell.text(*on("rollback", "--to", "latest"), status=2)


# --- status, list, logs


def test_what_is_deployed_is_described_and_listed(shell: Shell) -> None:
    """Other people's apps are left out."""
    shell.cloud.deploy_plan(replace(shell.cloud.plan("fix_trouble"), app="somebody-elses", app_tags={}))
    shell.run(*on("deploy", "--oci", IMAGE))

    status = shell.run(*on("status"))
    rows = shell.run("list", "--env", "dev")["apps"]

    assert (status["app"], status["ref"], status["digest"], status["version"]) == (APP, TROUBLE, TAG, 1)
    assert [version["tag"] for version in status["versions"]] == [TAG]
    assert [(row["app"], row["branch"], row["user"]) for row in rows] == [(APP, "main", "anna")]
    assert shell.run("list", "--env", "prod")["apps"] == []
    assert APP in shell.text("list", "--env", "dev")
    assert TAG in shell.text(*on("status"))


def test_what_is_not_deployed_has_no_status(shell: Shell) -> None:
    """Nor anything else that can be done with it."""
    for action in ("status", "stop", "logs", "rollback"):
        assert shell.run(*on(action), status=1)["error"]["code"] == "ERR_ENDPOINT_MISSING"


def test_logs_are_what_the_containers_wrote(shell: Shell) -> None:
    """One JSON object a line, as the processor writes them."""
    import asyncio

    shell.run(*on("deploy", "--oci", IMAGE))
    body = payload(do="hello")
    asyncio.run(shell.cloud.adapter("fix_trouble").run(body, timeout_s=60))

    lines = shell.run(*on("logs", "--lines", "50"))["lines"]

    events = [json.loads(line["message"]) for line in lines if line["message"].startswith("{")]
    assert body["execution_id"] in {event.get("execution_id") for event in events}
    assert body["execution_id"] in shell.text(*on("logs"))


# --- stop


def test_a_stopped_app_is_gone(shell: Shell) -> None:
    """A plan stops nothing."""
    shell.run(*on("deploy", "--oci", IMAGE))
    shell.cloud.modal.calls.clear()

    assert shell.run(*on("stop", "--dry-run"))["dry_run"] is True
    assert changed(shell.cloud) == set()

    shell.run(*on("stop"))

    assert changed(shell.cloud) == {"AppStop"}
    assert shell.run("list", "--env", "dev")["apps"] == []


# --- verify


def test_the_image_itself_is_the_strongest_evidence(shell: Shell) -> None:
    """Modal makes one image of one definition; weaker evidence is not looked for."""
    shell.run(*on("deploy", "--oci", IMAGE))

    answer = shell.run(*on("verify", "--oci", IMAGE))

    assert (answer["verdict"], answer["evidence"]) == ("match", "image")
    assert [finding["evidence"] for finding in answer["findings"]] == ["image"]
    assert shell.cloud.methods() == []


def test_another_image_is_drift(shell: Shell) -> None:
    """With a code, and a status that stops a pipeline."""
    shell.run(*on("deploy", "--oci", OTHER))

    answer = shell.run(*on("verify", "--oci", IMAGE), status=1)

    assert (answer["verdict"], answer["evidence"], answer["code"]) == ("drift", "image", "ERR_DIGEST_DRIFT")
    assert "ERR_DIGEST_DRIFT" in shell.text(*on("verify", "--oci", IMAGE), status=1)


@pytest.mark.parametrize(("image", "verdict", "status"), [(IMAGE, "match", 0), (OTHER, "drift", 1)])
def test_without_the_image_the_deployments_tag_counts(shell: Shell, image: str, verdict: str, status: int) -> None:
    """It goes with the version, not with the app: a lie in the app's tags changes nothing."""
    shell.run(*on("deploy", "--oci", IMAGE))
    modal.App.lookup(APP, environment_name="dev").set_tags({"image-digest": OTHER_TAG})
    shell.cloud.modal.faults["ImageGetOrCreate"] = Fail(Status.PERMISSION_DENIED)

    answer = shell.run(*on("verify", "--oci", image), status=status)

    assert (answer["verdict"], answer["evidence"]) == (verdict, "tag")
    assert [finding["verdict"] for finding in answer["findings"]] == ["unknown", verdict]


@pytest.mark.parametrize(("image", "verdict", "status"), [(IMAGE, "match", 0), (OTHER, "drift", 1)])
def test_without_both_the_processors_word_counts(shell: Shell, image: str, verdict: str, status: int) -> None:
    """It is asked for a route that it does not have: nothing is run."""
    shell.run(*on("deploy", "--oci", IMAGE))
    shell.cloud.modal.faults["ImageGetOrCreate"] = Fail(Status.PERMISSION_DENIED)
    shell.cloud.modal.faults["AppDeploymentHistory"] = Fail(Status.PERMISSION_DENIED)

    answer = shell.run(*on("verify", "--oci", image), status=status)

    assert (answer["verdict"], answer["evidence"]) == (verdict, "run")
    assert shell.cloud.methods() == ["GET /which-image"]


def test_without_any_evidence_nothing_is_proved(shell: Shell) -> None:
    """That is no success."""
    shell.run(*on("deploy", "--oci", IMAGE))
    for rpc in ("ImageGetOrCreate", "AppDeploymentHistory"):
        shell.cloud.modal.faults[rpc] = Fail(Status.PERMISSION_DENIED)
    shell.environ |= {"MODAL_PROXY_TOKEN_ID": "", "MODAL_PROXY_TOKEN_SECRET": ""}

    answer = shell.run(*on("verify", "--oci", IMAGE), status=1)

    assert (answer["verdict"], answer["evidence"]) == ("unknown", None)
    assert [finding["verdict"] for finding in answer["findings"]] == ["unknown"] * 3


def test_a_private_image_is_verified_by_the_secret_that_it_was_deployed_with(shell: Shell) -> None:
    """Another definition would be another image."""
    values = {"REGISTRY_USERNAME": "reader", "REGISTRY_PASSWORD": "word"}
    modal.Secret.objects.create("ghcr-pull", values, environment_name="dev")
    shell.cloud.plan("fix_trouble", image={"credentials": ("reader", "word")})
    shell.environ |= {"MODAL_REGISTRY_SECRET": "ghcr-pull"}
    shell.run(*on("deploy", "--oci", IMAGE))
    del shell.environ["MODAL_REGISTRY_SECRET"]

    assert shell.run(*on("verify", "--oci", IMAGE))["evidence"] == "image"


# --- rollback


def test_a_rollback_deploys_the_version_before(shell: Shell) -> None:
    """A plan says which, and changes nothing; afterwards the tags of app and deployment say the same."""
    shell.run(*on("deploy", "--oci", IMAGE))
    shell.run(*on("deploy", "--oci", OTHER))
    shell.cloud.modal.calls.clear()

    plan = shell.run(*on("rollback", "--dry-run"))
    assert (plan["from"]["tag"], plan["to"]["tag"], plan["to"]["number"]) == (OTHER_TAG, TAG, 1)
    assert changed(shell.cloud) == set()

    assert shell.run(*on("rollback"))["to"] == plan["to"]

    status = shell.run(*on("status"))
    assert (status["digest"], status["version"], status["versions"][0]["tag"]) == (TAG, 3, TAG)
    assert shell.run(*on("verify", "--oci", IMAGE))["verdict"] == "match"


def test_a_rollback_to_a_version_that_is_not_there_is_refused(shell: Shell) -> None:
    """The details name those that are."""
    shell.run(*on("deploy", "--oci", IMAGE))

    assert shell.run(*on("rollback"), status=1)["error"]["code"] == "ERR_INPUTS"
    answer = shell.run(*on("rollback", "--to", "v7"), status=1)
    assert "v7" in answer["error"]["details"][0]["message"]


# --- secrets sync


def states(answer: Mapping[str, Any]) -> dict[str, str]:
    """Return the state of each variable."""
    return {row["name"]: row["state"] for row in answer["secrets"]}


def stored(cloud: Cloud, name: str, environment: str = "dev") -> dict[str, str]:
    """Return what Modal holds."""
    secret = cloud.modal.secrets.named(name, environment)
    assert secret is not None
    return dict(secret.values)


def test_secrets_are_created_updated_and_left_as_they_are(shell: Shell) -> None:
    """Values come from the environment; what is not set here is said to be missing, and stays."""
    shell.environ |= {"FIX_SECRET": "first-value", "FIX_SETUP": "fine"}
    sync = on("secrets sync")

    assert states(shell.run(*sync)) == {"FIX_SECRET": "updated", "FIX_SETUP": "created"}
    assert stored(shell.cloud, "FIX_SECRET") == {"FIX_SECRET": "first-value"}
    assert states(shell.run(*sync)) == {"FIX_SECRET": "unchanged", "FIX_SETUP": "unchanged"}

    shell.environ |= {"FIX_SECRET": "second-value", "FIX_SETUP": ""}

    assert states(shell.run(*sync)) == {"FIX_SECRET": "updated", "FIX_SETUP": "missing"}
    assert stored(shell.cloud, "FIX_SECRET") == {"FIX_SECRET": "second-value"}
    assert stored(shell.cloud, "FIX_SETUP") == {"FIX_SETUP": "fine"}


def test_a_value_that_somebody_else_changed_is_written_again(shell: Shell) -> None:
    """What this machine remembers is no reason to leave it."""
    shell.environ |= {"FIX_SECRET": "first-value"}
    shell.run(*on("secrets sync"))
    modal.Secret.from_name("FIX_SECRET", environment_name="dev").update({"FIX_SECRET": "changed"})

    shell.run(*on("secrets sync"))

    assert stored(shell.cloud, "FIX_SECRET") == {"FIX_SECRET": "first-value"}


def test_a_required_secret_that_is_not_set_here_is_no_success(shell: Shell) -> None:
    """What Modal holds of it stays."""
    before = stored(shell.cloud, "FIX_SECRET")

    assert states(shell.run(*on("secrets sync"), status=1))["FIX_SECRET"] == "missing"
    assert stored(shell.cloud, "FIX_SECRET") == before


def test_a_plan_writes_no_secret(shell: Shell) -> None:
    """And says what would become of each."""
    shell.environ |= {"FIX_SECRET": "first-value", "FIX_SETUP": "fine"}

    plan = shell.run(*on("secrets sync", "--dry-run"))

    assert states(plan) == {"FIX_SECRET": "updated", "FIX_SETUP": "created"}
    assert changed(shell.cloud) == set()
    assert b"first-value" not in b"".join(call.message.SerializeToString() for call in shell.cloud.modal.calls)
    assert not (shell.cloud.var / "modal").exists()


def test_no_value_is_told_or_kept(shell: Shell) -> None:
    """Neither on stdout or stderr, nor in the file that remembers what was written last."""
    shell.environ |= {"FIX_SECRET": "canary-of-a-value"}

    text = shell.text(*on("secrets sync"))

    assert "canary" not in text + shell.stderr
    kept = shell.cloud.var / "modal" / "secrets.json"
    assert "canary" not in kept.read_text("utf-8")
    assert kept.stat().st_mode & 0o077 == 0


def test_each_environment_has_its_own(shell: Shell) -> None:
    """And without a ref all processors' secrets are written."""
    shell.environ |= {"FIX_SECRET": "value-of-prod", "KIT_SECRET": "kit"}

    answer = shell.run("secrets", "sync", "--env", "prod")

    assert {"FIX_SECRET", "KIT_SECRET"} <= set(states(answer))
    assert stored(shell.cloud, "FIX_SECRET", "prod") == {"FIX_SECRET": "value-of-prod"}
    assert stored(shell.cloud, "FIX_SECRET", "dev") == {"FIX_SECRET": SECRET}


# --- gc


@pytest.fixture
def checkout(shell: Shell) -> Path:
    """Return a repository with the branch `main` and an origin with `main` and `pushed`; processors lie in it."""
    origin, folder = shell.cloud.folder / "origin.git", shell.cloud.folder / "checkout"

    def git(*arguments: str) -> None:
        subprocess.run(["git", *arguments], check=True, capture_output=True)

    git("init", "--bare", "--initial-branch", "main", str(origin))
    git("clone", str(origin), str(folder))
    git("-C", str(folder), "-c", "user.name=a", "-c", "user.email=a@b", "commit", "--allow-empty", "--message", "a")
    for branch in ("main", "pushed"):
        git("-C", str(folder), "push", "origin", f"HEAD:refs/heads/{branch}")
    return folder


@pytest.fixture
def deployed(shell: Shell, checkout: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    """Return a shell in a checkout; apps of anna's `main`, `pushed` and `gone/away` live, and of otto's `gone`."""
    for branch, user in (("main", "anna"), ("pushed", "anna"), ("gone/away", "anna"), ("gone", "otto")):
        shell.environ |= {"DEPLOY_BRANCH": branch, "DEPLOY_USER": user}
        shell.run(*on("deploy", "--oci", IMAGE))
    shell.environ |= {"DEPLOY_BRANCH": "main", "DEPLOY_USER": "anna"}
    here = replace(host_in(shell.cloud.folder), processors=checkout)
    monkeypatch.setattr(Host, "here", lambda: replace(here, environ=shell.environ))
    shell.cloud.modal.calls.clear()
    return shell


def test_apps_of_branches_that_are_gone_are_stopped(deployed: Shell) -> None:
    """One's own, unless everybody's are asked for; a plan stops none."""
    plan = deployed.run("gc", "--env", "dev", "--dry-run")
    assert [row["user"] for row in plan["gone"]] == ["anna"]
    assert changed(deployed.cloud) == set()
    everybodys = deployed.run("gc", "--env", "dev", "--dry-run", "--all-users")
    assert sorted(row["user"] for row in everybodys["gone"]) == ["anna", "otto"]

    assert deployed.run("gc", "--env", "dev")["gone"] == plan["gone"]

    left = {row["branch"] for row in deployed.run("list", "--env", "dev")["apps"]}
    assert left == {"main", "pushed", "gone"}


def test_where_git_cannot_say_nothing_is_stopped(deployed: Shell, checkout: Path) -> None:
    """Every branch would seem to be gone."""
    subprocess.run(["git", "-C", str(checkout), "remote", "set-url", "origin", "/nowhere"], check=True)

    assert deployed.run("gc", "--env", "dev", status=1)["error"]["code"] == "ERR_INPUTS"
    assert changed(deployed.cloud) == set()


def test_only_dev_has_apps_of_branches(shell: Shell) -> None:
    """Elsewhere there is nothing to collect."""
    assert shell.run("gc", "--env", "prod", status=1)["error"]["code"] == "ERR_INPUTS"


# --- for every action


@pytest.mark.parametrize("action", ["deploy", "status", "verify", "list", "logs", "stop", "secrets", "rollback", "gc"])
def test_each_action_has_help_with_an_example(action: str, shell: Shell) -> None:
    """That can be pasted."""
    text = shell.text(action, "--help")

    assert "python manage.py modalctl" in text
    assert "--env" in text
    assert "--json" in text


@pytest.mark.parametrize("arguments", [("list", "--env", "dev"), on("status"), on("secrets sync")], ids=str)
def test_without_a_token_each_action_says_so(shell: Shell, arguments: tuple[str, ...], monkeypatch: Any) -> None:
    """With its own code."""
    for name in ("MODAL_TOKEN_ID", "MODAL_TOKEN_SECRET"):
        del shell.environ[name]
        monkeypatch.delenv(name)
    forget()

    assert shell.run(*arguments, status=1)["error"]["code"] == "ERR_MODAL_AUTH"

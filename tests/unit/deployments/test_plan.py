"""What Modal will be told, known before anything is asked of it."""

from __future__ import annotations

import ast
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from modal._utils.name_utils import check_tag_dict, is_valid_tag

from apps.core.adapters.modal.naming import Lane
from apps.core.deployments.plan import ENTRY, digest_tag, image_of, planned
from apps.core.images.errors import ImageUnpinnedError
from apps.core.registry import ImageReference, Registration
from processor_runtime.errors import InputsError
from processor_runtime.values import Digest

DIGEST = "sha256:" + "0123456789abcdef" * 4
PINNED = f"ghcr.io/owner/chat@{DIGEST}"
OTHER = "ghcr.io/owner/chat@sha256:" + "f" * 64


def registration(**runtime: Any) -> Registration:
    """Return `llm/chat@1` with a pin; *runtime* replaces parts of its runtime."""
    return Registration.parse(
        {
            "ref": "llm/chat@1",
            "image": {"platforms": {"amd64": PINNED, "arm64": OTHER}},
            "runtime": {"cpu": "0.5", "memory_gb": 1.5, "timeout_s": 120, "concurrency": 8, **runtime},
            "secrets": {"required": ["OPENAI_API_KEY"], "optional": ["OPENAI_BASE_URL"]},
            "inputs": {"type": "object"},
            "outputs": [],
        },
        Path("/processors/llm_chat"),
    )


def plan_of(
    lane: Lane | None = None, *, registry_secret: str | None = None, proxy_auth: bool = True, **runtime: Any
) -> Any:
    """Return the plan of the pinned image in prod."""
    image = ImageReference.parse(PINNED)
    return planned(
        registration(**runtime), lane or Lane("prod"), image, registry_secret=registry_secret, proxy_auth=proxy_auth
    )


def test_a_plan_says_all_that_modal_is_told() -> None:
    """It can be printed, read in a review, and compared."""
    plan = plan_of().as_json()

    assert json.loads(json.dumps(plan)) == {
        "app": "llm-chat-v1-prod",
        "environment": "prod",
        "ref": "llm/chat@1",
        "image": PINNED,
        "dockerfile": [f"FROM {PINNED}"],
        "builder": "2025.06",
        "registry_secret": None,
        "function": "fastapi_app",
        "uploads": ["modal_entry.py"],
        "cpu": 0.5,
        "memory_mib": 1536,
        "gpu": None,
        "timeout_s": 300,
        "startup_timeout_s": 600,
        "max_inputs": 8,
        "required_secrets": ["OPENAI_API_KEY"],
        "optional_secrets": ["OPENAI_BASE_URL"],
        "environ": {
            "IMAGE_DIGEST": DIGEST,
            "IMAGE_PINNED": "1",
            "PROCESSOR_WRITE_ROOTS": "/artifacts",
            "ARTIFACTS_VOLUME": "processor-artifacts",
            "ARTIFACTS_VOLUME_ENVIRONMENT": "prod",
        },
        "volumes": {"/artifacts": "processor-artifacts"},
        "proxy_auth": True,
        "tag": "sha256-0123456789abcdef0123456789abcdef01234567",
        "app_tags": {
            "processor-namespace": "llm",
            "processor-name": "chat",
            "processor-version": "1",
            "image-digest": "sha256-0123456789abcdef0123456789abcdef01234567",
        },
    }


def test_in_dev_the_apps_tags_say_whose_it_is() -> None:
    """So that apps whose branch is gone can be found."""
    tags = plan_of(Lane("dev", "feature/login", "anna")).app_tags

    assert tags["processor-branch"].startswith("feature-login-x")
    assert tags["processor-user"] == "anna"


def test_tags_are_such_as_modal_takes() -> None:
    """The SDK would refuse others, after the first question to the server."""
    plan = plan_of(Lane("dev", "ветка/" * 40, "anna"), registry_secret="ghcr-pull")

    check_tag_dict(plan.app_tags)
    assert is_valid_tag(plan.tag, 50)
    assert plan.app_tags["registry-secret"] == "ghcr-pull"


@pytest.mark.parametrize("name", ["", "a b", "a/b", "a" * 64])
def test_a_registry_secret_that_modal_cannot_have_is_refused(name: str) -> None:
    """Before anything is asked."""
    with pytest.raises(InputsError) as refused:
        plan_of(registry_secret=name)

    assert refused.value.details[0]["path"] == "--registry-secret"


@pytest.mark.parametrize(("timeout_s", "expected"), [(0.5, 61), (600, 1260), (86400, 86400)])
def test_modals_own_limit_lets_the_processor_answer_first(timeout_s: float, expected: int) -> None:
    """A run may wait as long as it may take; a day is the most that Modal gives."""
    assert plan_of(timeout_s=timeout_s).timeout_s == expected


def test_the_environment_of_whoever_deploys_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """CI deploys: with its `CI` no real run would ever be served."""
    monkeypatch.setenv("CI", "true")

    assert "CI" not in plan_of().environ


def test_a_gpu_is_asked_for_and_access_can_be_public() -> None:
    """As the registry and the option say."""
    plan = plan_of(gpu="A100:2", proxy_auth=False)

    assert (plan.gpu, plan.proxy_auth) == ("A100:2", False)


# --- the image


def test_without_an_option_it_is_the_pin_for_amd64() -> None:
    """The only platform that Modal runs."""
    assert str(image_of(registration(), None)) == PINNED


def test_an_option_replaces_the_pin() -> None:
    """To try an image before it is pinned."""
    assert str(image_of(registration(), OTHER)) == OTHER


@pytest.mark.parametrize(
    "text", ["", "ghcr.io/o/chat", "ghcr.io/o/chat:1", f"ghcr.io/o/chat:1@{DIGEST}", DIGEST, "ghcr.io/o/chat@sha256:ab"]
)
def test_what_names_no_image_by_its_digest_is_refused(text: str) -> None:
    """A tag may name another image tomorrow."""
    with pytest.raises(ImageUnpinnedError) as refused:
        image_of(registration(), text)

    assert refused.value.details[0]["path"] == "--oci"


def test_without_a_pin_and_without_an_option_nothing_is_deployed() -> None:
    """The detail says what to do."""
    bare = Registration.parse({"ref": "llm/chat@1", "inputs": {}, "outputs": []}, Path("/processors/llm_chat"))

    with pytest.raises(ImageUnpinnedError) as refused:
        image_of(bare, None)

    assert "--oci" in refused.value.details[0]["message"]


def test_a_tag_tells_digests_apart_by_as_many_digits_as_fit() -> None:
    """160 bits of 256."""
    one, other = (Digest.parse("sha256:" + "a" * 39 + digit + "0" * 24) for digit in "bc")

    assert digest_tag(one) != digest_tag(other)


# --- the one file that is uploaded


def test_the_entry_file_stands_alone() -> None:
    """All that it imports when it is loaded is in every Python; nothing of ours is uploaded with it."""
    tree = ast.parse(ENTRY.read_text("utf-8"))
    names = {
        name.partition(".")[0]
        for node in tree.body
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""])
    }

    assert names <= sys.stdlib_module_names

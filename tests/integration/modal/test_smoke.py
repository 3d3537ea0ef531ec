"""`make modal-smoke` on the local Modal: each check holds there, can fail, and leaves no app behind."""

from __future__ import annotations

import os
from pathlib import Path

import modal
import pytest

from scripts import modal_smoke
from tests.local_modal import Image, LocalModal, reply
from tests.support.deployed import DIGEST, RUNTIME
from tests.support.executions import OWN, ROOT

GUIDE = ROOT / "docs" / "guides" / "modal.md"
IMAGE = f"ghcr.io/owner/llm_chat@{DIGEST}"


@pytest.fixture
def environ(local_modal: LocalModal, tmp_path: Path) -> dict[str, str]:
    """Return the environment of somebody with tokens; the image of `llm/chat@1` can be pulled."""
    local_modal.images[IMAGE] = Image(OWN / "llm_chat", path=(RUNTIME,))
    modal.Secret.objects.create("OPENAI_API_KEY", {"OPENAI_API_KEY": "never used in mock"}, environment_name="dev")
    key, secret = local_modal.proxy_token
    return {
        **os.environ,
        "MODAL_PROXY_TOKEN_ID": key,
        "MODAL_PROXY_TOKEN_SECRET": secret,
        "DEPLOY_USER": "anna",
        "ARTIFACTS_ROOT": str(tmp_path / "artifacts"),
        "REF": "llm/chat@1",
        "OCI": IMAGE,
    }


def left() -> list[str | None]:
    """Return the apps that are deployed."""
    return [app.name for app in modal.Environment.from_name("dev").apps.list()]


@pytest.mark.slow
def test_every_check_holds(environ: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    """With what was seen beside each."""
    status = modal_smoke.main(environ)

    out = capsys.readouterr().out
    assert status == 0, out
    assert [line.split(":")[0] for line in out.splitlines() if line.startswith("ok ")] == [
        f"ok     {check.__name__}" for check in modal_smoke.CHECKS
    ]
    assert left() == []


@pytest.mark.slow
def test_a_cloud_that_answers_otherwise_fails_it(
    environ: dict[str, str],
    local_modal: LocalModal,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The others are looked at all the same, and nothing is left behind."""
    local_modal.web.always(reply.reply_html(200))
    monkeypatch.setattr(
        modal_smoke, "CHECKS", (modal_smoke.deployed, modal_smoke.run, modal_smoke.refused_without_token)
    )

    assert modal_smoke.main(environ) == 1

    out = capsys.readouterr().out
    assert "FAILED run" in out
    assert "FAILED refused_without_token" in out
    assert "1 of 3 held" in out
    assert left() == []


@pytest.mark.parametrize("name", modal_smoke.TOKENS)
def test_without_a_token_it_says_that_nothing_was_shown(
    name: str, environ: dict[str, str], local_modal: LocalModal, capsys: pytest.CaptureFixture[str]
) -> None:
    """That is no failure, and no success either."""
    del environ[name]
    local_modal.calls.clear()

    assert modal_smoke.main(environ) == 0

    assert capsys.readouterr().out == f"modal-smoke: SKIPPED, nothing was shown: not set: {name}\n"
    assert local_modal.calls == []


def test_what_cannot_be_deployed_is_told(environ: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is pinned, say."""
    environ["OCI"] = "ghcr.io/owner/llm_chat:latest"

    assert modal_smoke.main(environ) == 1
    assert "ERR_IMAGE_UNPINNED" in capsys.readouterr().out


def test_the_guide_lists_every_check() -> None:
    """And what somebody has to look at besides."""
    text = GUIDE.read_text("utf-8")

    assert [check.__name__ for check in modal_smoke.CHECKS if f"`{check.__name__}`" not in text] == []

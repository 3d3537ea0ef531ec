"""The base image is made once for a recipe and a machine's certificates, and a machine that cannot says so."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from scripts import make_base_image
from scripts.make_base_image import TAG, BaseImageError, ensure, fingerprint, main

# Knows the image whose recipe lies in a file
DOCKER = """#!/bin/sh
[ "$1" = version ] && { [ -e "$FAKE/answers" ] && echo 99.1 || { echo "Cannot connect" >&2; exit 1; }; exit; }
echo "$@" >> "$FAKE/asked"
case "$*" in
  *python:*) case "$*" in "$(cat "$FAKE/has" 2>/dev/null || echo nothing)"*) exit 0;; *) exit 1;; esac;;
esac
cat "$FAKE/recipe" 2>/dev/null
"""


@pytest.fixture(autouse=True)
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a `docker` on the path that answers from files, and no debootstrap."""
    (tmp_path / "docker").write_text(DOCKER, encoding="utf-8")
    (tmp_path / "docker").chmod(0o755)
    (tmp_path / "answers").touch()
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}/bin")
    monkeypatch.setenv("FAKE", str(tmp_path))
    monkeypatch.setattr("shutil.which", lambda _: None)


def test_an_image_of_this_recipe_is_kept(tmp_path: Path) -> None:
    """Only asked about."""
    (tmp_path / "recipe").write_text(fingerprint(), encoding="utf-8")

    assert ensure() is False
    assert (tmp_path / "asked").read_text("utf-8").count("\n") == 1


@pytest.mark.parametrize("recipe", ["", "0" * 64], ids=["no image", "an image of another recipe"])
def test_where_it_cannot_be_made_a_person_is_told_what_to_do(tmp_path: Path, recipe: str) -> None:
    """Root makes it; others need the public one."""
    (tmp_path / "recipe").write_text(recipe, encoding="utf-8")

    with pytest.raises(BaseImageError, match=r"only root can make it, .* python:\S+ cannot be pulled"):
        ensure()

    assert "pull --quiet python:" in (tmp_path / "asked").read_text("utf-8")


@pytest.mark.parametrize("how", ["image inspect", "pull --quiet"])
def test_where_it_cannot_be_made_the_public_image_does_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """On a hosted runner nobody is root; it is there, or is pulled."""
    monkeypatch.setenv("CI", "1")
    (tmp_path / "has").write_text(f"{how} python:", encoding="utf-8")

    assert main(["--optional"]) == 0


def test_other_certificates_ask_for_another_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An image with last year's certificates reaches no index."""
    before = fingerprint()
    (tmp_path / "certificates").write_text("another", encoding="utf-8")

    monkeypatch.setattr(make_base_image, "CERTIFICATES", tmp_path / "certificates")

    assert fingerprint() != before


@pytest.mark.parametrize(("ci", "status"), [("1", 1), ("", 0)], ids=["CI", "a laptop"])
def test_without_an_engine_it_is_a_failure_in_ci_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], ci: str, status: int
) -> None:
    """As the tests that need it."""
    (tmp_path / "answers").unlink()
    monkeypatch.setenv("CI", ci)

    assert main(["--optional"]) == status
    assert capsys.readouterr().err.startswith(f"{TAG}: no Docker Engine answers (Cannot connect)")

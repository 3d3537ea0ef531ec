"""Which lane is meant: what an option or a variable says, and what is checked out."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from apps.core.adapters.errors import EndpointMissingError
from apps.core.adapters.modal.lanes import lane_here
from apps.core.adapters.modal.naming import Lane

PATH = {"PATH": os.environ["PATH"], "USER": "anna"}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Return a folder in a repository without commits, on the branch `feature/login`."""
    subprocess.run(["git", "init", "--quiet", "--initial-branch", "feature/login", str(tmp_path)], check=True)
    folder = tmp_path / "deep"
    folder.mkdir()
    return folder


def test_in_dev_branch_and_user_are_found_here(checkout: Path) -> None:
    """Two branches, and two users, do not take each other's apps."""
    assert lane_here("dev", PATH, checkout) == Lane("dev", "feature/login", "anna")


def test_variables_replace_what_is_found(checkout: Path) -> None:
    """CI builds without a branch checked out, and a worker without a checkout."""
    environ = PATH | {"DEPLOY_BRANCH": "main", "DEPLOY_USER": "ci", "MODAL_ENVIRONMENT": "prod"}

    assert lane_here("dev", environ, checkout) == Lane("dev", "main", "ci")
    assert lane_here("", environ, checkout) == Lane("prod")


def test_without_an_environment_it_is_dev(checkout: Path) -> None:
    """Nothing reaches production by leaving something out."""
    assert lane_here("", PATH, checkout).environment == "dev"


@pytest.mark.parametrize("environment", ["prod", "staging", "eu_1"])
def test_elsewhere_neither_branch_nor_user_counts(environment: str, tmp_path: Path) -> None:
    """There is one app, whoever deploys it, and git is not asked."""
    assert lane_here(environment, {}, tmp_path / "nowhere") == Lane(environment)


def test_without_a_branch_dev_is_refused(tmp_path: Path) -> None:
    """A guess would be somebody else's app."""
    with pytest.raises(EndpointMissingError) as refused:
        lane_here("dev", PATH, tmp_path)

    assert refused.value.details[0]["path"] == "DEPLOY_BRANCH"


@pytest.mark.parametrize("environment", ["en-1", "a.b", "-a", "a b", "a" * 65])
def test_what_modal_takes_for_no_environment_is_refused(environment: str, tmp_path: Path) -> None:
    """Before anything is asked."""
    with pytest.raises(EndpointMissingError) as refused:
        lane_here(environment, PATH, tmp_path)

    assert refused.value.details[0]["path"] == "--env"

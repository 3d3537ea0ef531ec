"""Modal's SDK is imported where it is used, and nowhere else: it takes longer to import than most commands take."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support.executions import ROOT

WITHOUT = [
    "apps.core.executions",
    "apps.core.management.commands.modalctl",
    "apps.core.management.modal_text",
    "apps.core.adapters.modal.adapter",
    "apps.core.deployments.plan",
    "apps.core.deployments.collect",
    "apps.core.deployments.history",
]


def imported(*modules: str) -> set[str]:
    """Return which of Modal's SDK and the HTTP client are imported, in a fresh process, with *modules*."""
    program = f"import sys, {', '.join(modules)}; print(*sorted({{'modal', 'httpx2'}} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT / "code",
        env={"PYTHONPATH": ".", "DJANGO_SETTINGS_MODULE": "backend.settings.unittest"},
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.split())


@pytest.mark.parametrize("module", WITHOUT)
def test_a_module_that_asks_nothing_of_modal_does_not_import_its_sdk(module: str) -> None:
    """Nor the HTTP client."""
    assert imported(module) == set()


def test_a_module_that_asks_does() -> None:
    """The question above can be answered otherwise."""
    assert imported("apps.core.adapters.modal.sdk") == {"modal"}

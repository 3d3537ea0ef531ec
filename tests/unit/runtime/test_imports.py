"""What an author imports comes when it is asked for, without the collector looking on."""

from __future__ import annotations

import subprocess
import sys

import pytest

import processor_runtime


def said(code: str) -> str:
    """Return what *code* prints in an interpreter of its own."""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_the_web_framework_comes_with_what_needs_it() -> None:
    """The orchestrator asks for less, and gets less."""
    asked = "import sys, processor_runtime as p; p.InputsError; print('fastapi' in sys.modules)"

    assert said(asked) == "False"
    assert said(asked.replace("InputsError", "create_app")) == "True"


@pytest.mark.parametrize("before", ["enable", "disable"])
def test_the_collector_waits_for_the_import_and_is_then_as_it_was(before: str) -> None:
    """A service that had turned it off keeps it off; in the import itself nothing is collected."""
    watched = (
        f"import gc, processor_runtime as p; gc.{before}(); before = gc.isenabled(); seen = []\n"
        "gc.callbacks.append(lambda phase, _: seen.append(phase)); p.create_app; gc.callbacks.clear()\n"
        "print(before == gc.isenabled(), seen)"
    )

    assert said(watched) == "True []"


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    """As of any module."""
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = processor_runtime.nothing

"""The digest of a source tree changes with its behaviour, and with nothing else."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import rfc8785

from apps.core.adapters.process.source import RUNTIME, source_digest
from apps.core.registry import load_registration
from tests.support.executions import OWN


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a copy of `llm/chat` that a test may change."""
    return Path(shutil.copytree(OWN / "llm_chat", tmp_path / "llm_chat", ignore=shutil.ignore_patterns("__pycache__")))


@pytest.fixture
def runtime(tmp_path: Path) -> Path:
    """Return a copy of the runtime that a test may change."""
    return Path(shutil.copytree(RUNTIME, tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__")))


def digest(folder: Path, runtime: Path = RUNTIME) -> str:
    """Return the digest of the processor in *folder*."""
    return source_digest(load_registration(folder), runtime)


def edited(path: Path, old: str, new: str) -> None:
    """Replace *old*, which is there, by *new*."""
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def test_it_is_made_as_its_docstring_says(folder: Path, runtime: Path) -> None:
    """The recipe, by hand: one line a part, as `sha256sum` writes it, sorted, hashed."""
    lines = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(root)}\n"
        for root, top in ((folder, "app"), (runtime, "processor_runtime"))
        for path in (root / top).rglob("*")
        if path.is_file()
    ]
    lock = (folder / "requirements.txt").read_bytes()
    document = load_registration(folder).declaration.document
    assert "image" not in document
    lines += [
        f"{hashlib.sha256(lock).hexdigest()}  requirements.txt\n",
        f"{hashlib.sha256(rfc8785.dumps(json.loads(json.dumps(document)))).hexdigest()}  registry.yaml\n",
    ]

    assert digest(folder, runtime) == "sha256:" + hashlib.sha256("".join(sorted(lines)).encode()).hexdigest()


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda folder: edited(folder / "app" / "handler.py", "run.token", "run. token"), id="a handler"),
        pytest.param(lambda folder: (folder / "app" / "new.txt").write_text("x", encoding="utf-8"), id="a new file"),
        pytest.param(lambda folder: edited(folder / "requirements.txt", "anyio==", "anyio== "), id="the lock"),
        pytest.param(
            lambda folder: edited(folder / "registry.yaml", "memory_gb: 1", "memory_gb: 2"), id="the registry"
        ),
    ],
)
def test_it_changes_with_what_may_change_behaviour(folder: Path, change: Callable[[Path], object]) -> None:
    """Any byte of the code, any pin, any value that is declared."""
    before = digest(folder)

    change(folder)

    assert digest(folder) != before


def test_it_changes_with_the_runtime(folder: Path, runtime: Path) -> None:
    """The runtime is half of what runs."""
    before = digest(folder, runtime)
    assert before == digest(folder)

    edited(runtime / "processor_runtime" / "envelopes.py", "import", "import ")

    assert digest(folder, runtime) != before


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(
            lambda folder: edited(folder / "registry.yaml", "\nruntime:", "\n# more\nruntime:"), id="a comment"
        ),
        pytest.param(
            lambda folder: edited(
                folder / "registry.yaml",
                "image:\n",
                f"image:\n  platforms:\n    amd64: ghcr.io/o/i@sha256:{'0' * 64}\n",
            ),
            id="a pin",
        ),
        pytest.param(lambda folder: (folder / "Dockerfile").unlink(), id="what only an image needs"),
        pytest.param(
            lambda folder: [
                (folder / "app" / "__pycache__").mkdir(),
                (folder / "app" / "__pycache__" / "x.pyc").write_bytes(b"x"),
            ],
            id="compiled Python",
        ),
    ],
)
def test_it_does_not_change_with_what_does_not(folder: Path, change: Callable[[Path], object]) -> None:
    """Pinning an image never changes the next build."""
    before = digest(folder)

    change(folder)

    assert digest(folder) == before

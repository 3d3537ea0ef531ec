"""The digest of a source tree changes with its behaviour, and with nothing else."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import rfc8785

from apps.core.images.source import CODE, source_digest
from apps.core.registry import load_registration
from tests.support.executions import OWN


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a copy of `llm/chat` that a test may change."""
    return Path(shutil.copytree(OWN / "llm_chat", tmp_path / "llm_chat", ignore=shutil.ignore_patterns("__pycache__")))


@pytest.fixture
def code(tmp_path: Path) -> Path:
    """Return a folder with a copy of what every image holds, which a test may change."""
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(CODE / "runtime", tmp_path / "code" / "runtime", ignore=ignored)
    (tmp_path / "code" / "requirements").mkdir()
    shutil.copy(CODE / "requirements" / "build.txt", tmp_path / "code" / "requirements")
    return tmp_path / "code"


def digest(folder: Path, code: Path = CODE) -> str:
    """Return the digest of the processor in *folder*."""
    return source_digest(load_registration(folder), code)


def edited(path: Path, old: str, new: str) -> None:
    """Replace *old*, which is there, by *new*."""
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def test_it_is_made_as_its_docstring_says(folder: Path, code: Path) -> None:
    """The recipe, by hand: one line a part, as `sha256sum` writes it, sorted, hashed."""
    package = code / "runtime" / "src" / "processor_runtime"
    parts = [(path, folder) for path in (folder / "app").rglob("*") if path.is_file()]
    parts += [(folder / name, folder) for name in ("requirements.txt", "Dockerfile")]
    parts += [(path, code) for path in package.rglob("*") if path.is_file()]
    parts += [(code / name, code) for name in ("runtime/pyproject.toml", "runtime/README.md", "requirements/build.txt")]
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(root)}\n" for path, root in parts]
    document = load_registration(folder).declaration.document
    assert "image" not in document
    lines.append(f"{hashlib.sha256(rfc8785.dumps(json.loads(json.dumps(document)))).hexdigest()}  registry.yaml\n")

    assert digest(folder, code) == "sha256:" + hashlib.sha256("".join(sorted(lines)).encode()).hexdigest()


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda folder: edited(folder / "app" / "handler.py", "run.token", "run. token"), id="a handler"),
        pytest.param(lambda folder: (folder / "app" / "new.txt").write_text("x", encoding="utf-8"), id="a new file"),
        pytest.param(lambda folder: edited(folder / "requirements.txt", "anyio==", "anyio== "), id="the lock"),
        pytest.param(lambda folder: edited(folder / "Dockerfile", "USER 10001", "USER 0"), id="the Dockerfile"),
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


@pytest.mark.parametrize(
    "name",
    ["runtime/src/processor_runtime/envelopes.py", "runtime/pyproject.toml", "requirements/build.txt"],
    ids=["its code", "its dependencies", "what builds it"],
)
def test_it_changes_with_the_runtime(folder: Path, code: Path, name: str) -> None:
    """The runtime is half of what runs."""
    before = digest(folder, code)
    assert before == digest(folder)

    with (code / name).open("a", encoding="utf-8") as file:
        file.write("# more\n")

    assert digest(folder, code) != before


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
        pytest.param(lambda folder: (folder / "notes.md").write_text("x", encoding="utf-8"), id="what no image holds"),
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

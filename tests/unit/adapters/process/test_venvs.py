"""Environments are built once, whole or not at all, from exactly one lock."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import uv

from apps.core.adapters.errors import HealthError
from apps.core.adapters.journal import Journal
from apps.core.adapters.process import venvs
from tests.support.executions import Story, alive, marked


class FakeUv:
    """Stands for uv: `venv` makes a Python, `pip` fills the environment, or does what it was told instead."""

    def __init__(self, pip: Callable[[], object] = lambda: None) -> None:
        self.calls: list[tuple[str, ...]] = []
        self._pip = pip

    async def __call__(self, _environ: Mapping[str, str], _journal: Journal, *arguments: str) -> None:
        """Do what uv would do with *arguments*."""
        self.calls.append(arguments)
        await asyncio.sleep(0.01)
        if arguments[0] == "venv":
            python = Path(arguments[-1]) / "bin" / "python"
            python.parent.mkdir(parents=True)
            python.touch()
        else:
            self._pip()


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    """Return a lock."""
    path = tmp_path / "requirements.txt"
    path.write_text("anyio==1 --hash=sha256:0\n", encoding="utf-8")
    return path


def build(lock: Path, fake: FakeUv, monkeypatch: pytest.MonkeyPatch, story: Story, callers: int = 1) -> list[Path]:
    """Return what *callers* at once get."""
    monkeypatch.setattr(venvs, "_uv", fake)
    folder = lock.parent / "venvs"

    async def at_once() -> list[Path]:
        return await asyncio.gather(*(venvs.environment(lock, folder, {}, story.journal) for _ in range(callers)))

    return asyncio.run(at_once())


def folders(lock: Path) -> list[str]:
    """Return the names of the environments, whole or not."""
    return sorted(path.name for path in (lock.parent / "venvs").iterdir() if path.is_dir())


def test_an_environment_is_built_from_hashed_wheels_and_kept(lock: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second call finds it; nothing but what the lock names is installed, and no package's code runs."""
    fake, story = FakeUv(), Story()

    first, second = build(lock, fake, monkeypatch, story)[0], build(lock, fake, monkeypatch, story)[0]

    assert first == second == lock.parent / "venvs" / venvs.key(lock.read_bytes()) / "bin" / "python"
    assert [call[0] for call in fake.calls] == ["venv", "pip"]
    assert {"sync", "--require-hashes", "--no-build", str(lock)} <= set(fake.calls[1])
    assert [record["event"] for record in story.records] == ["adapter.environment.build", "adapter.environment.ready"]


def test_many_callers_at_once_build_it_once(lock: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others wait, and say so."""
    fake, story = FakeUv(), Story()

    found = build(lock, fake, monkeypatch, story, callers=5)

    assert len(set(found)) == 1
    assert len(fake.calls) == 2
    assert len(story.events("adapter.environment.wait")) == 4


def test_another_lock_is_another_environment(lock: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both stay: two processors may differ."""
    fake = FakeUv()
    first = build(lock, fake, monkeypatch, Story())
    lock.write_text("anyio==2 --hash=sha256:0\n", encoding="utf-8")

    assert build(lock, fake, monkeypatch, Story()) != first
    assert len(folders(lock)) == 2


def test_a_build_that_fails_leaves_nothing_and_is_tried_again(lock: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody ever uses half an environment."""

    def fail() -> None:
        raise HealthError

    with pytest.raises(HealthError):
        build(lock, FakeUv(fail), monkeypatch, Story())
    assert folders(lock) == []

    assert build(lock, FakeUv(), monkeypatch, Story())[0].exists()


def test_what_a_killed_build_left_is_removed_by_the_next(lock: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It lies under another name, so it was never used."""
    left = lock.parent / "venvs" / f"{venvs.key(lock.read_bytes())}.4711.part" / "bin"
    left.mkdir(parents=True)

    build(lock, FakeUv(), monkeypatch, Story())

    assert folders(lock) == [venvs.key(lock.read_bytes())]


def test_an_environment_whose_python_is_gone_is_built_anew(lock: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It breaks when the Python that it was made from is removed: the link then leads nowhere."""
    (python,) = build(lock, FakeUv(), monkeypatch, Story())
    python.unlink()
    python.symlink_to("/nowhere/python")
    fake = FakeUv()

    assert build(lock, fake, monkeypatch, Story()) == [python]
    assert python.exists()
    assert len(fake.calls) == 2


def test_a_processor_without_a_lock_is_refused(lock: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What runs on nothing in particular is not run."""
    lock.unlink()

    with pytest.raises(HealthError) as refused:
        build(lock, FakeUv(), monkeypatch, Story())

    assert refused.value.details == ({"path": "requirements.txt", "message": "No such file or directory"},)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        pytest.param("not-a-package-of-any-index==1\n", "hash", id="a package without a hash"),
        pytest.param("this is no requirement\n", "", id="no lock at all"),
    ],
)
def test_what_uv_says_against_a_lock_is_in_the_details(tmp_path: Path, text: str, reason: str) -> None:
    """The real uv, which needs no network to refuse these."""
    lock, story = tmp_path / "requirements.txt", Story()
    lock.write_text(text, encoding="utf-8")

    with pytest.raises(HealthError) as refused:
        asyncio.run(venvs.environment(lock, tmp_path / "venvs", {"UV_OFFLINE": "1"}, story.journal))

    first, *rest = refused.value.details
    assert first["message"].startswith("uv pip: exit status ")
    assert reason in " ".join(detail["message"] for detail in rest)
    assert folders(lock) == []


def test_a_build_that_is_cancelled_ends_uv_and_leaves_nothing(
    lock: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C in the first minute: no download goes on, and half an environment is nobody's."""
    mark, fake = tmp_path / "mark", tmp_path / "uv"
    fake.write_text(
        f'#!/bin/sh\nmkdir -p "$(printf %s "$*" | grep -o "[^ ]*part")"\necho $$ > {mark}\nexec sleep 3600\n'
    )
    fake.chmod(0o755)
    monkeypatch.setattr(uv, "find_uv_bin", lambda: str(fake))
    story, part = Story(), f"{venvs.key(lock.read_bytes())}.{os.getpid()}.part"

    async def cancel() -> int:
        building = asyncio.ensure_future(venvs.environment(lock, tmp_path / "venvs", dict(os.environ), story.journal))
        pid = await marked(mark)
        assert folders(lock) == [part]
        building.cancel()
        await asyncio.wait([building])
        assert building.cancelled()
        return pid

    pid = asyncio.run(cancel())

    assert not alive(pid)
    assert folders(lock) == []

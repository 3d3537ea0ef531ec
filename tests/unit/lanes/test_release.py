"""The wheel `processor-runtime`: one version, a changelog that names it, and the same bytes whoever builds it."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
import zipfile
from pathlib import Path

import pytest

from scripts import release

INIT = Path(release.VERSION_FILE)
SECTION = "# Changelog\n\n## Unreleased\n\n## 0.1.0 - 2026-11-25\n\n### Added\n\n- The contract.\n"


def git(root: Path, *arguments: str) -> None:
    """Run git in *root* as nobody in particular."""
    names = {f"GIT_{role}_{what}": "a@b.example" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    subprocess.run(["git", *arguments], cwd=root, check=True, capture_output=True, env=os.environ | names)


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """Return a repository with this one's runtime, its build lock, and a changelog that names version 0.1.0."""
    root = tmp_path / "clone"
    left_out = shutil.ignore_patterns("__pycache__", "*.egg-info", "dist")
    shutil.copytree(release.ROOT / release.RUNTIME, root / release.RUNTIME, ignore=left_out)
    (root / release.BUILD_LOCK).parent.mkdir()
    shutil.copy(release.ROOT / release.BUILD_LOCK, root / release.BUILD_LOCK)
    state_version(root, "0.1.0")
    (root / "CHANGELOG.md").write_text(SECTION, encoding="utf-8")
    git(root, "init", "--quiet", "--initial-branch", "main")
    commit(root)
    return root


def state_version(root: Path, number: str) -> None:
    """Write *number* where the version stands."""
    old = release.version((root / INIT).read_text(encoding="utf-8"))
    text = (root / INIT).read_text(encoding="utf-8").replace(f'"{old}"', f'"{number}"')
    (root / INIT).write_text(text, encoding="utf-8")


def commit(root: Path) -> None:
    """Commit all that lies in *root*."""
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message", "change")


@pytest.mark.slow
@pytest.mark.network
def test_the_same_commit_gives_the_same_bytes(clone: Path, tmp_path: Path) -> None:
    """From two clones in other folders, at another time, under another umask; a changed byte gives other bytes."""
    git(tmp_path, "clone", "--quiet", str(clone), str(tmp_path / "elsewhere" / "again"))
    (clone / release.RUNTIME / "src" / "processor_runtime" / "left_over.py").write_text("no part of the commit\n")

    first = release.build("HEAD", tmp_path / "one", clone)
    built = time.time() // 2
    while time.time() // 2 == built:  # an archive tells two seconds apart
        time.sleep(0.05)
    before = os.umask(0o077)
    try:
        second = release.build("HEAD", tmp_path / "two", tmp_path / "elsewhere" / "again")
    finally:
        os.umask(before)
    (clone / INIT).write_text((clone / INIT).read_text(encoding="utf-8") + "\n", encoding="utf-8")
    commit(clone)
    third = release.build("HEAD", tmp_path / "three", clone)

    assert sorted(first) == ["processor_runtime-0.1.0-py3-none-any.whl", "processor_runtime-0.1.0.tar.gz"]
    assert first == second
    assert [name for name in first if first[name] == third[name]] == []


@pytest.mark.slow
@pytest.mark.network
def test_a_wheel_that_the_changelog_names_can_be_released(clone: Path, tmp_path: Path) -> None:
    """Under its own tag; the version in the wheel is the one in the package."""
    assert release.problems("HEAD", "runtime-v0.1.0", clone) == []

    release.build("HEAD", tmp_path, clone)
    with zipfile.ZipFile(tmp_path / "processor_runtime-0.1.0-py3-none-any.whl") as wheel:
        metadata = wheel.read("processor_runtime-0.1.0.dist-info/METADATA").decode()
    assert "\nVersion: 0.1.0\n" in metadata


@pytest.mark.slow
@pytest.mark.network
@pytest.mark.parametrize(
    ("number", "tag", "complaint"),
    [
        pytest.param("0.1.0", "runtime-v0.2.0", "the tag runtime-v0.2.0 does not release version 0.1.0", id="tag"),
        pytest.param("0.2.0", None, "CHANGELOG.md has no section for 0.2.0", id="changelog"),
    ],
)
def test_what_stands_in_the_way_is_named(clone: Path, number: str, tag: str | None, complaint: str) -> None:
    """A tag of another version, or a version that the changelog does not know."""
    if number != "0.1.0":
        state_version(clone, number)
        commit(clone)

    (found,) = release.problems("HEAD", tag, clone)

    assert found.startswith(complaint)


@pytest.mark.slow
@pytest.mark.network
def test_a_build_lock_with_another_hash_builds_nothing(clone: Path, tmp_path: Path) -> None:
    """The backend that builds is the one that was locked, or there is no wheel."""
    lock = clone / release.BUILD_LOCK
    text = lock.read_text(encoding="utf-8")
    known = {word for word in text.split() if word.startswith("--hash=sha256:")}
    for word in known:
        text = text.replace(word, f"--hash=sha256:{'0' * 64}")
    lock.write_text(text, encoding="utf-8")
    commit(clone)

    with pytest.raises(subprocess.CalledProcessError):
        release.build("HEAD", tmp_path / "dist", clone)

    assert list((tmp_path / "dist").glob("*.whl")) == []


def test_the_version_stands_in_one_place() -> None:
    """No other file of the runtime or its project states it."""
    number = release.version((release.ROOT / INIT).read_text(encoding="utf-8"))
    project = (release.ROOT / release.RUNTIME / "pyproject.toml").read_text(encoding="utf-8")
    package = (release.ROOT / release.RUNTIME / "src").rglob("*.py")

    assert 'dynamic = ["version"]' in project
    stating = [path for path in package if f'"{number}"' in path.read_text(encoding="utf-8")]
    assert stating == [release.ROOT / INIT]


@pytest.mark.parametrize(
    "text",
    ["", '__version__ = "1.0"\n', '__version__ = "1.0.0rc1"\n', '__version__ = "1.0.0"\n__version__ = "1.0.1"\n'],
    ids=["none", "two numbers", "a candidate", "two"],
)
def test_a_version_that_cannot_be_released_is_refused(text: str) -> None:
    """Exactly one, of three numbers."""
    with pytest.raises(ValueError, match="must state one version of three numbers"):
        release.version(text)

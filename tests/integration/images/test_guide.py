"""The guide to images can be followed: each of its commands, in its order, on a copy of this checkout."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.support.docker import Built, Engine, ImageRegistry, serving
from tests.support.executions import ROOT

GUIDE = ROOT / "docs" / "guides" / "images.md"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Return a copy of what the commands read and write, with this checkout's environment."""
    ignored = shutil.ignore_patterns("__pycache__", ".*_cache", "*.egg-info")
    shutil.copytree(ROOT / "code", tmp_path / "code", ignore=ignored)
    shutil.copytree(ROOT / "scripts", tmp_path / "scripts", ignore=ignored)
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / ".venv").symlink_to(ROOT / ".venv")
    return tmp_path


def commands() -> list[str]:
    """Return the guide's commands in their order; what a reader puts in for `$IMAGE` is what `list` shows."""
    blocks = re.findall(r"```console\n(.*?)```", GUIDE.read_text("utf-8"), re.DOTALL)
    lines = [line.removeprefix("$ ") for block in blocks for line in block.splitlines()]
    image = "IMAGE=$(python manage.py processorctl list --ref llm/chat@1 | awk '{print $NF}')"
    lines.insert(next(at for at, line in enumerate(lines) if "$IMAGE" in line), image)
    # the environment is there, and installing it anew is what its own tests do
    return [line.replace("make venv docker", "make -o venv docker") for line in lines]


@pytest.fixture
def port(engine: Engine, image_registry: ImageRegistry, tmp_path: Path) -> Iterator[int]:
    """Give the port of an image registry with the guide's own settings, on a free port and in the test's folder."""
    assert engine.version
    assert image_registry.host  # so that a machine without the program is told by that fixture
    (text,) = re.findall(r"```yaml\n(version: .*?)```", GUIDE.read_text("utf-8"), re.DOTALL)
    (tmp_path / "registry").mkdir()
    settings = yaml.safe_load(text.replace("/tmp/images", str(tmp_path / "registry")))
    del settings["http"]
    with serving(tmp_path / "registry", **settings) as started:
        yield int(started.host.rpartition(":")[2])


@pytest.mark.slow
@pytest.mark.network
def test_the_guide_can_be_followed(engine: Engine, built: Built, port: int, copy: Path) -> None:
    """From nothing to a pinned image that runs."""
    environ = {**os.environ, "BASE_IMAGE": built("llm/chat@1").labels.base}
    environ.pop("MAKEFLAGS", None)
    script = "\n".join(["set -eux", *commands()]).replace("127.0.0.1:5000", f"127.0.0.1:{port}")

    done = subprocess.run(["bash", "-c", script], cwd=copy, env=environ, capture_output=True, text=True, check=False)

    try:
        assert done.returncode == 0, done.stderr[-4000:]
        for state in ("there", "published", "pinned", "verified", "unchanged"):
            assert re.search(rf"(?m)^{state} +llm/chat@1 +amd64 ", done.stdout), done.stdout
        assert re.search(r"(?m)^success +llm/chat@1 +mock", done.stdout)
    finally:
        repository = f"127.0.0.1:{port}/demo/llm_chat"
        if tags := engine.docker("images", "--format", "{{.Repository}}:{{.Tag}}", repository).split():
            engine.docker("rmi", *tags)

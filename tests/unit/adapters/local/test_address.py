"""The engine is found where the `docker` command finds it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from apps.core.adapters.errors import DockerError
from apps.core.adapters.local.address import DEFAULT, engine_address


def context(folder: Path, name: str, host: str) -> None:
    """Write a context as `docker context create` does."""
    meta = folder / "contexts" / "meta" / hashlib.sha256(name.encode()).hexdigest() / "meta.json"
    meta.parent.mkdir(parents=True)
    meta.write_text(json.dumps({"Name": name, "Endpoints": {"docker": {"Host": host}}}), encoding="utf-8")


def test_without_a_word_it_is_the_usual_socket(tmp_path: Path) -> None:
    """Also where the configuration names no context, or is none."""
    assert engine_address({}) == DEFAULT
    assert engine_address({"HOME": str(tmp_path)}) == DEFAULT
    (tmp_path / "config.json").write_text("{", encoding="utf-8")
    assert engine_address({"DOCKER_CONFIG": str(tmp_path)}) == DEFAULT
    (tmp_path / "config.json").write_text('{"currentContext": "default"}', encoding="utf-8")
    assert engine_address({"DOCKER_CONFIG": str(tmp_path)}) == DEFAULT


def test_a_context_is_followed_and_docker_host_wins(tmp_path: Path) -> None:
    """The configuration's own, `DOCKER_CONTEXT` before it, `DOCKER_HOST` before both."""
    context(tmp_path, "colima", "unix:///colima.sock")
    context(tmp_path, "other", "unix:///other.sock")
    (tmp_path / "config.json").write_text('{"currentContext": "colima"}', encoding="utf-8")
    environ = {"DOCKER_CONFIG": str(tmp_path)}

    assert engine_address(environ) == "unix:///colima.sock"
    assert engine_address({**environ, "DOCKER_CONTEXT": "other"}) == "unix:///other.sock"
    assert engine_address({**environ, "DOCKER_HOST": "tcp://127.0.0.1:2375"}) == "tcp://127.0.0.1:2375"


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        pytest.param({"DOCKER_HOST": "ssh://me@there"}, "unix:// or tcp://", id="an engine elsewhere"),
        pytest.param({"DOCKER_CONTEXT": "nobody's"}, "docker context ls", id="an unknown context"),
    ],
)
def test_what_cannot_be_used_is_named(environ: dict[str, str], words: str, tmp_path: Path) -> None:
    """With what to do."""
    with pytest.raises(DockerError) as refused:
        engine_address({"DOCKER_CONFIG": str(tmp_path), **environ})

    assert words in refused.value.details[0]["message"]

"""The handler in mock mode, called as a function: same checks and files as over HTTP."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from apps.core.processors.llm_chat.app import handler
from processor_runtime.handler import Processor

CODE = Path(handler.__file__).parents[5]
MESSAGES = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello there"}]
ids = count(1)


class Chat:
    """The handler with settings of this test's own; `entry` itself reads the environment once a process."""

    def __init__(self, artifacts: Path) -> None:
        self.artifacts = artifacts
        self._entry = Processor(handler.entry.work, handler.entry.setup)

    def run(self, mode: str = "mock", /, **params: object) -> dict[str, Any]:
        """Return the envelope of a run with an id of its own."""
        return self._entry(
            {
                "schema": "v1",
                "execution_id": f"mock-{next(ids)}",
                "write_prefix": "/artifacts/outputs/{execution_id}/",
                "mode": mode,
                "inputs": {"schema": "v1", "params": {"messages": MESSAGES, **params}},
            }
        )

    def read(self, envelope: dict[str, Any], name: str) -> str:
        """Return the text of the output *name*."""
        return (self.artifacts / "outputs" / str(envelope["execution_id"]) / "outputs" / name).read_text("utf-8")


@pytest.fixture
def chat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Chat:
    """The handler, with an artifacts folder of this test's own and neither key nor address."""
    monkeypatch.setenv("IMAGE_DIGEST", f"sha256:{'0' * 64}")
    monkeypatch.setenv("PROCESSOR_ARTIFACTS_DIR", str(tmp_path))
    return Chat(tmp_path)


def test_mock_echoes_without_a_key(chat: Chat) -> None:
    """Both outputs are there, with the types that the registry declares."""
    envelope = chat.run(model="tiny")

    assert [(row["path"].rpartition("/")[2], row["mime"]) for row in envelope["outputs"]] == [
        ("metadata.json", "application/json"),
        ("response.txt", "text/plain"),
    ]
    assert chat.read(envelope, "response.txt") == "mock: Hello there"
    assert json.loads(chat.read(envelope, "metadata.json")) == {
        "model": "tiny",
        "tokens": {"prompt": 4, "completion": 3, "total": 7},
        "finish_reason": "stop",
    }


def test_mock_says_the_same_each_time(chat: Chat) -> None:
    """Byte for byte: a caller may compare hashes."""
    first, second = chat.run(max_tokens=2), chat.run(max_tokens=2)

    assert first["execution_id"] != second["execution_id"]
    assert [row["sha256"] for row in first["outputs"]] == [row["sha256"] for row in second["outputs"]]


def test_mock_imports_no_sdk_and_needs_no_secret(tmp_path: Path) -> None:
    """It takes seconds to import, and mock is what CI runs a thousand times."""
    program = """
import json, sys
from apps.core.processors.llm_chat.app.handler import entry
payload = {"schema": "v1", "execution_id": "e1", "write_prefix": "/artifacts/e1/", "mode": "mock"}
payload["inputs"] = {"schema": "v1", "params": {"messages": [{"role": "user", "content": "Hello"}]}}
envelope = entry(payload)
print(json.dumps([envelope["status"], sorted({"openai", "httpx2", "django"} & set(sys.modules))]))
"""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OPENAI_", "PROCESSOR_"))}
    environ = {**kept, "IMAGE_DIGEST": f"sha256:{'0' * 64}", "PROCESSOR_ARTIFACTS_DIR": str(tmp_path)}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=CODE, env=environ, capture_output=True, text=True, check=True)

    assert json.loads(done.stdout) == ["success", []]


def test_real_without_a_key_is_refused_before_anything_is_asked(chat: Chat) -> None:
    """The refusal names the variable."""
    error = chat.run("real")["error"]

    assert error["code"] == "ERR_MISSING_SECRET"
    assert "OPENAI_API_KEY" in json.dumps(error["details"])


REFUSED = [
    pytest.param({"messages": []}, id="no message"),
    pytest.param({"messages": "Hello"}, id="a text in place of messages"),
    pytest.param({"messages": [{"role": "user", "content": ""}]}, id="an empty message"),
    pytest.param({"messages": [{"role": "user"}]}, id="a message without content"),
    pytest.param({"messages": [{"role": "tool", "content": "4"}]}, id="a role that needs tools"),
    pytest.param({"messages": [{"role": "user", "content": "4", "name": "x"}]}, id="an unknown field of a message"),
    pytest.param({"messages": [{"role": "user", "content": "x" * 200_001}]}, id="a message that is too long"),
    pytest.param({"messages": MESSAGES * 129}, id="too many messages"),
    pytest.param({"model": ""}, id="an empty model"),
    pytest.param({"model": "two words"}, id="a model with a space"),
    pytest.param({"model": "m\n"}, id="a model with a line break"),
    pytest.param({"temperature": 2.1}, id="too hot"),
    pytest.param({"temperature": -0.1}, id="too cold"),
    pytest.param({"max_tokens": 0}, id="no token"),
    pytest.param({"max_tokens": 1.5}, id="a token and a half"),
    pytest.param({"max_tokens": "5"}, id="a number as text"),
    pytest.param({"stream": True}, id="an unknown parameter"),
]


@pytest.mark.parametrize("params", REFUSED)
def test_params_outside_the_schema_are_refused(chat: Chat, params: dict[str, object]) -> None:
    """Each by its path, and nothing is written."""
    error = chat.run(**params)["error"]

    assert (error["code"], error["message"]) == ("ERR_INPUTS", "inputs do not match the schema")
    assert all(detail["path"].startswith("/inputs/params") for detail in error["details"])
    assert error["details"]
    assert not list(chat.artifacts.iterdir())


ACCEPTED = [
    pytest.param({"temperature": 0}, id="coldest"),
    pytest.param({"temperature": 2}, id="hottest"),
    pytest.param({"max_tokens": 2.0}, id="an integer written as a float"),
    pytest.param({"model": "@cf/meta-llama/Llama-3.1-8B:free"}, id="a long name for a model"),
    pytest.param({"messages": [{"role": "developer", "content": "Be brief."}]}, id="no user"),
    pytest.param({"messages": [{"role": "user", "content": "\U0001f600 \u0000 \ufffe"}]}, id="odd characters"),
]


@pytest.mark.parametrize("params", ACCEPTED)
def test_params_within_the_schema_are_answered(chat: Chat, params: dict[str, object]) -> None:
    """The edges are inside."""
    assert chat.run(**params)["status"] == "success"

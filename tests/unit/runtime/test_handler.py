"""`entry(payload)` without HTTP: the same rules, files and envelopes, sync or async, with or without set-up."""

from __future__ import annotations

import importlib.util
import json
import textwrap
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from processor_runtime import Run, logs, processor
from processor_runtime.handler import Processor
from processor_runtime.masking import Mask
from processor_runtime.schemas import validator
from tests.unit.runtime.services import DIGEST, DOCUMENT, payload

Author = Callable[..., Processor]

SYNC = """
from processor_runtime import processor

@processor
def entry(run):
    \"\"\"Write one file.\"\"\"
    run.write_text("outputs/a.txt", run.params.get("text", "nothing"))
"""
ASYNC = """
import asyncio
from processor_runtime import processor

@processor
async def entry(run):
    await asyncio.sleep(0)
    run.write_text("outputs/a.txt", run.params.get("text", "nothing"))
"""
WITH_SET_UP = """
from processor_runtime import processor

CALLS = []

def load(secrets):
    CALLS.append(dict(secrets))
    return "model"

@processor(setup=load)
def entry(run):
    run.extra.update(resource=run.resource, calls=len(CALLS), secrets=sorted(run.secrets))
"""
WITH_ASYNC_SET_UP = """
from processor_runtime import processor

async def load(secrets):
    return "model"

@processor(setup=load)
async def entry(run):
    run.extra["resource"] = run.resource
"""


@pytest.fixture
def author(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Author]:
    """Return a function that writes a processor's folder and imports its handler."""
    artifacts = tmp_path / "artifacts"
    artifacts.mkdir()
    monkeypatch.setenv("PROCESSOR_ARTIFACTS_DIR", str(artifacts))
    monkeypatch.setenv("IMAGE_DIGEST", DIGEST)

    def write(source: str, document: Mapping[str, Any] = DOCUMENT) -> Processor:
        app = tmp_path / "ns_name" / "app"
        app.mkdir(parents=True)
        (app.parent / "registry.yaml").write_text(json.dumps(document))
        (app / "handler.py").write_text(textwrap.dedent(source))
        spec = importlib.util.spec_from_file_location("handler_of_a_test", app / "handler.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        entry = module.entry
        assert isinstance(entry, Processor)
        return entry

    yield write
    logs.use_mask(Mask())  # it belongs to the process: the next test has no secrets


@pytest.mark.parametrize("source", [SYNC, ASYNC], ids=["sync", "async"])
def test_a_call_returns_the_envelope_and_writes_the_files(author: Author, tmp_path: Path, source: str) -> None:
    """As a dict, valid by the contract's schema."""
    envelope = author(source)(payload(inputs={"params": {"text": "hello"}}))

    assert validator("envelope").is_valid(envelope)
    assert envelope["status"] == "success"
    folder = tmp_path / "artifacts" / "outputs" / "e1"
    assert (folder / "outputs" / "a.txt").read_text() == "hello"
    assert json.loads((folder / "receipt.json").read_bytes())["envelope"] == envelope


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"mode": "dream"}, "ERR_MODE_INVALID"),
        ({"schema": "v2"}, "ERR_INPUTS"),
        ({"write_prefix": "/etc/x/"}, "ERR_WRITE_PREFIX"),
        ({"context": {"a": object()}}, "ERR_INPUTS"),
        ({"context": {"a": b"bytes"}}, "ERR_INPUTS"),
        ({"context": {1: 2}}, "ERR_INPUTS"),
        ({"timeout_s": 2**70}, "ERR_INPUTS"),
        ({"timeout_s": float("nan")}, "ERR_INPUTS"),
        ({"execution_id": "\udcff"}, "ERR_INPUTS"),
        ({"mode": "real"}, "ERR_MISSING_SECRET"),
    ],
)
def test_a_call_is_refused_by_the_rules_of_http(author: Author, change: dict[str, Any], code: str) -> None:
    """What JSON cannot spell is an invalid body."""
    envelope = author(SYNC)(payload() | change)

    assert validator("envelope").is_valid(envelope)
    assert envelope["error"]["code"] == code


def test_real_is_blocked_in_ci(author: Author, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the environment of the first call."""
    monkeypatch.setenv("CI", "true")
    monkeypatch.setenv("NEEDED_KEY", "value-of-the-key")

    assert author(SYNC)(payload(mode="real"))["error"]["code"] == "ERR_CI_SAFETY"


def test_what_was_passed_is_not_changed(author: Author) -> None:
    """The caller's dict is the caller's."""
    sent = payload(inputs={"params": {"text": "x"}})
    before = json.dumps(sent)

    author(SYNC)(sent)

    assert json.dumps(sent) == before


def test_the_same_call_again_is_replayed(author: Author) -> None:
    """With the same envelope, its duration included."""
    entry = author(SYNC)

    assert entry(payload()) == entry(payload())


def test_set_up_runs_once_and_only_for_real(author: Author, monkeypatch: pytest.MonkeyPatch) -> None:
    """It gets the secrets that are set, and mock sees neither them nor its result."""
    monkeypatch.setenv("NEEDED_KEY", "value-of-the-key")
    entry = author(WITH_SET_UP)

    extras = [
        entry(payload(name, mode=mode))["meta"]["extra"]
        for name, mode in (("e1", "real"), ("e2", "mock"), ("e3", "real"))
    ]

    assert [extra["resource"] for extra in extras] == ["model", None, "model"]
    assert [extra["secrets"] for extra in extras] == [["NEEDED_KEY"], [], ["NEEDED_KEY"]]
    assert extras[2]["calls"] == 1


def test_a_mock_call_begins_no_set_up_where_a_required_secret_is_missing(author: Author) -> None:
    """There is nothing that it could be set up with."""
    assert author(WITH_SET_UP)(payload())["meta"]["extra"]["calls"] == 0


def test_an_async_set_up_is_awaited(author: Author, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its result is the resource, not a coroutine."""
    monkeypatch.setenv("NEEDED_KEY", "value-of-the-key")

    assert author(WITH_ASYNC_SET_UP)(payload(mode="real"))["meta"]["extra"] == {"resource": "model"}


def test_both_spellings_of_the_decorator_make_a_processor() -> None:
    """With and without parentheses; the docstring stays the author's."""

    @processor
    def plain(run: Run) -> None:
        """Say what it does."""

    @processor(setup=lambda secrets: secrets)
    async def with_set_up(run: Run) -> None:
        """Say what that does."""

    assert (plain.is_async, plain.setup, plain.__doc__) == (False, None, "Say what it does.")
    assert with_set_up.is_async is True
    assert with_set_up.setup is not None
    assert processor()(lambda _run: None).setup is None


@pytest.mark.parametrize(
    ("document", "environ", "named"),
    [
        pytest.param({**DOCUMENT, "ref": "latest"}, {}, "registry.yaml", id="a registry that cannot be used"),
        pytest.param({**DOCUMENT, "inputs": {"type": "nonsense"}}, {}, "registry.yaml", id="inputs that are no schema"),
        pytest.param(
            {**DOCUMENT, "inputs": {"$ref": "https://example.org/x.json"}}, {}, "registry.yaml", id="a remote $ref"
        ),
        pytest.param(DOCUMENT, {"PROCESSOR_QUEUE": "many"}, "PROCESSOR_QUEUE", id="a malformed setting"),
        pytest.param(DOCUMENT, {"NEEDED_KEY": "\udcff" * 9}, None, id="a secret that is not UTF-8"),
    ],
)
def test_what_stops_a_service_is_one_line_that_names_it(
    *,
    author: Author,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    document: dict[str, Any],
    environ: dict[str, str],
    named: str | None,
) -> None:
    """And the process ends with status 1."""
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    entry = author(SYNC, document)
    capfd.readouterr()

    if named is None:
        assert entry(payload())["status"] == "success"
        return
    with pytest.raises(SystemExit) as exit_:
        entry(payload())

    assert exit_.value.code == 1
    (line,) = capfd.readouterr().err.splitlines()
    record = json.loads(line)
    assert (record["event"], record["name"]) == ("http.boot.error", named)

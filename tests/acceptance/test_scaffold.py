"""A stranger scaffolds a processor: it passes every check and answers in mock mode, untouched and without a secret."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from apps.core.registry import PROCESSORS, load_registration
from apps.core.scaffold import Plan, Template, scaffold
from tests.support.openai_server import OpenAIServer, reply_answer, reply_status
from tests.support.service import DIGEST, JsonObject, Service

CODE = PROCESSORS.parents[2]
ROOT = CODE.parent
BIN = Path(sys.executable).parent

# Both templates; every option at least once; the longest ref there is, for the sake of line lengths.
PLANS = {
    "generic": Plan.parse("acme/generic@1"),
    "llm": Plan.parse("acme/llm@1", template="llm"),
    "options": Plan.parse(
        "acme/options@7", secrets="A_KEY,B_KEY", cpu="0.5", memory_gb="1.5", timeout_s="30", gpu="A100", concurrency="3"
    ),
    "llm-options": Plan.parse("acme/llm_options@1", template="llm", secrets="A_KEY", timeout_s="2.5", concurrency="1"),
    "longest": Plan.parse(f"{'n' * 32}/{'m' * 48}@999999999", template="llm"),
}


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of `code/` whose processors are the scaffolded ones and no others."""
    copy = tmp_path_factory.mktemp("tree") / "code"
    shutil.copytree(CODE, copy, ignore=_left_out)
    processors = copy / PROCESSORS.relative_to(CODE)
    processors.mkdir()
    shutil.copy(PROCESSORS / "__init__.py", processors)
    for plan in PLANS.values():
        scaffold(plan, processors=processors)
    return copy


def _left_out(folder: str, names: list[str]) -> list[str]:
    made = {"__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".import_linter_cache", ".venv", "var"}
    return [name for name in names if name in made or Path(folder, name) == PROCESSORS]


CHECKS = [
    pytest.param(["ruff", "format", "--check", "--no-cache", "apps/core/processors"], id="format"),
    pytest.param(["ruff", "check", "--no-cache", "apps/core/processors"], id="lint"),
    pytest.param(["mypy", "apps/core/processors"], id="types", marks=pytest.mark.slow),
    pytest.param(["lint-imports", "--no-cache"], id="imports"),
]


@pytest.mark.parametrize("command", CHECKS)
def test_what_is_made_passes_the_checks(code: Path, command: list[str]) -> None:
    """The same tools with the same settings as `make check`."""
    done = subprocess.run([BIN / command[0], *command[1:]], cwd=code, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", PLANS)
def test_what_is_made_answers_in_mock_mode(code: Path, tmp_path: Path, name: str) -> None:
    """In CI, without a secret: healthy, the declared outputs, the same again for the same inputs, clean streams."""
    folder = code / PROCESSORS.relative_to(CODE) / PLANS[name].ref.folder
    declaration = load_registration(folder).declaration
    inputs = declaration.inputs["examples"][0]

    with Service(folder, tmp_path, {"CI": "true"}) as service:
        first, second = (service.run(service.payload(inputs=inputs)) for _ in range(2))
        wrong = service.run(service.payload(inputs={"schema": "v1", "params": {}}))
        real = service.run(service.payload(inputs=inputs, mode="real"))

    assert first["status"] == "success", first
    assert outputs(first).keys() == {output.path for output in declaration.outputs}
    assert outputs(first) == outputs(second)
    assert (first["meta"]["ref"], first["meta"]["image_digest"]) == (str(PLANS[name].ref), DIGEST)
    assert [each["error"]["code"] for each in (wrong, real)] == ["ERR_INPUTS", "ERR_CI_SAFETY"]


def outputs(envelope: JsonObject) -> dict[str, str]:
    """Return the SHA-256 of each output by its path below the write prefix."""
    prefix = f"/artifacts/outputs/{envelope['execution_id']}/"
    return {row["path"].removeprefix(prefix): row["sha256"] for row in envelope["outputs"]}


@pytest.mark.slow
def test_what_is_made_keeps_the_contract(code: Path, tmp_path: Path) -> None:
    """The contract layer, as it judges the processors of this repository, judges one of each template."""
    for name in ("generic", "llm"):
        folder = PLANS[name].ref.folder
        shutil.copytree(code / PROCESSORS.relative_to(CODE) / folder, tmp_path / folder)

    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-c", str(CODE / "pyproject.toml"), "-p", "no:cacheprovider", "-q"),
            *("-k", "acme", *map(str, sorted((ROOT / "tests" / "contract").glob("test_every_processor*.py")))),
        ],
        cwd=ROOT,
        env=os.environ | {"CONTRACT_PROCESSORS": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"\b[1-9][0-9]* passed", done.stdout)


@pytest.mark.slow
@pytest.mark.network
def test_the_printed_step_runs_what_was_made(code: Path) -> None:
    """Two commands as a stranger types them: the lock that came along installs, and the envelope is a success."""
    environ = os.environ | {"DJANGO_SETTINGS_MODULE": "backend.settings.test"}

    made = manage(code, ["scaffold_processor", "--ref", "acme/story@1"], environ)
    (step,) = (line for line in made.stderr.splitlines() if "manage.py run_processor" in line)
    ran = manage(code, [*shlex.split(step)[2:], "--json"], environ)

    assert (made.returncode, ran.returncode) == (0, 0), made.stderr + ran.stderr
    envelope = json.loads(ran.stdout)
    assert (envelope["status"], envelope["meta"]["ref"]) == ("success", "acme/story@1")


def manage(code: Path, arguments: list[str], environ: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Return how one command of `manage.py` ended."""
    command = [sys.executable, "manage.py", *arguments]
    return subprocess.run(command, cwd=code, env=environ, capture_output=True, text=True, check=False)


def test_the_language_model_template_really_asks_one(code: Path, tmp_path: Path) -> None:
    """In real mode, with its secret set and `CI` not: an answer, and each failure of the provider under its name."""
    folder = code / PROCESSORS.relative_to(CODE) / PLANS["llm"].ref.folder
    inputs = {"schema": "v1", "params": {"prompt": "hello", "model": "small", "max_tokens": 9}}

    with (
        OpenAIServer() as provider,
        Service(folder, tmp_path, {"OPENAI_API_KEY": provider.key, "OPENAI_BASE_URL": provider.base_url}) as service,
    ):

        def ask() -> JsonObject:
            return service.run(service.payload(inputs=inputs, mode="real"))

        answered = ask()
        asked = [request.body for request in provider.requests]
        provider.play(reply_status(401))
        refused = ask()
        provider.play(*[reply_status(503)] * 3)
        failed = ask()
        provider.play(reply_answer(""))
        empty = ask()

    assert answered["status"] == "success", answered
    metadata, response = (service.file(row["path"]).read_text() for row in answered["outputs"])
    assert (response, json.loads(metadata)["model"]) == ("You said: hello", "small")
    assert asked == [{"model": "small", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 9}]
    assert [(each["error"]["code"], each["error"]["retryable"]) for each in (refused, failed, empty)] == [
        ("ERR_PROVIDER", False),
        ("ERR_PROVIDER", True),
        ("ERR_PROVIDER", False),
    ]


def test_the_import_rules_see_what_is_made(code: Path) -> None:
    """A check that looks elsewhere would pass too: a scaffolded processor that imports Django is noticed."""
    handler = code / PROCESSORS.relative_to(CODE) / PLANS["generic"].ref.folder / "app" / "handler.py"
    text = handler.read_text()
    handler.write_text(f"import django\n{text}")
    try:
        done = subprocess.run(
            [BIN / "lint-imports", "--no-cache"], cwd=code, capture_output=True, text=True, check=False
        )
    finally:
        handler.write_text(text)

    assert done.returncode == 1
    assert "apps.core.processors.acme_generic.app.handler -> django" in done.stdout


def test_every_template_is_among_the_plans() -> None:
    """A new template cannot be forgotten here."""
    assert {plan.template for plan in PLANS.values()} == set(Template)

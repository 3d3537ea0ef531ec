"""What a template becomes is a whole processor, whatever the options are."""

import ast
import re
from pathlib import Path

import pytest

from apps.core.registry import PROCESSORS
from apps.core.scaffold import Plan, Template
from apps.core.scaffold.render import FILES, render, source
from scripts.lock import Lock, problems

CODE = PROCESSORS.parents[2]
LONGEST_REF = f"{'n' * 32}/{'m' * 48}@999999999"


def test_the_files_are_those_of_the_specification() -> None:
    """Nothing is missing, nothing is extra."""
    assert sorted(render(Plan.parse("acme/summary@1"))) == [
        "Dockerfile",
        "__init__.py",
        "app/__init__.py",
        "app/handler.py",
        "app/http.py",
        "app/logging.py",
        "app/utils.py",
        "registry.yaml",
        "requirements.in",
        "requirements.txt",
    ]


@pytest.mark.parametrize("template", Template)
def test_no_word_is_left_and_every_file_ends_in_a_line(template: Template) -> None:
    """What was to be filled in is filled in."""
    for path, text in render(Plan.parse("acme/summary@1", template=template)).items():
        assert not re.search(r"__[A-Z_]+__", text), path
        assert text.endswith("\n"), path
        assert "template" not in text, path


@pytest.mark.parametrize("template", Template)
@pytest.mark.parametrize("ref", ["a/b@1", "acme/summary@1", LONGEST_REF])
def test_python_files_are_python_and_no_line_is_too_long(template: Template, ref: str) -> None:
    """The longest ref there may be included: the linter's limit is 120."""
    for path, text in render(Plan.parse(ref, template=template)).items():
        if path.endswith(".py"):
            ast.parse(text)
            assert max(map(len, text.splitlines())) <= 120, path


@pytest.mark.parametrize("template", Template)
def test_the_handler_imports_nothing_but_the_runtime_and_its_own(template: Template) -> None:
    """A processor knows neither Django nor the orchestrator."""
    standard = {"__future__", "collections", "dataclasses", "pathlib", "typing"}
    for path, text in render(Plan.parse("acme/summary@1", template=template)).items():
        if path.endswith(".py"):
            names = {
                name.split(".")[0]
                for node in ast.walk(ast.parse(text))
                for name in (
                    [alias.name for alias in node.names]
                    if isinstance(node, ast.Import)
                    else [node.module or ""]
                    if isinstance(node, ast.ImportFrom) and node.level == 0
                    else []
                )
            }
            assert names <= standard | {"processor_runtime", "openai"}, path


def test_the_dockerfile_is_that_of_the_processors_here() -> None:
    """One text for all images: what was learned with one holds for the next."""
    made = render(Plan.parse("llm/chat@1", template="llm"))["Dockerfile"]

    assert made == (PROCESSORS / "llm_chat" / "Dockerfile").read_text(encoding="utf-8")


def test_the_dockerfile_keeps_the_contract() -> None:
    """CONTRACT §9: CMD, health check in exec form without curl, not root."""
    text = render(Plan.parse("acme/summary@1"))["Dockerfile"]
    instructions = re.sub(r"\\\n\s*", "", text)

    assert instructions.rstrip().endswith('CMD ["uvicorn", "app.http:app", "--host", "0.0.0.0", "--port", "8000"]')
    health = re.search(r"^HEALTHCHECK .*CMD \[.*/healthz.*\]$", instructions, re.MULTILINE)
    assert health is not None
    assert "curl" not in health[0]
    assert re.search(r"^USER (?!0\b|root\b)\S+$", instructions, re.MULTILINE)
    assert "apps/core/processors/acme_summary/requirements.txt" in instructions


@pytest.mark.parametrize("template", Template)
def test_the_lock_is_current_and_names_where_it_will_lie(template: Template) -> None:
    """It is shipped, so that making a processor needs no package index; `make lock` would write the same."""
    lock = source(template, "requirements.txt")
    inputs = (lock.with_suffix(".in"), CODE / "runtime" / "pyproject.toml")

    assert problems(Lock(lock, inputs)) == []
    made = render(Plan.parse("acme/summary@1", template=template))["requirements.txt"]
    assert "scaffold" not in made
    assert ("-r apps/core/processors/acme_summary/requirements.in" in made) == (template is Template.LLM)
    assert made.count("==") == lock.read_text(encoding="utf-8").count("==")


def test_the_same_plan_gives_the_same_files() -> None:
    """Nothing depends on the clock, the machine or the order of a set."""
    plan = Plan.parse("acme/summary@1", template="llm", secrets="B,A")

    assert render(plan) == render(plan)


def test_templates_hold_no_file_that_is_not_rendered() -> None:
    """A file that nobody copies is a mistake waiting."""
    folders = {source(template, path).parents[path.count("/")] for template in Template for path in FILES}
    found = {
        file.relative_to(folder).as_posix()
        for folder in folders
        for file in Path(folder).rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }

    assert found <= set(FILES)

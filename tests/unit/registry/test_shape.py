"""A registry file of the wrong shape says which field, on which line, and what it must be."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from apps.core.registry.load import check
from apps.core.registry.problems import Kind
from apps.core.registry.shape import load_schema

Write = Callable[..., Path]


def test_the_specifications_example_has_no_problem(write: Write, good: str) -> None:
    """Everything that may be said, optional parts too."""
    assert check(write(good))[1] == []


@pytest.mark.parametrize(
    "left_out",
    [
        pytest.param("image:\n  platforms:\n", id="no pins yet"),
        pytest.param("build:\n", id="no build"),
        pytest.param("secrets:\n", id="no secrets"),
        pytest.param("  gpu: null\n", id="no gpu"),
        pytest.param("  concurrency: 4\n", id="no concurrency"),
        pytest.param("  optional: [OPENAI_BASE_URL]\n", id="no optional secrets"),
        pytest.param('  args: { FLAVOUR: "small" }\n', id="no build arguments"),
    ],
)
def test_what_is_optional_may_be_left_out(write: Write, good: str, left_out: str) -> None:
    """Each of these has a default that the schema names."""
    text = _without_block(good, left_out.splitlines()[0])

    assert text != good
    assert check(write(text))[1] == []


WRONG = [
    pytest.param(("ref: llm/chat@1", "ref: llm/chat"), "/ref", "must be a ref such as", id="ref without version"),
    pytest.param(("ref: llm/chat@1", "ref: llm/chat@0"), "/ref", "must be a ref such as", id="version zero"),
    pytest.param(("ref: llm/chat@1", "ref: LLM/chat@1"), "/ref", "must be a ref such as", id="capitals in a ref"),
    pytest.param(("ref: llm/chat@1", "ref: [llm]"), "/ref", "must be a ref such as", id="ref as a list"),
    pytest.param(("ref: llm/chat@1", ""), "/ref", "is missing", id="no ref"),
    pytest.param(("ref: llm/chat@1", "ref:"), "/ref", "must be a ref such as", id="ref without a value"),
    pytest.param(
        ("context: ../../../..", "context: 3"), "/build/context", "must be a relative path", id="context a number"
    ),
    pytest.param(("dockerfile:", "Dockerfile:"), "/build/Dockerfile", "did you mean dockerfile?", id="build field"),
    pytest.param(('"small"', "1"), "/build/args/FLAVOUR", "must be text", id="build argument a number"),
    pytest.param(("FLAVOUR", "FLA-VOUR"), "/build/args", "must be named with letters", id="build argument's name"),
    pytest.param(
        ("amd64: ghcr", "x86: ghcr"), "/image/platforms/x86", "is unknown: known here are amd64, arm64", id="arch"
    ),
    pytest.param(
        ("_platform: amd64", "_platform: x86"), "/image/default_platform", "must be amd64 or arm64", id="default"
    ),
    pytest.param(('cpu: "1"', "cpu: 1"), "/runtime/cpu", "in quotes", id="cpu a number"),
    pytest.param(('cpu: "1"', 'cpu: "1.0"'), "/runtime/cpu", "shortest spelling", id="cpu not shortest"),
    pytest.param(('cpu: "1"', 'cpu: "-1"'), "/runtime/cpu", "number of cores", id="negative cpu"),
    pytest.param(('cpu: "1"', 'cpu: "500m"'), "/runtime/cpu", "number of cores", id="cpu in millicores"),
    pytest.param(('  cpu: "1"\n', ""), "/runtime/cpu", "is missing", id="no cpu"),
    pytest.param(
        ("memory_gb: 2", 'memory_gb: "2Gi"'), "/runtime/memory_gb", "must be a number of GiB", id="memory as text"
    ),
    pytest.param(("memory_gb: 2", "memory_gb: 0"), "/runtime/memory_gb", "from 0.0625", id="no memory at all"),
    pytest.param(
        ("memory_gb: 2", "memory_gb: true"), "/runtime/memory_gb", "must be a number of GiB", id="memory true"
    ),
    pytest.param(("memory_gb: 2", "memory_gb: 5000"), "/runtime/memory_gb", "to 4096", id="memory in MiB by mistake"),
    pytest.param(("memory_gb: 2", "memory: 2"), "/runtime/memory", "did you mean memory_gb?", id="memory misspelled"),
    pytest.param(("timeout_s: 600", "timeout_s: 0"), "/runtime/timeout_s", "above 0", id="no time"),
    pytest.param(("timeout_s: 600", "timeout_s: 86401"), "/runtime/timeout_s", "at most 86400", id="more than a day"),
    pytest.param(("gpu: null", "gpu: 1"), "/runtime/gpu", "null, or a GPU", id="gpu a number"),
    pytest.param(
        ("gpu: null", "gpu: A100;cpu:9"), "/runtime/gpu", "null, or a GPU", id="gpu that forges a fingerprint"
    ),
    pytest.param(("gpu: null", "gpu: A100:9"), "/runtime/gpu", "null, or a GPU", id="too many gpus"),
    pytest.param(("concurrency: 4", "concurrency: 0"), "/runtime/concurrency", "from 1", id="no slot"),
    pytest.param(("concurrency: 4", "concurrency: 1.5"), "/runtime/concurrency", "whole number", id="half a slot"),
    pytest.param(
        ("[OPENAI_API_KEY]", "OPENAI_API_KEY"), "/secrets/required", "a list of names", id="secret not in a list"
    ),
    pytest.param(
        ("[OPENAI_API_KEY]", "[{a: b}]"), "/secrets/required/0", "name of an environment", id="secret a mapping"
    ),
    pytest.param(("mime: text/plain", "mime: text"), "/outputs/0/mime", "a media type", id="mime without subtype"),
    pytest.param(("mime: text/plain, ", ""), "/outputs/0/mime", "is missing", id="output without mime"),
    pytest.param(
        ("description: Main response", "description: ''"), "/outputs/0/description", "at least one", id="no words"
    ),
    pytest.param(("optional: true", "optional: yes"), "/outputs/2/optional", "must be true or false", id="yes is text"),
    pytest.param(
        ("path: outputs/response.txt", "path: ''"), "/outputs/0/path", "must be a relative path", id="no path"
    ),
    pytest.param(("outputs:\n", "output:\n"), "/output", "did you mean outputs?", id="outputs misspelled"),
]


@pytest.mark.parametrize(("change", "field", "reason"), WRONG)
def test_a_wrong_field_is_named_with_its_line(
    write: Write, good: str, change: tuple[str, str], field: str, reason: str
) -> None:
    """The line is the field's own, or that of what should hold it."""
    _, problems = check(write(good.replace(*change, 1)))

    found = next(problem for problem in problems if problem.field == field)
    assert (found.kind, reason in found.reason) == (Kind.SHAPE, True), found
    if found.reason != "is missing":
        assert found.line == good[: good.index(change[0])].count("\n") + 1
    elif field.startswith("/runtime"):
        assert found.line == good[: good.index("runtime:")].count("\n") + 1


@pytest.mark.parametrize("value", ["[]", "3", "null", "text", "true"])
def test_a_file_that_is_no_mapping_is_one_problem(write: Write, value: str) -> None:
    """There is nothing else to say about it."""
    _, problems = check(write(value))

    assert [(problem.line, problem.field, problem.kind) for problem in problems] == [(1, "", Kind.SHAPE)]


@pytest.mark.parametrize("part", ["build", "image", "runtime", "secrets", "inputs", "outputs"])
@pytest.mark.parametrize("value", ["3", "null", "text"])
def test_a_part_of_another_kind_is_one_problem(write: Write, good: str, part: str, value: str) -> None:
    """A number where a mapping or a list belongs hides nothing else, and crashes nothing."""
    text = _without_block(good, f"{part}:") + f"{part}: {value}\n"

    _, problems = check(write(text))

    assert [(problem.field, problem.kind) for problem in problems] == [(f"/{part}", Kind.SHAPE)]


def test_a_value_that_cannot_be_parsed_is_one_problem(write: Write, good: str) -> None:
    """That `.inf` is not between 0.0625 and 4096 either would be noise."""
    _, problems = check(write(good.replace("memory_gb: 2", "memory_gb: .inf")))

    assert [(problem.field, problem.kind) for problem in problems] == [("/runtime/memory_gb", Kind.SYNTAX)]


def test_all_problems_of_all_kinds_are_reported_together(write: Write, good: str) -> None:
    """One look, one list: what cannot be parsed, what has the wrong shape, what means something impossible."""
    text = (
        good.replace("memory_gb: 2", "memory_gb: .inf")
        .replace("timeout_s: 600", "timeout_s: soon")
        .replace("[OPENAI_API_KEY]", "[openai_api_key]")
        .replace("outputs/metadata.json", "../metadata.json")
    )

    _, problems = check(write(text))

    assert [(problem.field, problem.kind) for problem in sorted(problems)] == [
        ("/runtime/memory_gb", Kind.SYNTAX),
        ("/runtime/timeout_s", Kind.SHAPE),
        ("/secrets/required/0", Kind.MEANING),
        ("/outputs/1/path", Kind.MEANING),
    ]


def test_the_schema_is_draft_07_and_documents_every_field() -> None:
    """Every field has a description to read, and every rule that a report can name has its words."""
    schema = load_schema()

    assert jsonschema_rs.meta.is_valid(schema)
    for path, part in _parts(schema, ()):
        target = schema["definitions"][part["$ref"].rpartition("/")[2]] if "$ref" in part else part
        assert part.get("description") or target.get("description"), path
        assert target.get("x-rule"), path


def _parts(schema: dict[str, Any], path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    """Yield every field's own schema."""
    for name, part in schema.get("properties", {}).items():
        yield (*path, name), part
        yield from _parts(part, (*path, name))
    if "items" in schema:
        yield (*path, "items"), schema["items"]
        yield from _parts(schema["items"], (*path, "items"))
    for name, part in schema.get("definitions", {}).items():
        yield from _parts(part, ("definitions", name))


def _without_block(text: str, first: str) -> str:
    """Return *text* without the line *first* and the lines indented below it."""
    lines = text.splitlines(keepends=True)
    start = next(index for index, line in enumerate(lines) if line.startswith(first))
    indent = len(first) - len(first.lstrip())
    end = start + 1
    while end < len(lines) and (not lines[end].strip() or len(lines[end]) - len(lines[end].lstrip()) > indent):
        end += 1
    return "".join(lines[:start] + lines[end:])

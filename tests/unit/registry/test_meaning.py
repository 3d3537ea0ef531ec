"""A registry file that is well formed and cannot be meant says which rule it breaks."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.core.registry.load import check
from apps.core.registry.names import secret_name_fault
from apps.core.registry.outputs import collisions, output_path_fault
from apps.core.registry.problems import Kind

Write = Callable[..., Path]

AMD64 = "ghcr.io/owner/repo/image@sha256:" + "a" * 64
ARM64 = "ghcr.io/owner/repo/image@sha256:" + "b" * 64

WRONG = [
    pytest.param(
        ("ref: llm/chat@1", "ref: llm/talk@1"), "/ref", "whose folder is called llm_talk, not llm_chat", id="folder"
    ),
    pytest.param(
        ("context: ../../../..", "context: /srv"), "/build/context", "must be relative", id="absolute context"
    ),
    pytest.param(("../../../..", "'..\\..'"), "/build/context", "with / between folders", id="backslashes"),
    pytest.param(("file: Dockerfile", "file: /D"), "/build/dockerfile", "must be relative", id="absolute Dockerfile"),
    pytest.param(("file: Dockerfile", "file: ../D"), "/build/dockerfile", "must lie in", id="Dockerfile elsewhere"),
    pytest.param((AMD64, "ghcr.io/o/i:latest"), "/image/platforms/amd64", "names no digest", id="tag for a pin"),
    pytest.param((AMD64, AMD64.replace("@", ":1@")), "/image/platforms/amd64", "has a tag", id="tag beside a digest"),
    pytest.param((AMD64, "sha256:" + "a" * 64), "/image/platforms/amd64", "names no digest", id="digest alone"),
    pytest.param((AMD64, AMD64[:-1]), "/image/platforms/amd64", "malformed digest", id="digest cut short"),
    pytest.param((AMD64, "''"), "/image/platforms/amd64", "names no digest", id="empty pin"),
    pytest.param((ARM64, AMD64), "/image/platforms/arm64", "same digest as another platform", id="one digest twice"),
    pytest.param(
        (f"    amd64: {AMD64}", ""), "/image/default_platform", "amd64 is not pinned", id="default not pinned"
    ),
    pytest.param(('cpu: "1"', 'cpu: "0"'), "/runtime/cpu", "more than 0", id="no core"),
    pytest.param(('cpu: "1"', 'cpu: "257"'), "/runtime/cpu", "at most 256", id="too many cores"),
    pytest.param(("gpu: null", "gpu: none"), "/runtime/gpu", "must be null (without quotes)", id="none is text"),
    pytest.param(("concurrency: 4", "concurrency: 4.0"), "/runtime/concurrency", "without a decimal point", id="4.0"),
    pytest.param(("[OPENAI_API_KEY]", "[A, B, A]"), "/secrets/required/2", "stands in /secrets/required/0", id="twice"),
    pytest.param(
        ("[OPENAI_BASE_URL]", "[OPENAI_API_KEY]"), "/secrets/optional/0", "stands in /secrets/required/0", id="both"
    ),
    pytest.param(("[OPENAI_API_KEY]", "[CI]"), "/secrets/required/0", "reserved name", id="CI as a secret"),
    pytest.param(
        ("[OPENAI_API_KEY]", "[OPENAI-KEY]"), "/secrets/required/0", "in capitals, digits", id="dash in a name"
    ),
    pytest.param(("outputs/response.txt", "/tmp/x"), "/outputs/0/path", "must be relative", id="absolute output"),
    pytest.param(
        ("outputs/metadata.json", "outputs/response.txt"), "/outputs/1/path", "be unique", id="same output twice"
    ),
    pytest.param(
        ("outputs/metadata.json", "outputs/response.txt/x"), "/outputs/1/path", "folder where", id="in a file"
    ),
    pytest.param(
        ("const: v1", "const: v1, type: text"), "/inputs/properties/schema/type", "is not Draft-07", id="type"
    ),
    pytest.param(("const: v1", "pattern: '('"), "/inputs/properties/schema/pattern", "is not Draft-07", id="pattern"),
    pytest.param(("[schema, params]", "schema"), "/inputs/required", "is not Draft-07", id="required as text"),
    pytest.param(
        ('"#/definitions/params"', '"http://example.com/params.json"'),
        "/inputs/properties/params/$ref",
        "must begin with #",
        id="reference to the web",
    ),
    pytest.param(
        ('"#/definitions/params"', '"file:///etc/passwd"'),
        "/inputs/properties/params/$ref",
        "must begin with #",
        id="reference to the disk",
    ),
    pytest.param(
        ('"#/definitions/params"', "other.yaml"),
        "/inputs/properties/params/$ref",
        "must begin with #",
        id="reference to a neighbour",
    ),
    pytest.param(('"#/definitions/params"', '"#/nowhere"'), "/inputs", "cannot be used", id="reference to nothing"),
]


@pytest.mark.parametrize(("change", "field", "reason"), WRONG)
def test_a_broken_rule_is_named_with_its_line(
    write: Write, good: str, change: tuple[str, str], field: str, reason: str
) -> None:
    """One mistake is one problem, and it stands where it was made."""
    _, problems = check(write(good.replace(*change, 1)))

    assert [(problem.field, problem.kind) for problem in problems] == [(field, Kind.MEANING)]
    assert reason in problems[0].reason
    if field != "/inputs" and "default" not in field:
        assert problems[0].line == good[: good.index(change[0])].count("\n") + 1


RIGHT = [
    pytest.param(('cpu: "1"', 'cpu: "0.125"'), id="part of a core"),
    pytest.param(("memory_gb: 2", "memory_gb: 0.5"), id="half a GiB"),
    pytest.param(("timeout_s: 600", "timeout_s: 0.5"), id="half a second"),
    pytest.param(("gpu: null", "gpu: A100-80GB:2"), id="two GPUs"),
    pytest.param(("gpu: null", 'gpu: "H100!"'), id="exactly this GPU"),
    pytest.param(("gpu: null", "gpu:"), id="gpu without a value"),
    pytest.param(("default_platform: amd64", "default_platform: arm64"), id="the other default"),
    pytest.param((f"    amd64: {AMD64}      # required for Modal\n", ""), id="only arm64, by default"),
    pytest.param(("$schema: ", "$schema: 'http://json-schema.org/draft-04/schema#'\n  x-was: "), id="another $schema"),
    pytest.param(("const: v1", "enum: [{$ref: 'http://example.com'}]"), id="a $ref that is data"),
    pytest.param(("params: { $ref:", "$ref: {type: string}\n    params: { $ref:"), id="a property called $ref"),
    pytest.param(('"#/definitions/params"', '"#"'), id="a schema that holds itself"),
    pytest.param(("outputs/page-*.png", "outputs/pages/*/page-*.png"), id="one * in each of two segments"),
    pytest.param(("mime: text/plain", 'mime: "text/csv; charset=utf-8"'), id="mime with a parameter"),
]


@pytest.mark.parametrize("change", RIGHT)
def test_what_is_unusual_and_right_is_accepted(write: Write, good: str, change: tuple[str, str]) -> None:
    """Each rule stops where it should."""
    text = good.replace(*change, 1)
    if "# required" in change[0]:
        text = text.replace("default_platform: amd64", "default_platform: arm64")

    assert text != good
    assert check(write(text))[1] == []


def test_a_pinned_platform_must_be_the_default_if_it_is_the_only_one(write: Write, good: str) -> None:
    """Left out, the default is amd64, and a registry that pins arm64 alone has to say so."""
    text = good.replace(f"    amd64: {AMD64}      # required for Modal\n", "").replace(
        "  default_platform: amd64\n", ""
    )

    assert [problem.field for problem in check(write(text))[1]] == ["/image/default_platform"]


PATHS = [
    pytest.param("/outputs/a", "relative", id="absolute"),
    pytest.param("outputs", "below outputs/", id="the folder itself"),
    pytest.param("a.txt", "below outputs/", id="beside the folder"),
    pytest.param("Outputs/a", "below outputs/", id="capital"),
    pytest.param("*/a", "below outputs/", id="any folder"),
    pytest.param("outputs/", "empty segment", id="trailing slash"),
    pytest.param("outputs//a", "empty segment", id="two slashes"),
    pytest.param("outputs/../a", "segment . or ..", id="parent"),
    pytest.param("outputs/./a", "segment . or ..", id="here"),
    pytest.param("outputs/..", "segment . or ..", id="parent at the end"),
    pytest.param("outputs/**", "two * in one segment", id="two stars"),
    pytest.param("outputs/*a*", "two * in one segment", id="two stars apart"),
    pytest.param("outputs\\a", "backslash", id="backslash"),
    pytest.param("outputs/a\x00", "control characters", id="NUL"),
    pytest.param("outputs/a\n", "control characters", id="newline"),
    pytest.param("outputs/\x85", "control characters", id="C1"),
    pytest.param("outputs/" + "ä" * 128, "longer than", id="segment too long"),
    pytest.param("outputs/" + "a/" * 600 + "a", "longer than", id="path too long"),
]


@pytest.mark.parametrize(("path", "reason"), PATHS)
def test_an_output_outside_its_place_is_refused(path: str, reason: str) -> None:
    """CONTRACT §4 and §8."""
    fault = output_path_fault(path)

    assert fault is not None
    assert reason in fault


@given(st.lists(st.from_regex(r"[A-Za-z0-9_. -]{1,20}\*?", fullmatch=True), min_size=1, max_size=4))
def test_ordinary_paths_below_outputs_are_accepted(segments: list[str]) -> None:
    """Any names, dots and one star included, as long as no segment is . or .. alone."""
    fault = output_path_fault("/".join(["outputs", *segments]))

    assert (fault is None) == (not {".", ".."} & set(segments))


def test_outputs_that_cannot_both_exist_are_named() -> None:
    """The same file, the same but for case, and a file where another needs a folder; families are left alone."""
    paths = ["outputs/a", "outputs/A", "outputs/b/c", "outputs/b", "outputs/a-*", "outputs/a-1", "outputs/ab"]

    assert [index for index, _ in collisions(dict(enumerate(paths)))] == [1, 3]


@pytest.mark.parametrize(
    "name",
    ["CI", "PATH", "HOME", "PROCESSOR_TOKEN", "IMAGE_DIGEST", "PYTHONPATH", "LD_PRELOAD", "UVICORN_PORT", "LC_ALL"],
)
def test_a_name_with_a_meaning_of_its_own_is_no_secret(name: str) -> None:
    """To take it out of the environment would break the service; to pass it on would break the contract."""
    assert "reserved" in (secret_name_fault(name) or "")


@pytest.mark.parametrize("name", ["", "a", "Api_KEY", "1A", "_A", "A-B", "A B", "A=1", "A\n", "Ä"])
def test_a_name_in_another_spelling_is_no_secret(name: str) -> None:
    """The whole name matches, or it is refused."""
    assert "capitals" in (secret_name_fault(name) or "")


@pytest.mark.parametrize("name", ["A", "OPENAI_API_KEY", "A1_", "CIRCLE_TOKEN", "PATHWAY", "TZDATA", "NULL"])
def test_any_other_name_is_a_secret_s(name: str) -> None:
    """Names that only begin like a reserved one included."""
    assert secret_name_fault(name) is None

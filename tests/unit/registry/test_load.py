"""The registry finds every processor, reports every problem of every file, and names what exists."""

import os
from collections.abc import Callable
from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

from apps.core.registry import (
    ImageReference,
    Kind,
    Problem,
    Ref,
    RefNotFoundError,
    RegistryInvalidError,
    load_registration,
    load_registry,
)

Write = Callable[..., Path]


def test_every_processor_of_a_folder_is_found(write: Write, good: str) -> None:
    """In the order of their refs, which is not that of their folders' names."""
    processors = write(good, "llm_chat").parents[1]
    write(good.replace("llm/chat@1", "doc/ocr@12"), "doc_ocr")
    write(good.replace("llm/chat@1", "doc/ocr_fast@2"), "doc_ocr_fast")

    registry = load_registry(processors)

    assert [str(each.ref) for each in registry] == ["doc/ocr@12", "doc/ocr_fast@2", "llm/chat@1"]
    assert len(registry) == 3
    assert registry.find(Ref.parse("doc/ocr@12")).folder == processors / "doc_ocr"


def test_a_registration_holds_all_that_the_file_says(write: Write, good: str) -> None:
    """Declaration, pins, default platform and build."""
    folder = write(good).parent

    registration = load_registration(folder)

    assert registration.declaration.runtime.concurrency == 4
    assert registration.declaration.env_fingerprint == "cpu:1;memory:2Gi"
    assert registration.declaration.required_secrets == ("OPENAI_API_KEY",)
    assert registration.platforms == {
        "amd64": ImageReference.parse("ghcr.io/owner/repo/image@sha256:" + "a" * 64),
        "arm64": ImageReference.parse("ghcr.io/owner/repo/image@sha256:" + "b" * 64),
    }
    assert registration.default_platform == "amd64"
    assert (registration.build.context, registration.build.dockerfile) == (folder.parents[3], folder / "Dockerfile")
    assert registration.build.args == {"FLAVOUR": "small"}


def test_before_the_first_pin_there_are_defaults(write: Write) -> None:
    """A scaffolded file has neither `image` nor `build`."""
    text = """\
ref: llm/chat@1
runtime: { cpu: "1", memory_gb: 1, timeout_s: 60 }
inputs: { type: object }
outputs: []
"""

    folder = write(text).parent

    registration = load_registration(folder)

    assert (dict(registration.platforms), registration.default_platform) == ({}, "amd64")
    assert (registration.build.context, registration.build.dockerfile) == (folder.parents[3], folder / "Dockerfile")
    assert dict(registration.build.args) == {}
    assert registration.declaration.runtime.gpu is None
    assert registration.declaration.runtime.concurrency == 1


def test_a_registration_cannot_be_changed(write: Write, good: str) -> None:
    """It is shared by everything that runs."""
    registration = load_registration(write(good).parent)

    with pytest.raises(FrozenInstanceError):
        registration.default_platform = "arm64"  # type: ignore[misc]  # what is tested
    with pytest.raises(TypeError):
        registration.platforms["amd64"] = registration.platforms["arm64"]  # type: ignore[index]  # what is tested


def test_all_problems_of_all_files_come_in_one_error(write: Write, good: str) -> None:
    """Sorted by file and line, so that one pass through the editor mends all."""
    processors = write("ref: [", "broken_one").parents[1]
    write(good.replace("timeout_s: 600", "timeout_s: 0").replace('cpu: "1"', 'cpu: "0"'), "llm_chat")
    write(good.replace("llm/chat@1", "doc/ocr@1"), "doc_ocr")

    with pytest.raises(RegistryInvalidError) as caught:
        load_registry(processors)

    assert [(each.file.parent.name, each.line, each.field, each.kind) for each in caught.value.problems] == [
        ("broken_one", 1, "", Kind.SYNTAX),
        ("llm_chat", 15, "/runtime/cpu", Kind.MEANING),
        ("llm_chat", 17, "/runtime/timeout_s", Kind.SHAPE),
    ]
    assert caught.value.code == "ERR_REGISTRY_INVALID"
    assert caught.value.details[2] == {
        "path": "llm_chat/registry.yaml#/runtime/timeout_s",
        "message": "line 17: wrong shape: must be a number of seconds above 0, at most 86400",
    }


def test_the_report_has_a_line_for_each_problem(write: Write, good: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the form that editors jump from, with the path as one would type it."""
    field = "/runtime/timeout_s"
    file = write(good.replace("timeout_s: 600", "timeout_s: 0"))
    monkeypatch.chdir(file.parents[2])

    with pytest.raises(RegistryInvalidError) as caught:
        load_registry(file.parents[1])

    _, *lines = str(caught.value).splitlines()
    assert lines == [
        f"processors/llm_chat/registry.yaml:17: wrong shape: {field} must be a number of seconds above 0, at most 86400"
    ]


def test_more_problems_than_an_envelope_holds_are_counted(tmp_path: Path) -> None:
    """An envelope has at most 20 details; the error and its log line have all."""
    file = tmp_path / "a_b" / "registry.yaml"
    problems = [Problem(file, line, "/x", Kind.SHAPE, "is wrong") for line in range(1, 26)]

    error = RegistryInvalidError(problems)

    assert len(error.details) == 20
    assert error.details[-1]["message"] == "and 6 more problems: the log names them"
    assert len(error.problems) == 25
    assert error.context["problems"] == [str(problem) for problem in problems]


def test_strange_names_stay_on_one_line_and_are_text(tmp_path: Path) -> None:
    """A folder's name need not be UTF-8, nor a field's be printable; both end on terminals and in JSON."""
    file = Path(os.fsdecode(os.fsencode(tmp_path) + b"/a\xff_b/registry.yaml"))

    error = RegistryInvalidError([Problem(file, 1, "/x\n\x1b[31m", Kind.SHAPE, "is wrong")])

    assert str(error).count("\n") == 1
    assert error.details[0]["path"] == r"a\udcff_b/registry.yaml#/x\n\x1b[31m"


def test_two_folders_with_one_ref_are_both_named(write: Write, good: str) -> None:
    """The second is a duplicate, and its folder has the wrong name too."""
    processors = write(good, "llm_chat").parents[1]
    write(good, "llm_copy")

    with pytest.raises(RegistryInvalidError) as caught:
        load_registry(processors)

    assert [(each.file.parent.name, each.reason) for each in caught.value.problems] == [
        ("llm_copy", "must be unique, and the folder llm_chat has the same"),
        ("llm_copy", "says llm/chat@1, whose folder is called llm_chat, not llm_copy"),
    ]


def test_linked_and_strange_entries_are_problems_and_no_crash(write: Write, good: str) -> None:
    """A link to another processor's folder would run its files under a second name."""
    processors = write(good).parents[1]
    (processors / "llm_linked").symlink_to(processors / "llm_chat")
    (processors / "llm_pipe").mkdir()
    os.mkfifo(processors / "llm_pipe" / "registry.yaml")

    with pytest.raises(RegistryInvalidError) as caught:
        load_registry(processors)

    assert [each.file.parent.name for each in caught.value.problems] == ["llm_linked", "llm_pipe"]


def test_what_is_no_processor_is_left_alone(write: Write, good: str) -> None:
    """Caches, folders in the making, folders without a registry file, and files."""
    processors = write(good).parents[1]
    write("not: a: registry", "__pycache__")
    write("not: a: registry", ".llm_chat.being-made")
    (processors / "llm_left_over").mkdir()
    (processors / "__init__.py").touch()

    assert [str(each.ref) for each in load_registry(processors)] == ["llm/chat@1"]


@pytest.mark.parametrize(
    ("asked", "hints"),
    [
        pytest.param("llm/chat@2", ["it exists as llm/chat@1"], id="another version"),
        pytest.param("llm/chta@1", ["close to it: llm/chat@1"], id="a slip of the finger"),
        pytest.param("ocr/doc@1", [], id="nothing like it"),
    ],
)
def test_an_unknown_ref_is_told_what_exists(write: Write, good: str, asked: str, hints: list[str]) -> None:
    """Whoever mistypes a ref sees the right one."""
    processors = write(good).parents[1]
    write(good.replace("llm/chat@1", "doc/ocr@1"), "doc_ocr")

    with pytest.raises(RefNotFoundError) as caught:
        load_registry(processors).find(Ref.parse(asked))

    assert caught.value.code == "ERR_REF_NOT_FOUND"
    assert [detail["message"] for detail in caught.value.details] == [
        f"there is no {asked}",
        *hints,
        "there are: doc/ocr@1, llm/chat@1",
    ]
    assert asked in str(caught.value)


def test_where_there_is_no_processor_at_all_one_learns_how_to_make_one(tmp_path: Path) -> None:
    """An absent folder and an empty one alike."""
    with pytest.raises(RefNotFoundError, match="scaffold_processor"):
        load_registry(tmp_path / "processors").find(Ref.parse("llm/chat@1"))


def test_every_processor_of_this_repository_is_registered() -> None:
    """What ships is right, and found by default."""
    assert {str(each.ref) for each in load_registry()} >= {"doc/ocr@1", "llm/chat@1"}

"""A registry file that cannot be parsed says on which line, and why."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from apps.core.registry.document import MAX_BYTES, load_document
from apps.core.registry.problems import Kind, pointer

Write = Callable[..., Path]


def test_a_document_knows_the_line_of_every_field(write: Write) -> None:
    """A field's line is that of its name, an item's that of its first character, an absent field's its holder's."""
    document, problems = load_document(
        write("ref: a/b@1\nruntime:\n  cpu: '1'\noutputs:\n  - path: x\n  -\n    path: y\n")
    )

    assert document is not None
    assert problems == []
    assert document.value == {"ref": "a/b@1", "runtime": {"cpu": "1"}, "outputs": [{"path": "x"}, {"path": "y"}]}
    assert [document.lines[field] for field in ("/ref", "/runtime/cpu", "/outputs/0", "/outputs/1/path")] == [
        1,
        3,
        5,
        7,
    ]
    assert document.problem("/runtime/gpu/deep", Kind.SHAPE, "is missing").line == 2


def test_yaml_types_are_those_of_json(write: Write) -> None:
    """YAML 1.2: `yes` is text; octal, exponent and null are what they are in JSON."""
    document, problems = load_document(write('a: yes\nb: 0o17\nc: 1e3\nd: ~\ne: true\nf: "1"\ng: 1.5\nh: {"i": [1]}\n'))

    assert problems == []
    assert document is not None
    assert document.value == {
        "a": "yes",
        "b": 15,
        "c": 1000.0,
        "d": None,
        "e": True,
        "f": "1",
        "g": 1.5,
        "h": {"i": [1]},
    }


def test_json_is_a_registry_file_too(write: Write) -> None:
    """An image carries the file as JSON, which may escape a character in two halves."""
    document, problems = load_document(
        write('{\n  "ref": "a/b@1",\n  "outputs": [],\n  "\\ud83d\\ude00": "\\ud83d\\ude00"}\n')
    )

    assert problems == []
    assert document is not None
    assert (document.value, document.lines["/outputs"]) == ({"ref": "a/b@1", "outputs": [], "😀": "😀"}, 3)


UNPARSABLE = [
    pytest.param("", 1, "is empty", id="empty"),
    pytest.param("# only a comment\n", 1, "is empty", id="only a comment"),
    pytest.param("a: 1\nb: [1,\nc: 2\n", 2, "expected", id="unclosed list"),
    pytest.param("a: 1\nb: 'x\nc: 2\n", 2, "end of stream", id="unclosed quote"),
    pytest.param("a: 1\nb: c: d\n", 2, "not allowed here", id="two colons"),
    pytest.param("a: 1\n\tb: 2\n", 2, "cannot start any token", id="tab as indent"),
    pytest.param("a: 1\n---\nb: 2\n", 2, "another document", id="two documents"),
    pytest.param("a: 1\nb: *nowhere\n", 2, "undefined alias", id="unknown alias"),
    pytest.param("a: 1\nb: \x01\n", 2, "YAML forbids", id="control character"),
    pytest.param(b"a: 1\nb: caf\xe9\n", 2, "is not UTF-8", id="latin-1"),
    pytest.param("a: 1\n".encode("utf-16"), 1, "is not UTF-8", id="utf-16"),
    pytest.param("a: 1\n" + "#" * MAX_BYTES, 1, "is larger than 256 KiB", id="huge"),
    pytest.param("a: &me\n  - *me\n", 1, "deeper than 64 levels", id="an alias that holds itself"),
    pytest.param("[" * 700, 1, "deeper than 64 levels", id="deep, unclosed"),
    pytest.param("- " * 80 + "x", 1, "deeper than 64 levels", id="deep, closed"),
    pytest.param(
        "a: &a [1, 1, 1, 1, 1, 1, 1, 1]\n"
        + "".join(f"{name}: &{name} [{', '.join([f'*{chr(ord(name) - 1)}'] * 8)}]\n" for name in "bcdef"),
        1,
        "more than 20000 values",
        id="aliases that explode",
    ),
]


@pytest.mark.parametrize(("text", "line", "reason"), UNPARSABLE)
def test_what_is_no_document_is_one_problem_with_its_line(write: Write, text: str, line: int, reason: str) -> None:
    """Nothing can be said of the rest of such a file, so one reason is all there is."""
    document, problems = load_document(write(text))

    assert document is None
    assert [(problem.line, problem.field, problem.kind) for problem in problems] == [(line, "", Kind.SYNTAX)]
    assert reason in problems[0].reason


NOT_JSON = [
    pytest.param("a: 1\nb: 2\na: 3\n", 3, "/a", "is written twice (first on line 1)", id="duplicate key"),
    pytest.param("a:\n  b: 1\n  b: 1\n", 3, "/a/b", "is written twice (first on line 2)", id="duplicate key, deeper"),
    pytest.param("a: 1\n2: 3\n", 2, "", "has a key that is not text: quote it", id="number as key"),
    pytest.param("a: 1\n? [x]\n: 3\n", 2, "", "has a key that is not text: quote it", id="list as key"),
    pytest.param("a: &x {b: 1}\nc:\n  <<: *x\n", 3, "/c", "has a merge key (<<)", id="merge key"),
    pytest.param("a: 1\nb: .nan\n", 2, "/b", "must be a finite number", id="not a number"),
    pytest.param("a: 1\nb: -.inf\n", 2, "/b", "must be a finite number", id="infinity"),
    pytest.param("a: 1e999\n", 1, "/a", "must be a finite number", id="too large a number"),
    pytest.param("a: 2024-01-01\n", 1, "/a", "has the YAML type timestamp: quote it", id="date"),
    pytest.param("a: !!binary aGk=\n", 1, "/a", "has the YAML type binary", id="binary"),
    pytest.param("a: !!set {x, y}\n", 1, "/a", "has the YAML type set", id="set"),
    pytest.param("a: !!python/object:os.system x\n", 1, "/a", "has the YAML type python", id="Python object"),
    pytest.param("a: !!int x\n", 1, "/a", "is tagged int and is none", id="wrong tag"),
    pytest.param('a: "\\ud800"\n', 1, "/a", "half of a surrogate pair", id="lone surrogate"),
]


@pytest.mark.parametrize(("text", "line", "field", "reason"), NOT_JSON)
def test_what_json_cannot_hold_is_named_and_the_rest_is_read(
    write: Write, text: str, line: int, field: str, reason: str
) -> None:
    """One bad value hides nothing: the document is there for the other checks."""
    document, problems = load_document(write(text))

    assert document is not None
    assert [(problem.line, problem.field, problem.kind) for problem in problems] == [(line, field, Kind.SYNTAX)]
    assert reason in problems[0].reason


def test_every_problem_of_a_file_is_found(write: Write) -> None:
    """The second mistake is reported beside the first."""
    _, problems = load_document(write("a: .nan\na: 1\n3: 4\nb: [2024-01-01, .inf]\n"))

    assert [(problem.line, problem.field) for problem in problems] == [
        (1, "/a"),
        (2, "/a"),
        (3, ""),
        (4, "/b/0"),
        (4, "/b/1"),
    ]


def test_a_linked_file_is_not_followed(write: Write, tmp_path: Path) -> None:
    """What is registered is a file of this tree, not whatever a link leads to."""
    elsewhere = tmp_path / "elsewhere.yaml"
    elsewhere.write_text("ref: a/b@1\n")
    file = write("")
    file.unlink()
    file.symlink_to(elsewhere)

    _, problems = load_document(file)

    assert [(problem.line, problem.reason) for problem in problems] == [
        (1, "is a symbolic link: put the file itself here")
    ]


def test_a_linked_folder_is_not_followed(write: Write) -> None:
    """The same holds for the folder."""
    file = write("ref: a/b@1\n")
    linked = file.parents[1] / "other_name"
    linked.symlink_to(file.parent)

    _, problems = load_document(linked / file.name)

    assert "in a folder that is a symbolic link" in problems[0].reason


def test_a_dangling_link_is_a_problem_and_no_crash(write: Write) -> None:
    """It is named as what it is."""
    file = write("")
    file.unlink()
    file.symlink_to("nowhere")

    _, problems = load_document(file)

    assert "is a symbolic link" in problems[0].reason


def test_what_is_no_file_is_a_problem_and_blocks_nothing(write: Write) -> None:
    """A folder and a pipe may have the name; opening a pipe would wait for its other end for ever."""
    folder = write("", "a_folder")
    folder.unlink()
    folder.mkdir()
    pipe = write("", "a_pipe")
    pipe.unlink()
    os.mkfifo(pipe)

    reasons = [load_document(file)[1][0].reason for file in (folder, pipe)]

    assert reasons == ["is not a file", "is not a file"]


def test_a_file_without_permission_is_a_problem(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system's reason is passed on. Provoked, because root may read everything."""
    file = write("ref: a/b@1\n")
    monkeypatch.setattr(Path, "open", _refuse)

    assert [problem.reason for problem in load_document(file)[1]] == ["cannot be read: Permission denied"]


def _refuse(*_: object) -> None:
    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def test_a_file_that_vanished_is_a_problem(tmp_path: Path) -> None:
    """The system's reason is passed on, whatever it is."""
    _, problems = load_document(tmp_path / "registry.yaml")

    assert [problem.reason for problem in problems] == ["cannot be read: No such file or directory"]


def test_a_pointer_escapes_what_would_lead_elsewhere() -> None:
    """RFC 6901, section 3: `~` and `/` in a name."""
    assert pointer("a/b", 0, "c~d") == "/a~1b/0/c~0d"

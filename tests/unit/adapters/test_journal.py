"""The story of an execution: NDJSON, whole lines, no secret."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest

from apps.core.adapters.journal import LONGEST_STRAY, Journal, to_stderr
from tests.support.executions import Story


def test_an_event_has_the_fields_that_were_bound(capfd: pytest.CaptureFixture[str]) -> None:
    """One line on stderr, with a time, and nothing on stdout."""
    Journal(ref="ns/name@1").bind(execution_id="e1").event("adapter.start", level="warning", port=7)

    out, err = capfd.readouterr()
    record = json.loads(err)
    assert out == ""
    assert err.count("\n") == 1
    assert record.pop("ts").endswith("Z")
    assert record == {
        "level": "warning",
        "event": "adapter.start",
        "ref": "ns/name@1",
        "execution_id": "e1",
        "port": 7,
    }


def test_a_json_line_of_the_processor_passes_as_it_is() -> None:
    """Our own fields are not added: it has its own."""
    story = Story()
    line = b'{"ts":"t","level":"info","event":"handler.x","ref":"a/b@1","n":1.5}'

    story.journal.bind(ref="other/ref@1").forward(line, 2)

    assert story.lines == [line]


@pytest.mark.parametrize(
    ("line", "fd"),
    [
        pytest.param(b"Traceback", 2, id="text"),
        pytest.param(b"[1, 2]", 2, id="JSON that is no object"),
        pytest.param(b'{"event": "x"}', 1, id="anything on stdout"),
        pytest.param(b"\xff\xfe", 2, id="not UTF-8"),
    ],
)
def test_any_other_line_is_wrapped(line: bytes, fd: int) -> None:
    """It keeps its text, and says which stream it came from."""
    story = Story()

    story.journal.bind(ref="a/b@1").forward(line, fd)

    (record,) = story.records
    assert (record["event"], record["fd"], record["ref"]) == ("process.stray", fd, "a/b@1")
    assert record["message"] == line.decode(errors="replace")


def test_a_line_without_end_is_cut_and_an_empty_one_dropped() -> None:
    """8 KiB, as the runtime cuts them."""
    story = Story()

    story.journal.forward(b"x" * (LONGEST_STRAY + 1), 2)
    story.journal.forward(b"  \r", 2)

    assert [len(record["message"]) for record in story.records] == [LONGEST_STRAY]


SECRET = 'tell"nobody'


@pytest.mark.parametrize(
    "tell",
    [
        pytest.param(lambda journal: journal.event("x", value=[{"deep": f"a {SECRET} b"}]), id="in an event"),
        pytest.param(lambda journal: journal.forward(json.dumps({"value": SECRET}).encode(), 2), id="in a line"),
        pytest.param(lambda journal: journal.forward(SECRET.encode(), 2), id="in a stray line"),
    ],
)
def test_secrets_become_stars_wherever_they_stand(tell: Any) -> None:
    """Also where JSON spells them with escapes; other text stays."""
    story = Story()

    tell(story.journal.hiding(SECRET))

    (line,) = story.lines
    assert b"tell" not in line
    assert b"***" in line


def test_hiding_another_secret_keeps_the_first() -> None:
    """Each step adds what it knows: the declared ones, then the token."""
    story = Story()

    story.journal.hiding("first-secret").bind(a=1).hiding("second-secret").event("x", both="first-secret second-secret")

    assert story.records[0]["both"] == "*** ***"


def test_a_story_that_nobody_hears_does_not_end_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer goes to stdout all the same."""

    def broken(_fd: int, _line: bytes) -> int:
        raise BrokenPipeError

    monkeypatch.setattr(os, "write", broken)

    Journal(to_stderr).event("x")

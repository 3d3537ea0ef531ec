"""Server-Sent Events are read as they were sent, and nothing is repaired."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from processor_conformance.sse import Told

STREAM = (
    b": hello\n\n"
    b'id: 1\nevent: token\ndata: {"text": "a"}\n\n'
    b'id:2\r\nevent:log\r\ndata: {"x":\r\ndata: 1}\r\n\r\n'
    b"data: no json\n\n"
    b'id: 4\nevent: done\ndata: {"status": "success"}\n\n'
)


def read(*chunks: bytes) -> Told:
    """Return what these pieces of a stream tell."""
    told = Told()
    for chunk in chunks:
        told.feed(chunk)
    return told


def test_events_comments_and_what_is_left_are_kept_apart() -> None:
    """An id or a name that is absent shows as such."""
    told = read(STREAM + b"id: 5\n")

    assert [(event.id, event.name, event.data) for event in told.events] == [
        ("1", "token", {"text": "a"}),
        ("2", "log", {"x": 1}),
        ("", "", None),
        ("4", "done", {"status": "success"}),
    ]
    assert len(told.comments) == 1
    assert told.rest == b"id: 5\n"


@given(st.lists(st.integers(0, len(STREAM)), max_size=5))
def test_it_does_not_matter_where_the_network_cuts(cuts: list[int]) -> None:
    """Even between the two characters of a line break."""
    edges = [0, *sorted(cuts), len(STREAM)]
    pieces = [STREAM[start:end] for start, end in itertools.pairwise(edges)]

    assert read(*pieces).events == read(STREAM).events


def test_done_is_the_last_event_or_none() -> None:
    """An envelope in the middle ends nothing."""
    assert read(STREAM).done == {"status": "success"}
    assert read(STREAM, b"event: token\ndata: {}\n\n").done == {}
    assert read().done == {}

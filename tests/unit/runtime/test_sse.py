"""What a run tells reaches its reader in order; a slow one loses progress and log lines, and nothing else."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest
from fastapi.sse import format_sse_event
from hypothesis import given
from hypothesis import strategies as st

from processor_runtime.sse import MANY, EventBuffer, encode

steps = st.lists(st.sampled_from(["progress", "log", "token", "output", "take"]), max_size=60)


def _buffer() -> EventBuffer:
    return EventBuffer(lambda: None)


def _data(name: str, number: int) -> dict[str, Any]:
    if name == "token":
        return {"execution_id": "e1", "text": f"<{number}>"}
    return {"execution_id": "e1", "number": number}


def test_events_come_in_the_order_in_which_they_were_put() -> None:
    """As long as the reader keeps up, one for one."""
    buffer = _buffer()
    names = ["progress", "token", "token", "log", "output", "token"]
    for number, name in enumerate(names):
        buffer.put(name, _data(name, number))

    found = buffer.take()

    assert [name for name, _ in found] == names
    assert found[1] == ("token", {"execution_id": "e1", "text": "<1>"})
    assert buffer.take() == []


@pytest.mark.parametrize("name", ["progress", "log"])
def test_progress_and_log_lines_are_dropped_for_a_slow_reader(name: str) -> None:
    """The first ones are kept, so that what is read makes sense from its start."""
    buffer = _buffer()
    for number in range(MANY * 3):
        buffer.put(name, _data(name, number))

    assert [data["number"] for _, data in buffer.take()] == list(range(MANY))


def test_an_output_is_never_dropped() -> None:
    """However many, and whatever else is waiting."""
    buffer = _buffer()
    for number in range(MANY * 2):
        buffer.put("log", _data("log", number))
        buffer.put("output", _data("output", number))

    outputs = [data["number"] for name, data in buffer.take() if name == "output"]
    assert outputs == list(range(MANY * 2))


def test_tokens_are_joined_for_a_slow_reader_and_none_is_lost() -> None:
    """A million tokens need little room."""
    buffer = _buffer()
    for number in range(MANY * 4):
        buffer.put("token", _data("token", number))

    found = buffer.take()

    assert len(found) <= MANY + 1
    assert "".join(data["text"] for _, data in found) == "".join(f"<{number}>" for number in range(MANY * 4))
    assert all(data["execution_id"] == "e1" for _, data in found)


def test_a_token_after_an_output_stays_after_it() -> None:
    """Joining does not change the order of what is kept."""
    buffer = _buffer()
    for number in range(MANY):
        buffer.put("log", _data("log", number))
    for name, number in (("token", 1), ("output", 2), ("token", 3), ("token", 4)):
        buffer.put(name, _data(name, number))

    *_, first, output, last = buffer.take()
    assert (first[1]["text"], output[1]["number"], last[1]["text"]) == ("<1>", 2, "<3><4>")


@given(steps, st.integers(1, 40))
def test_the_text_and_the_outputs_are_whole_however_they_are_read(names: list[str], repeat: int) -> None:
    """Any order of events, any pace of the reader."""
    buffer, found = _buffer(), []
    text, outputs = "", []
    for number, name in enumerate(names * repeat):
        if name == "take":
            found += buffer.take()
            continue
        buffer.put(name, _data(name, number))
        if name == "token":
            text += f"<{number}>"
        elif name == "output":
            outputs.append(number)
    found += buffer.take()

    assert "".join(data["text"] for name, data in found if name == "token") == text
    assert [data["number"] for name, data in found if name == "output"] == outputs


def test_the_reader_is_woken_once_until_it_has_taken_all() -> None:
    """Each wake-up is a write to a pipe."""
    wakes: list[None] = []
    buffer = EventBuffer(lambda: wakes.append(None))
    for _ in range(10):
        buffer.put("token", _data("token", 1))
    assert len(wakes) == 1

    buffer.take()
    assert len(wakes) == 1
    buffer.put("progress", _data("progress", 1))
    buffer.put("progress", _data("progress", 2))
    assert len(wakes) == 2


def test_what_is_put_is_not_changed() -> None:
    """A caller may put the same object twice."""
    buffer, data = _buffer(), _data("token", 1)
    buffer.put("token", data)
    buffer.put("token", data)

    assert [each["text"] for _, each in buffer.take()] == ["<1>", "<1>"]
    assert data == _data("token", 1)


def test_threads_may_put_while_the_reader_takes() -> None:
    """Every output of four threads arrives once, each thread's in its order."""
    buffer, woken = EventBuffer(lambda: None), threading.Event()

    def put(thread: int) -> None:
        for number in range(500):
            buffer.put("output", {"thread": thread, "number": number})
            woken.set()

    threads = [threading.Thread(target=put, args=(number,)) for number in range(4)]
    for each in threads:
        each.start()
    found: list[tuple[str, dict[str, Any]]] = []
    while len(found) < 2000:
        assert woken.wait(20.0)
        woken.clear()
        found += buffer.take()
    for each in threads:
        each.join()

    for thread in range(4):
        assert [data["number"] for _, data in found if data["thread"] == thread] == list(range(500))


@given(st.text())
def test_an_event_on_the_wire_has_id_name_and_one_line_of_data(text: str) -> None:
    """A blank line ends it, and nothing in the data can begin another one."""
    wire = encode(7, "token", json.dumps({"text": text}).encode())

    lines = wire.decode().split("\n")
    assert lines[-2:] == ["", ""]
    fields = dict(line.split(": ", 1) for line in lines[:-2])
    assert fields == {"event": "token", "id": "7", "data": json.dumps({"text": text})}
    assert wire == format_sse_event(data_str=json.dumps({"text": text}), event="token", id="7")

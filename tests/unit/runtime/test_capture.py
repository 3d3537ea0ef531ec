"""What is written to the descriptors 1 and 2 comes back line by line, cut at 8 KiB, and all of it by the end."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from typing import Any

import pytest

from processor_runtime import capture

# By its file: the package around it would take half a second to import, each time
BEGIN = """
import importlib.util, json, os, sys
spec = importlib.util.spec_from_file_location("capture", sys.argv[1])
capture = importlib.util.module_from_spec(spec)
spec.loader.exec_module(capture)
seen = []
real = capture.start(lambda fd, text: seen.append((fd, text)))
def tell():
    capture.flush()
    os.write(real, json.dumps(seen).encode())
"""


def _seen(source: str) -> list[tuple[int, str]]:
    """Return what was caught while *source* ran: descriptor and line."""
    done = subprocess.run(
        [sys.executable, "-c", BEGIN + textwrap.dedent(source) + "\ntell()", capture.__file__],
        capture_output=True,
        timeout=60,
        check=True,
    )
    assert done.stdout == b""
    found: list[Any] = json.loads(done.stderr)
    return [(fd, text) for fd, text in found]


def test_each_descriptor_is_caught_by_its_number() -> None:
    """In the order of each."""
    seen = _seen(r"""
        os.write(1, b"one\ntwo\n")
        os.write(2, b"three\nfour\n")
    """)

    assert [text for fd, text in seen if fd == 1] == ["one", "two"]
    assert [text for fd, text in seen if fd == 2] == ["three", "four"]


def test_a_line_that_comes_in_pieces_is_one_line() -> None:
    """Whoever writes it byte by byte."""
    assert _seen(r"""
        for byte in b"a whole line\n":
            os.write(1, bytes([byte]))
    """) == [(1, "a whole line")]


def test_an_unfinished_line_is_emitted_when_it_is_flushed() -> None:
    """A process that dies has no time for a line break."""
    assert _seen('os.write(1, b"no end")') == [(1, "no end")]


def test_empty_lines_and_carriage_returns_are_no_news() -> None:
    """A progress bar's blank lines say nothing."""
    assert _seen(r'os.write(1, b"\n\n  \n\r\nwindows\r\n")') == [(1, "windows")]


def test_bytes_that_are_not_utf_8_are_replaced() -> None:
    """The line is still JSON."""
    assert _seen(r'os.write(1, b"caf\xe9\n")') == [(1, "caf\ufffd")]


@pytest.mark.parametrize("size", [8191, 8192, 8193, 20_000, 300_000])
def test_a_long_line_is_cut_at_8_kib_and_the_next_one_is_whole(size: int) -> None:
    """Its rest is dropped, however it comes through the pipe."""
    seen = _seen(f"""
        os.write(1, b"x" * {size} + b"\\n")
        os.write(1, b"after\\n")
    """)

    assert seen == [(1, "x" * min(size, 8192)), (1, "after")]


@pytest.mark.parametrize("letter", ["é", "€", "\U0001f600"])
def test_a_message_has_at_most_8_kib_whatever_its_letters(letter: str) -> None:
    """CONTRACT section 7: also when the cut goes through a letter."""
    (cut,) = _seen(f"""
        os.write(1, ("x" + {letter!r} * 6000).encode() + b"\\n")
    """)

    assert len(cut[1].encode()) <= 8192
    assert cut[1].startswith("x" + letter * 2000)


def test_bytes_that_are_not_utf_8_make_no_longer_message() -> None:
    """A replacement character has three bytes."""
    (cut,) = _seen(r'os.write(1, b"\xff" * 8192 + b"\n")')

    assert len(cut[1].encode()) <= 8192


def test_a_flood_is_caught_whole() -> None:
    """More than a pipe holds, from two writers."""
    seen = _seen(r"""
        import threading
        def flood(fd):
            for number in range(5000):
                os.write(fd, b"%d %s\n" % (number, b"x" * 100))
        threads = [threading.Thread(target=flood, args=(fd,)) for fd in (1, 2)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
    """)

    for fd in (1, 2):
        assert [int(text.split()[0]) for each, text in seen if each == fd] == list(range(5000))


def test_a_print_shows_at_once() -> None:
    """A pipe is block-buffered by default: it would show minutes later."""
    assert _seen("""
        import threading
        print("now")
        for _ in range(2000):
            if seen: break
            threading.Event().wait(0.005)
        os.write(2, b"later")
    """) == [(1, "now"), (2, "later")]

"""A configured process writes NDJSON on stderr and nothing on stdout, whoever writes (CONTRACT section 7)."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from processor_runtime import logs
from processor_runtime.logs import Logger, get_logger
from processor_runtime.masking import Mask
from tests.unit.runtime.services import DOCUMENT

BEGIN = """
import sys
from pathlib import Path
from processor_runtime import logs
logs.configure(registry=Path(sys.argv[1]))
"""


@pytest.fixture
def registry(tmp_path: Path) -> Path:
    """Return a registry file of `ns/name@1`."""
    path = tmp_path / "registry.yaml"
    path.write_text(json.dumps(DOCUMENT))
    return path


def _run(registry: Path, source: str, status: int = 0) -> list[dict[str, Any]]:
    """Return the lines that a process which configures and then runs *source* writes."""
    done = subprocess.run(
        [sys.executable, "-c", BEGIN + textwrap.dedent(source), str(registry)],
        capture_output=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONWARNINGS": "default"},
    )
    assert done.returncode == status, done.stderr.decode()
    assert done.stdout == b""
    assert done.stderr == b"" or done.stderr.endswith(b"\n")
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert all(isinstance(line, dict) and line["ref"] == "ns/name@1" for line in lines)
    return lines


def test_whatever_writes_to_stdout_or_stderr_comes_out_as_lines_on_stderr(registry: Path) -> None:
    """Prints, descriptors, C libraries, child processes, an unfinished line."""
    lines = _run(
        registry,
        """
        import ctypes, os
        print("printed")
        print("to stderr", file=sys.stderr)
        os.write(1, b"by descriptor\\n")
        os.system("echo by a child")
        libc = ctypes.CDLL(None)
        libc.puts(b"by C")
        libc.fflush(None)
        os.write(2, b"unfinished")
        """,
    )

    assert {line["event"] for line in lines} == {"process.stray"}
    assert {(line["fd"], line["message"]) for line in lines} == {
        (1, "printed"), (2, "to stderr"), (1, "by descriptor"), (1, "by a child"), (1, "by C"), (2, "unfinished"),
    }  # fmt: skip


def test_the_standard_librarys_logging_and_warnings_come_out_as_lines(registry: Path) -> None:
    """With their level, logger and traceback; not twice."""
    lines = _run(
        registry,
        """
        import logging, warnings
        logging.getLogger("lib.part").warning("careful with %s", "it")
        logging.getLogger("lib").info("said")
        logging.getLogger("lib").debug("not said")
        warnings.warn("old", DeprecationWarning)
        try:
            1 / 0
        except ZeroDivisionError:
            logging.getLogger("lib").exception("broken")
        logging.getLogger("uvicorn.error").info("Started")
        logging.getLogger("uvicorn.access").info("GET /healthz")
        """,
    )

    assert {line["event"] for line in lines} == {"process.log"}
    careful, said, old, broken, started = lines
    assert (careful["level"], careful["logger"], careful["message"]) == ("warning", "lib.part", "careful with it")
    assert (said["level"], said["message"]) == ("info", "said")
    assert "DeprecationWarning: old" in old["message"]
    assert broken["level"] == "error"
    assert "ZeroDivisionError" in broken["exception"]
    assert started["message"] == "Started"


@pytest.mark.parametrize("where", ["main", "thread"])
def test_an_uncaught_exception_is_one_line(registry: Path, where: str) -> None:
    """With its traceback inside."""
    source = "raise ValueError('mine')"
    if where == "thread":
        source = (
            "import threading\n"
            "def f():\n    raise ValueError('mine')\n"
            "thread = threading.Thread(target=f)\nthread.start()\nthread.join()"
        )
    (line,) = _run(registry, source, status=1 if where == "main" else 0)

    assert (line["event"], line["level"]) == ("process.error", "error")
    assert "ValueError: mine" in line["exception"]


def test_a_registry_that_cannot_be_used_stops_the_process_with_one_line(tmp_path: Path) -> None:
    """It names the file."""
    done = subprocess.run(
        [sys.executable, "-c", BEGIN, str(tmp_path / "registry.yaml")], capture_output=True, timeout=60, check=False
    )

    (line,) = done.stderr.splitlines()
    record = json.loads(line)
    assert (done.returncode, done.stdout) == (1, b"")
    assert (record["event"], record["name"]) == ("http.boot.error", "registry.yaml")


def test_configuring_twice_configures_once(registry: Path) -> None:
    """A line does not go through two pipes."""
    lines = _run(registry, "logs.configure(registry=Path(sys.argv[1]))\nprint('once')")

    assert [line["message"] for line in lines] == ["once"]


def test_a_line_has_time_level_event_and_fields(capfd: pytest.CaptureFixture[str]) -> None:
    """RFC 3339 in UTC with milliseconds."""
    get_logger("ns/name@1").bind(execution_id="e1").event("http.run.start", level="warning", n=1)

    captured = capfd.readouterr()
    (line,) = captured.err.splitlines()
    record = json.loads(line)
    assert captured.out == ""
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", record.pop("ts"))
    assert record == {
        "level": "warning", "event": "http.run.start", "ref": "ns/name@1", "execution_id": "e1", "n": 1,
    }  # fmt: skip


def test_a_field_of_a_handlers_own_does_not_replace_who_and_when(capfd: pytest.CaptureFixture[str]) -> None:
    """And stands beside them under any other name."""
    fields: dict[str, Any] = {"ts": "never", "ref": "another", "execution_id": "e2", "n": 1}

    get_logger("ns/name@1").bind(execution_id="e1").event("handler.x", **fields)

    record = json.loads(capfd.readouterr().err)
    assert list(record) == ["ts", "level", "event", "ref", "execution_id", "n"]
    assert record.pop("ts") != "never"
    assert (record["ref"], record["execution_id"], record["n"]) == ("ns/name@1", "e1", 1)


def test_binding_does_not_change_the_logger_that_was_bound(capfd: pytest.CaptureFixture[str]) -> None:
    """Each execution has its own."""
    log = Logger({"a": 1})
    log.bind(b=2)
    log.event("x")

    assert "b" not in json.loads(capfd.readouterr().err)


def test_a_mirror_gets_each_record_and_its_line(capfd: pytest.CaptureFixture[str]) -> None:
    """Also through a logger that was bound later."""
    mirrored: list[tuple[dict[str, Any], bytes]] = []
    log = Logger({}).mirrored(lambda record, line: mirrored.append((record, line))).bind(a=1)

    log.event("x")

    ((record, line),) = mirrored
    assert record["event"] == "x"
    assert json.loads(line) == record == json.loads(capfd.readouterr().err)


def test_secrets_are_masked_in_lines_and_in_the_mirrors(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In nested fields and in exceptions."""
    monkeypatch.setattr(logs._sink, "mask", Mask(["s3cret-value"]))
    mirrored: list[bytes] = []
    log = Logger({}).mirrored(lambda _record, line: mirrored.append(line))

    log.event("x", url="https://s3cret-value@host", nested=[{"a": "s3cret-value"}], error=ValueError("s3cret-value"))

    assert "s3cret-value" not in capfd.readouterr().err
    assert b"s3cret-value" not in mirrored[0]


def test_an_unwritable_stderr_fails_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk behind it must not end a run."""
    read, write = os.pipe()
    os.close(read)
    monkeypatch.setattr(logs._sink, "fd", write)
    try:
        get_logger().event("x")
    finally:
        os.close(write)


def test_lines_of_many_threads_are_never_torn(registry: Path) -> None:
    """Nor those of threads that print meanwhile."""
    lines = _run(
        registry,
        """
        import os, threading
        def say(name):
            for number in range(100):
                logs.get_logger().event("said", name=name, number=number, text="x" * 500)
                os.write(1, f"{name} {number}\\n".encode())
        threads = [threading.Thread(target=say, args=(name,)) for name in "abcd"]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        """,
    )

    said = [(line["name"], line["number"]) for line in lines if line["event"] == "said"]
    assert sorted(said) == [(name, number) for name in "abcd" for number in range(100)]
    assert sum(line["event"] == "process.stray" for line in lines) == 400

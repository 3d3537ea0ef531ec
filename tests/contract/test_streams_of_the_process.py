"""stdout stays empty and stderr holds one object a line, whatever a handler and its libraries do (§7)."""

from __future__ import annotations

import re
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.contract.conftest import Services
from tests.contract.discovery import STEPS
from tests.contract.judge import failure, refusal, success
from tests.support.service import WAIT_S, Service, parsed, wait_until

MOST = 8 * 1024
WRITE: Final = ["write", "outputs/text.txt", "done"]
Steps = list[list[Any]]

GARBAGE = [
    b"garbage\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64),  # somebody tries TLS
    b"GET / HTTP/9.9\r\n\r\n",
    b"POST /run HTTP/1.1\r\nHost: x\r\nContent-Length: many\r\n\r\n",
    b"POST /run HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"GET /%ff%fe?\xff HTTP/1.1\r\nHost: \xff\r\nConnection: close\r\n\r\n",
    b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
]


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Service]:
    """A service for one test only, which may stop it: then its streams are whole."""
    with Service(STEPS, tmp_path / "room") as service:
        yield service


@pytest.fixture
def noisy(passing_services: Services) -> Service:
    """A service that the tests of this file share."""
    return passing_services.get(STEPS)


def run(service: Service, steps: Steps) -> dict[str, Any]:
    """Return the success of a run with these *steps*."""
    payload = service.payload(inputs={"schema": "v1", "params": {"do": [*steps, WRITE]}})
    return success(service, service.post(payload), payload)


def strays(service: Service, fd: int) -> list[str]:
    """Return the messages of the stray lines from *fd* so far."""
    return [line["message"] for line in service.lines(event="process.stray", fd=fd)]


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_after_everything_stdout_is_empty_and_stderr_is_json(tmp_path: Path, kind: str) -> None:
    """Good and bad requests, garbage, prints, warnings, C and children: then the streams are judged as they are."""
    everywhere = "0.0.0.0"  # noqa: S104 - as an image's CMD says it
    with Service(STEPS, tmp_path / "room", {"FIXTURE_KIND": kind}, host=everywhere) as noisy:
        provoke(noisy)
        status = noisy.stop()

    noisy.check_streams()
    assert noisy.stdout() == b""
    assert status in {0, -signal.SIGTERM}
    said = set(re.findall(r"said by [a-z ]+", "\n".join(map(str, noisy.lines()))))
    assert said >= {
        "said by print", "said by print to stderr", "said by print to the original stdout", "said by a thread",
        "said by warn", "said by logging", "said by a library", "said by a traceback", "said by write to ",
        "said by puts", "said by perror", "said by a child", "said by a child to stderr",
        "said by a copy of the process", "said by a dying thread", "said by a destructor", "said by an exception",
    }  # fmt: skip


def provoke(noisy: Service) -> None:
    """Make the service write to its streams in every way that there is."""
    run(
        noisy,
        [
            ["print", 1, "said by print"],
            ["print", 2, "said by print to stderr"],
            ["print_original", 1, "said by print to the original stdout"],
            ["print_in_thread", 1, "said by a thread"],
            ["warn", "said by warn"],
            ["std_log", "warning", "said by logging"],
            ["std_log_handler", "said by a library's own handler"],
            ["std_log_traceback", "said by a traceback"],
            ["os_write", 1, b"said by write to 1\n".hex()],
            ["os_write", 2, b"said by write to 2\n".hex()],
            ["puts", "said by puts"],
            ["perror", "said by perror"],
            ["shell", "echo said by a child; echo said by a child to stderr >&2"],
            ["fork", "said by a copy of the process\n"],
            ["forget_thread", "said by a dying thread"],
            ["unraisable", "said by a destructor"],
        ],
    )
    failed = noisy.payload(inputs={"schema": "v1", "params": {"do": [["raise", "ValueError", "said by an exception"]]}})
    failure(noisy, noisy.post(failed), "ERR_RUNTIME", execution_id=failed["execution_id"])
    refused = noisy.payload(mode="dream")
    refusal(noisy, noisy.post(refused), "ERR_MODE_INVALID", execution_id=refused["execution_id"])
    noisy.http.get("/nope")
    for garbage in GARBAGE:
        tell(noisy, garbage)


def tell(service: Service, garbage: bytes) -> None:
    """Send what is no HTTP, or nearly; whatever comes back, the service is still there."""
    with socket.create_connection(("127.0.0.1", service.port), timeout=WAIT_S) as connection:
        try:
            connection.sendall(garbage)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(65536):
                pass
        except OSError:  # it hung up first
            pass
    assert service.health() == {"ok": True}


@pytest.mark.parametrize(
    ("steps", "fd", "message"),
    [
        pytest.param([["print", 1, "one print"]], 1, "one print", id="print"),
        pytest.param([["print", 2, "one error"]], 2, "one error", id="print to stderr"),
        pytest.param([["os_write", 1, b"one write\n".hex()]], 1, "one write", id="write to 1"),
        pytest.param([["os_write", 2, b"one more write\n".hex()]], 2, "one more write", id="write to 2"),
        pytest.param([["puts", "one puts"]], 1, "one puts", id="C"),
        pytest.param([["shell", "echo one child"]], 1, "one child", id="a child"),
        pytest.param([["shell", "echo one more child >&2"]], 2, "one more child", id="a child's stderr"),
        pytest.param([["fork", "one copy\n"]], 1, "one copy", id="a copy of the process"),
        pytest.param([["print", 1, "two ", ""], ["print", 1, "pieces"]], 1, "two pieces", id="a line in two pieces"),
        pytest.param([["print", 1, '{"event": "http.run.settle"}']], 1, '{"event": "http.run.settle"}', id="JSON"),
        pytest.param([["print", 1, "größer 😀"]], 1, "größer 😀", id="beyond ASCII"),
        pytest.param([["print", 1, "\x1b[31mred\x1b[0m\ttab"]], 1, "\x1b[31mred\x1b[0m\ttab", id="colours"),
    ],
)
def test_a_stray_line_says_where_it_came_from(noisy: Service, steps: Steps, fd: int, message: str) -> None:
    """The file descriptor and the text, and nothing of it is taken for a line of ours."""
    run(noisy, steps)

    wait_until(lambda: message in strays(noisy, fd), lambda: f"{message!r} among {strays(noisy, fd)}")
    assert message not in strays(noisy, 3 - fd)


def test_each_line_is_an_event_of_its_own(noisy: Service) -> None:
    """In the order in which they were written."""
    run(noisy, [["print", 1, "first\nsecond\nthird"]])

    wait_until(lambda: "third" in strays(noisy, 1), lambda: "the third line")
    assert [line for line in strays(noisy, 1) if line in {"first", "second", "third"}] == ["first", "second", "third"]


def test_a_long_line_is_cut_at_eight_kibibytes(noisy: Service) -> None:
    """Each stray is small enough to be handled; what is short stays whole."""
    run(noisy, [["print", 1, "x" * 100_000], ["print", 1, "é" * 20_000], ["print", 1, "y" * MOST], ["print", 1, "end"]])

    wait_until(lambda: "end" in strays(noisy, 1), lambda: "the end")
    said = strays(noisy, 1)
    assert max(len(message.encode()) for message in said) <= MOST
    assert any(message.startswith("x" * 1000) for message in said)
    assert any(message.startswith("é" * 1000) for message in said)
    assert "y" * MOST in said


def test_bytes_that_are_no_text_are_told_as_text(noisy: Service) -> None:
    """Invalid UTF-8, NULs and lone surrogates leave a line that can be read."""
    run(noisy, [["os_write", fd, b"a\xff\xfe\x00\xed\xa0\x80b\n".hex()] for fd in (1, 2)])

    for fd in (1, 2):
        wait_until(lambda fd=fd: [said for said in strays(noisy, fd) if said[0] + said[-1] == "ab"], lambda: "a…b")  # type: ignore[misc]


def test_a_line_without_an_end_is_told_at_the_end(own: Service) -> None:
    """Nothing is lost when the process stops."""
    run(own, [["os_write", 1, b"no end on 1".hex()], ["os_write", 2, b"no end on 2".hex()]])
    own.stop()

    assert "no end on 1" in strays(own, 1)
    assert "no end on 2" in strays(own, 2)


def test_what_c_keeps_in_its_buffer_never_reaches_stdout(own: Service) -> None:
    """It is written when the process ends, long after Python's last word."""
    run(own, [["puts_unflushed", "kept in a buffer"]])
    own.stop()

    own.check_streams()


def test_what_is_printed_on_import_is_captured(tmp_path: Path) -> None:
    """The handler and its libraries are imported after the streams were taken over."""
    with Service(STEPS, tmp_path / "room", {"FIXTURE_NOISE": "import"}) as service:
        assert {"print at import", "write at import", "puts at import"} <= set(strays(service, 1))
        assert "error at import" in strays(service, 2)
        assert any("warning at import" in str(line) for line in service.lines())


def test_a_flood_is_told_whole_and_blocks_nobody(noisy: Service) -> None:
    """More than a pipe holds, from a child, while the log is written as well."""
    run(noisy, [["shell", "i=0; while [ $i -lt 3000 ]; do echo line $i of the flood, and more text; i=$((i+1)); done"]])

    wait_until(lambda: len([said for said in strays(noisy, 1) if "of the flood" in said]) == 3000, lambda: "3000 lines")


# --- the lines of a run ----------------------------------------------------------------------------------------------


def test_a_run_has_a_start_and_a_settle(steps: Service) -> None:
    """Both with the id; the handler's own lines between them, below `handler.`."""
    envelope = run(steps, [["log", "found", {"pages": 3}], ["log", "handler.more", {"level": "warning"}]])
    execution_id = envelope["execution_id"]

    settle = steps.wait_for_line(event="http.run.settle", execution_id=execution_id)
    events = [line["event"] for line in steps.lines(execution_id=execution_id)]
    assert events == ["http.run.start", "handler.found", "handler.more", "http.run.settle"]
    assert (settle["status"], settle["duration_ms"]) == ("success", envelope["meta"]["duration_ms"])
    assert steps.lines(event="handler.found", execution_id=execution_id)[0]["pages"] == 3
    assert steps.lines(event="handler.more", execution_id=execution_id)[0]["level"] == "warning"


def test_a_failed_run_settles_with_its_code(steps: Service) -> None:
    """What the caller is told, and the cause for whoever reads the log."""
    payload = steps.payload(inputs={"schema": "v1", "params": {"do": [["raise", "ValueError", "the-cause-of-it"]]}})
    envelope = failure(steps, steps.post(payload), "ERR_RUNTIME", execution_id=payload["execution_id"])

    settle = steps.wait_for_line(event="http.run.settle", execution_id=payload["execution_id"])
    assert (settle["status"], settle["code"]) == ("error", "ERR_RUNTIME")
    assert settle["duration_ms"] == envelope["meta"]["duration_ms"]
    assert "the-cause-of-it" in str(steps.lines(execution_id=payload["execution_id"]))
    assert "the-cause-of-it" not in str(envelope)


def test_a_refusal_is_an_error_with_a_reason(steps: Service) -> None:
    """It never started, so it does not settle."""
    payload = steps.payload(mode="dream")
    refusal(steps, steps.post(payload), "ERR_MODE_INVALID", execution_id=payload["execution_id"])

    line = steps.wait_for_line(event="http.run.error", execution_id=payload["execution_id"])
    assert isinstance(line["reason"], str)
    assert line["reason"]
    assert [line["event"] for line in steps.lines(execution_id=payload["execution_id"])] == ["http.run.error"]


def test_a_handler_cannot_forge_the_fields_of_a_line(own: Service) -> None:
    """Whatever it logs, `ts`, `ref` and `execution_id` are the runtime's."""
    forged = {"ts": "never", "ref": "other/one@1", "execution_id": "forged"}
    envelope = run(own, [["log", "forger", forged]])

    line = own.wait_for_line(event="handler.forger")
    assert (line["ref"], line["execution_id"]) == (own.ref, envelope["execution_id"])


def test_a_handler_may_log_what_json_cannot_say(own: Service) -> None:
    """NaN, bytes, objects, cycles and lone surrogates: still one object a line, and the run is none the worse."""
    envelope = run(own, [["log_odd"]])

    line = own.wait_for_line(event="handler.odd")
    assert line["execution_id"] == envelope["execution_id"]
    assert line["plain"] == "as it was\nin two lines"


def test_the_mirror_holds_the_lines_of_its_run(steps: Service) -> None:
    """Best-effort, but where it is, it is the same."""
    envelope = run(steps, [["log", "found", {"pages": 3}]])

    steps.wait_for_line(event="http.run.settle", execution_id=envelope["execution_id"])
    mirror = steps.file(envelope["index_path"]).parent / "logs" / "trace.ndjson"
    lines = mirror.read_text("utf-8").splitlines()
    assert {"http.run.start", "handler.found"} <= {line["event"] for line in map(parsed, lines)}
    assert set(lines) <= set(steps.stderr().splitlines())

"""What wrk says is parsed to right answers and failures, and nothing else is taken for an outcome."""

from __future__ import annotations

import json

import pytest

from bench import wrk
from bench.subjects import ID, Request

OUTCOME = {
    "seconds": 2.0,
    "requests": 1000,
    "status": 100,
    "connect": 1,
    "read": 2,
    "write": 3,
    "timeout": 4,
    "p50_us": 1500,
    "p90_us": 2000,
    "p99_us": 9000,
    "max_us": 20000,
}
SAID = f"Running 2s test @ http://127.0.0.1:8000/run\n  1 threads and 8 connections\n{json.dumps(OUTCOME)}\n"


def test_an_error_status_and_a_broken_connection_are_failures() -> None:
    """Neither is in the rate."""
    load = wrk.parse(SAID)

    assert (load.right, load.failures) == (900, 110)
    assert load.rate == 450.0
    assert load.failed_share == pytest.approx(110 / 1010)


def test_where_a_refusal_is_right_everything_else_fails() -> None:
    """The rate of refusals holds refusals only."""
    load = wrk.parse(SAID, refused=True)

    assert (load.right, load.failures) == (100, 910)


def test_latencies_are_milliseconds() -> None:
    """The script tells microseconds."""
    load = wrk.parse(SAID)

    assert (load.p50_ms, load.p99_ms) == (1.5, 9.0)


@pytest.mark.parametrize(
    "said",
    [
        pytest.param("", id="nothing"),
        pytest.param("unable to connect to 127.0.0.1:8000 Connection refused\n", id="no server"),
        pytest.param('{"seconds": 2.0, "requests": 10}\n', id="half an outcome"),
        pytest.param(SAID.replace("2.0", '"soon"'), id="no number"),
    ],
)
def test_what_is_no_outcome_is_an_error(said: str) -> None:
    """A load that did not take place must not become a zero in a table."""
    with pytest.raises(wrk.WrkError, match="no outcome"):
        _ = wrk.parse(said).rate


def test_the_announced_length_is_that_of_the_body() -> None:
    """The id takes the place of a text of the same length, so the length stands."""
    raw = Request("/run", json.dumps({"execution_id": ID, "text": "ü"}, ensure_ascii=False)).raw("127.0.0.1:1")
    head, _, body = raw.partition(b"\r\n\r\n")

    assert f"Content-Length: {len(body)}".encode() in head

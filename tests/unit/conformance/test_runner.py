"""The runner: outcomes, the end of everything, and what is said of services that are no processors."""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path

import pytest

from processor_conformance import runner
from processor_conformance.catalogue import Check, Phase
from processor_conformance.cli import chosen, options_of
from processor_conformance.outcome import Outcome, Result, expect
from processor_conformance.service import Service
from tests.unit.conformance.servers import Reader, Talk, Writer, serving

OK = b'{"ok": true}'


def answering(body: bytes, *, status: str = "200 OK", delay_s: float = 0) -> Talk:
    """Return a server's talk that answers everything alike."""

    async def talk(reader: Reader, writer: Writer) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if b"/healthz" not in head:
            await asyncio.sleep(delay_s)
        told = OK if b"/healthz" in head else body
        writer.write(b"HTTP/1.1 %b\r\nContent-Type: application/json\r\n" % status.encode())
        writer.write(b"Content-Length: %d\r\nConnection: close\r\n\r\n%b" % (len(told), told))
        await writer.drain()

    return talk


def judged(url: str, only: str, **options: str) -> Mapping[str, Result]:
    """Return what the kit says, by id."""
    results = asyncio.run(runner.judge(options_of(url=url, **options), chosen(only)))
    return {result.check.id: result for result in results}


@pytest.mark.parametrize("body", [b"[]", b"1", b"{}", b'{"error": 1, "meta": []}', b'{"status": "success"}', b"hello"])
def test_a_service_that_is_no_processor_fails_and_breaks_nothing(body: bytes) -> None:
    """Whatever it answers, each check says what it wanted and what it saw."""
    with serving(answering(body)) as url:
        results = judged(url, "C-ROUTE,C-REQ,C-ENV,C-CONTRACT,C-STREAM")

    failed = [result for result in results.values() if result.outcome is Outcome.FAILED]
    assert len(failed) > 25
    assert all(result.sent and result.expected and result.seen for result in failed)
    assert {id_ for id_, result in results.items() if result.outcome is Outcome.PASSED} <= {
        "C-CONTRACT-05",  # nothing reserved is announced where nothing is
        "C-ENV-04",  # 200 and "success" go together
    }


def test_what_the_kit_could_not_look_at_is_not_checked_and_says_why() -> None:
    """Never passed."""
    with serving(answering(b"{}")) as url:
        results = judged(url, "C-HEALTH-05,C-ART-01,C-DRAIN-01,C-TOKEN-01,C-TOKEN-06,C-IMAGE-01")

    assert {result.outcome for result in results.values()} == {Outcome.NOT_CHECKED}
    assert results["C-HEALTH-05"].reason == 'needs an example "slow"'
    assert "--artifacts" in results["C-ART-01"].reason
    assert results["C-DRAIN-01"].reason == "needs --start or --image"
    assert "--token" in results["C-TOKEN-01"].reason
    assert results["C-IMAGE-01"].reason == "needs --image"
    assert "read the code" in results["C-TOKEN-06"].reason


def test_an_absent_capability_makes_its_checks_not_applicable() -> None:
    """A processor need not stream."""
    page = {"contract": "v1", "capabilities": ["contract"], "inputs": {"type": "object"}}
    with serving(answering(json.dumps(page).encode())) as url:
        results = judged(url, "C-STREAM-07,C-CANCEL-01,C-CONTRACT-02")

    assert results["C-STREAM-07"].outcome is Outcome.NOT_APPLICABLE
    assert results["C-CANCEL-01"].reason == "the service has no `cancel`"
    assert results["C-CONTRACT-02"].outcome is Outcome.FAILED


def test_there_is_an_end_whatever_a_service_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was not looked at when the kit's time is over is not checked."""
    monkeypatch.setattr(runner, "BUDGET_S", 1.0)
    with serving(answering(b"{}", delay_s=0.7)) as url:
        results = judged(url, "C-REQ")

    assert {result.reason for result in results.values() if result.outcome is Outcome.NOT_CHECKED} >= {
        "the kit's time was over"
    }


def flaky(phase: Phase) -> Check:
    """Return a check that fails when it is looked at for the first time."""
    looks = itertools.count()

    async def judge(_service: Service) -> None:
        expect(next(looks), sent="nothing", expected="a second look", seen="the first one")

    return Check("C-KIT-01", "1", "It is late once.", judge, phase=phase)


@pytest.mark.parametrize(
    ("phase", "outcome"), [(Phase.ALONE, Outcome.PASSED), (Phase.QUIET, Outcome.PASSED), (Phase.SHARED, Outcome.FAILED)]
)
def test_only_what_a_slow_machine_can_break_is_looked_at_twice(phase: Phase, outcome: Outcome) -> None:
    """What is wrong now and then is wrong, unless the kit's own company may be the reason."""
    with serving(answering(b"{}")) as url:
        (result,) = asyncio.run(runner.judge(options_of(url=url), [flaky(phase)]))

    assert result.outcome is outcome


def test_a_check_that_never_ends_has_failed() -> None:
    """Each has its own patience."""

    async def judge(_service: Service) -> None:
        await asyncio.sleep(60)

    check = Check("C-KIT-01", "1", "It ends.", judge, patience_s=0.1)
    with serving(answering(b"{}")) as url:
        (result,) = asyncio.run(runner.judge(options_of(url=url), [check]))

    assert (result.outcome, result.expected) == (Outcome.FAILED, "an end within 0.1 s")


def test_a_token_is_in_no_report() -> None:
    """Reports are kept and shown."""
    token = "kit-very-secret-token"
    with serving(answering(f'{{"told": "{token}"}}'.encode())) as url:
        results = judged(url, "C-REQ-1,C-TOKEN", token=token)

    assert any(result.outcome is Outcome.FAILED for result in results.values())
    assert token not in repr(
        [(result.sent, result.expected, result.seen, result.reason) for result in results.values()]
    )


SERVICE = textwrap.dedent("""
    import json, os, sys
    from http.server import BaseHTTPRequestHandler, HTTPServer

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            body = b'{"ok": true}'
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    print(json.dumps(dict(os.environ)), flush=True)
    HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
""")


def test_the_kit_starts_and_ends_services_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the port in the command, and an environment in which only the kit has said anything of processors."""
    monkeypatch.setenv("PROCESSOR_MODE", "real")
    monkeypatch.setenv("CI", "true")
    (tmp_path / "service.py").write_text(SERVICE, encoding="utf-8")
    command = f"{sys.executable} service.py {{port}}"

    results = asyncio.run(
        runner.judge(
            options_of(start=command, cwd=str(tmp_path), env=["KIT=1"]), chosen("C-HEALTH-01,C-DRAIN-01,C-LOG-01")
        )
    )

    by_id = {result.check.id: result for result in results}
    assert by_id["C-HEALTH-01"].outcome is Outcome.PASSED
    assert by_id["C-DRAIN-01"].outcome is Outcome.PASSED
    assert by_id["C-LOG-01"].outcome is Outcome.NOT_CHECKED  # no inputs give a success


def test_a_service_that_ends_at_once_is_said_to(tmp_path: Path) -> None:
    """With its last words."""
    command = f"{sys.executable} -c \"raise SystemExit('kit-last-words')\""
    results = asyncio.run(runner.judge(options_of(start=command, cwd=str(tmp_path)), chosen("C-HEALTH")))

    assert results[0].outcome is Outcome.FAILED
    assert "kit-last-words" in results[0].seen


def test_a_command_that_is_not_there_is_said_to_be() -> None:
    """A mistyped command is no verdict on a processor, but it is no success either."""
    results = asyncio.run(runner.judge(options_of(start="/no/such/command"), chosen("C-HEALTH")))

    assert (results[0].outcome, results[1].outcome) == (Outcome.FAILED, Outcome.NOT_CHECKED)

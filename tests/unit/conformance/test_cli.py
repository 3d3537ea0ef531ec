"""The command: what is asked for, and its exit status."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from processor_conformance.catalogue import catalogue
from processor_conformance.cli import UsageError, chosen, main, options_of

URL = "http://127.0.0.1:9"


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["127.0.0.1:8000"],
        [URL, "--only", "C-KIT"],
        [URL, "--report", "yaml=x"],
        [URL, "--env", "A"],
        [URL, "--artifacts", "/no/such/folder"],
        [URL, "--inputs-file", "/no/such/file"],
        ["--start", "'"],
    ],
    ids=["nothing", "no address", "no such check", "no such report", "env", "no folder", "no file", "quotes"],
)
def test_wrong_usage_is_status_2_and_says_why(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """It never looks like a verdict."""
    assert main(arguments) == 2
    assert capsys.readouterr().err.strip()


def test_two_ways_to_start_are_one_too_many() -> None:
    """Argparse says so, with the same status."""
    with pytest.raises(SystemExit) as caught:
        main(["--start", "x", "--image", "y"])

    assert caught.value.code == 2


def test_the_list_shows_every_check(capsys: pytest.CaptureFixture[str]) -> None:
    """Without any service."""
    assert main(["--list"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == [check.id for check in catalogue()]


def test_the_list_can_be_json(capsys: pytest.CaptureFixture[str]) -> None:
    """For those who plant faults, say."""
    assert main(["--list", "--json", "--only", "C-RUN-01"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["id"], row["class"], row["section"]) == ("C-RUN-01", "U", "1")


def test_only_takes_ids_and_how_they_begin() -> None:
    """One check, a group, or all."""
    assert [check.id for check in chosen("C-RUN-01, C-BOOT")] == ["C-RUN-01", "C-BOOT-01", "C-BOOT-02"]
    assert chosen("") == catalogue()


def test_a_service_that_does_not_answer_has_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Status 1, one failure, and everything else not checked; reports are written all the same."""
    monkeypatch.setattr("processor_conformance.session.REACH_S", 0.2)
    report = tmp_path / "report.json"

    assert main([URL, "--only", "C-HEALTH,C-REQ", "--report", f"json={report}"]) == 1

    document = json.loads(report.read_text(encoding="utf-8"))
    assert document["counts"] | {"not checked": 0} == {"passed": 0, "failed": 1, "not applicable": 0, "not checked": 0}
    assert "no connection" in document["checks"][0]["seen"]
    assert "C-HEALTH-01" in capsys.readouterr().out


def test_a_command_is_split_as_a_shell_would(tmp_path: Path) -> None:
    """And run without one, so that signals reach the service."""
    options = options_of(start="run --name 'a b' --port {port}", cwd=str(tmp_path), env=["A=b=c"])

    assert options.launcher is not None
    assert options.launcher.command == ("run", "--name", "a b", "--port", "{port}")
    assert options.launcher.env == {"A": "b=c"}


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    """The artifacts folder must be one."""
    (tmp_path / "file").touch()

    with pytest.raises(UsageError, match="no such folder"):
        options_of(url=URL, artifacts=str(tmp_path / "file"))

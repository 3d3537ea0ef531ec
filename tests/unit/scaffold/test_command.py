"""The command answers on stdout, tells its story on stderr, and ends with 0, 1 or 2."""

import json
import os
import shlex
import subprocess
import sys
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command

from apps.core.management.commands import scaffold_processor
from apps.core.registry import PROCESSORS
from apps.core.scaffold import Plan, Scaffolded, scaffold

CODE = PROCESSORS.parents[2]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let the command write into a folder of the test's; return that folder."""

    def into(plan: Plan, *, force: bool) -> Scaffolded:
        return scaffold(plan, force=force, processors=tmp_path)

    monkeypatch.setattr(scaffold_processor, "scaffold", into)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str, **options: Any) -> tuple[str, str]:
    """Return what the command wrote to stdout and to stderr."""
    out, err = StringIO(), StringIO()
    call_command("scaffold_processor", *arguments, stdout=out, stderr=err, **options)
    return out.getvalue(), err.getvalue()


def test_stdout_is_the_folder_and_stderr_the_story() -> None:
    """The story ends in commands to paste; their inputs are the registry file's own example."""
    out, err = run("--ref", "acme/summary@1")

    assert out == "acme_summary\n"
    line = next(line for line in err.splitlines() if "run_processor" in line)
    words = shlex.split(line)
    assert words[:6] == ["python", "manage.py", "run_processor", "--ref", "acme/summary@1", "--adapter"]
    assert json.loads(words[-1]) == {"schema": "v1", "params": {"text": "hello"}}


def test_json_is_one_line_and_no_story() -> None:
    """For programs."""
    out, err = run("--ref", "acme/summary@1", "--template", "llm", "--json")

    answer = json.loads(out)
    assert (out.count("\n"), err) == (1, "")
    assert (answer["ref"], answer["template"], answer["folder"]) == ("acme/summary@1", "llm", "acme_summary")
    assert "app/handler.py" in answer["files"]


def test_every_option_reaches_the_registry_file(elsewhere: Path) -> None:
    """None is accepted and forgotten."""
    run(
        *("--ref", "acme/summary@2", "--secrets", "A_KEY,B_KEY", "--cpu", "2", "--memory-gb", "4", "--timeout-s", "9"),
        *("--gpu", "A100", "--concurrency", "3"),
    )

    text = (elsewhere / "acme_summary" / "registry.yaml").read_text()
    for part in ('cpu: "2"', "memory_gb: 4", "timeout_s: 9", 'gpu: "A100"', "concurrency: 3", '["A_KEY", "B_KEY"]'):
        assert part in text


@pytest.mark.parametrize(
    ("arguments", "status", "reason"),
    [
        pytest.param(["--ref", "nonsense"], 2, "--ref must be", id="ref"),
        pytest.param(["--ref", "acme/summary@1", "--cpu", "0"], 2, "--cpu must be", id="cpu"),
        pytest.param(["--ref", "acme/summary@1", "--memory-gb", "-1"], 2, "--memory-gb must be", id="memory"),
        pytest.param(["--ref", "acme/summary@1", "--secrets", "CI"], 2, "--secrets: name 1", id="secret"),
        pytest.param(["--ref", "acme/taken@1"], 1, "acme_taken exists already", id="folder"),
        pytest.param(["--ref", "acme/taken@1", "--force"], 1, "is no folder", id="file in the way"),
    ],
)
def test_a_failure_is_one_line_and_a_status(
    elsewhere: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], status: int, reason: str
) -> None:
    """2 for wrong usage, 1 for what stands in the way; never a traceback."""
    (elsewhere / "acme_taken").touch()

    with pytest.raises(SystemExit) as caught:
        run(*arguments)

    said = capsys.readouterr()
    assert (caught.value.code, said.out) == (status, "")
    assert said.err.startswith("scaffold_processor: ")
    assert reason in said.err
    assert said.err.count("\n") == 1


def test_a_disk_that_refuses_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The system's reason is passed on."""

    def refuse(*_: object, **__: object) -> Scaffolded:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(scaffold_processor, "scaffold", refuse)

    with pytest.raises(SystemExit) as caught:
        run("--ref", "acme/summary@1")

    assert caught.value.code == 1
    assert capsys.readouterr().err == "scaffold_processor: cannot write the processor: No space left on device\n"


def test_force_is_passed_on(elsewhere: Path) -> None:
    """Twice without it fails, with it succeeds."""
    run("--ref", "acme/summary@1")
    (elsewhere / "acme_summary" / "Dockerfile").unlink()

    run("--ref", "acme/summary@1", "--force")

    assert (elsewhere / "acme_summary" / "Dockerfile").is_file()


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        pytest.param(
            ["--ref", "acme/summary@1", "--cpu", "0"], "--cpu must be more than 0 and at most 256 cores", id="value"
        ),
        pytest.param([], "the following arguments are required: --ref", id="no ref"),
        pytest.param(["--ref", "acme/summary@1", "--colour"], "unrecognized arguments: --colour", id="unknown option"),
    ],
)
def test_the_shell_sees_status_and_one_line(arguments: list[str], reason: str) -> None:
    """As it is typed, in a process of its own, which changes nothing."""
    done = shell(*arguments)

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"scaffold_processor: {reason}; see scaffold_processor --help\n"
    assert not (PROCESSORS / "acme_summary").exists()


def test_with_json_a_refusal_is_one_ndjson_line() -> None:
    """Whoever reads the answer as JSON reads the story as NDJSON."""
    done = shell("--ref", "nonsense", "--json")

    assert (done.returncode, done.stdout) == (2, "")
    line = json.loads(done.stderr)
    assert (line["event"], line["level"]) == ("cli.usage", "error")
    assert "--ref must be" in line["message"]


def shell(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Return how the command ended in a process of its own."""
    return subprocess.run(
        [sys.executable, "manage.py", "scaffold_processor", *arguments],
        cwd=CODE,
        env=os.environ | {"DJANGO_SETTINGS_MODULE": "backend.settings.unittest"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_help_holds_an_example_that_parses() -> None:
    """Help is pasted: every option of the example exists."""
    parser = scaffold_processor.Command().create_parser("manage.py", "scaffold_processor")

    assert scaffold_processor.EXAMPLE in parser.format_help()
    options = vars(parser.parse_args(shlex.split(scaffold_processor.EXAMPLE)[3:]))
    assert Plan.parse(options["ref"], template=options["template"], memory_gb=options["memory_gb"]).memory_gb == 2

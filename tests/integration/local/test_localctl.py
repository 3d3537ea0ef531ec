"""`manage.py localctl`, as a user types it: stdout, stderr, exit status, and what is on the engine afterwards."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from apps.core.host import Host
from tests.support.executions import ROOT, SECRET
from tests.support.local import Boxes, JsonObject, place, there
from tests.support.service import wait_until

CODE = ROOT / "code"
NAME = "{{.Repository}}:{{.Tag}}"

# The command with processors of the tests; what a user types otherwise is the very same.
PROGRAM = """
import dataclasses, sys
from pathlib import Path
from apps.core.host import Host
from manage import main
here = Host.here
Host.here = classmethod(lambda cls: dataclasses.replace(here(), processors=Path({processors!r})))
sys.argv[0] = "manage.py"
main()
"""


@dataclass(frozen=True, slots=True)
class Done:
    """What a command left behind."""

    status: int
    stdout: str
    stderr: str

    @property
    def answer(self) -> JsonObject:
        """The one line on stdout, parsed."""
        (line,) = self.stdout.splitlines()
        value: JsonObject = json.loads(line)
        return value


@dataclass(frozen=True, slots=True)
class Shell:
    """Runs commands with processors and artifacts of the test's own."""

    processors: Path
    environ: Mapping[str, str]

    def command(self, *arguments: str) -> list[str]:
        """Return the command line."""
        return [sys.executable, "-c", PROGRAM.format(processors=str(self.processors)), *arguments]

    def run(self, *arguments: str, **environ: str) -> Done:
        """Return what the command left behind."""
        done = subprocess.run(
            self.command(*arguments),
            cwd=CODE,
            env={**self.environ, **environ},
            capture_output=True,
            text=True,
            check=False,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return Done(done.returncode, done.stdout, done.stderr)

    def localctl(self, *arguments: str, **environ: str) -> Done:
        """Return what `localctl` left behind."""
        return self.run("localctl", *arguments, **environ)

    def start(self, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        """Return the command, started."""
        environ = {**self.environ, **options.pop("environ", {})}
        return subprocess.Popen(self.command(*arguments), cwd=CODE, env=environ, text=True, **options)


def shell_on(host: Host, processors: Path) -> Shell:
    """Return a shell for *host*."""
    given = {"DJANGO_SETTINGS_MODULE": "backend.settings.test", "ARTIFACTS_ROOT": str(host.artifacts_root)}
    return Shell(processors, {**host.environ, **given})


@pytest.fixture
def shell(boxes: Boxes, host: Host) -> Iterator[Shell]:
    """Give a shell; what it left up is taken down."""
    made = shell_on(host, boxes.processors)
    yield made
    for found in there(host):
        boxes.engine.docker("rm", "--force", found.id)


BOX = ("--ref", "fix/box@1")
LOOK = ("--inputs-json", '{"schema":"v1","params":{"do":"look"}}')


def test_up_a_run_status_logs_and_down(shell: Shell, host: Host) -> None:
    """The day of a warm container; each answer is one JSON object where that is asked for."""
    container = shell.localctl("up", *BOX, "--json").answer["container"]
    assert (container["ref"], container["mode"], container["state"]) == ("fix/box@1", "mock", "running")

    ran = shell.run("run_processor", *BOX, *LOOK, "--json")
    assert ran.answer["status"] == "success"
    assert "adapter.local.warm" in ran.stderr
    assert "adapter.local.start" not in ran.stderr

    rows = shell.localctl("status", "--json").answer["containers"]
    assert container in rows

    logs = shell.localctl("logs", *BOX, "--tail", "3")
    assert [json.loads(line)["event"] for line in logs.stdout.splitlines()][-1] == "http.run.settle"
    assert len(logs.stdout.splitlines()) == 3

    stopped = shell.localctl("down", *BOX, "--json").answer["containers"]
    assert [row["id"] for row in stopped] == [container["id"]]
    assert there(host) == []


def test_a_person_reads_a_table(shell: Shell) -> None:
    """Kind, ref, mode, state and address."""
    assert shell.localctl("up", *BOX).stdout.split()[:4] == ["warm", "fix/box@1", "mock", "running"]
    assert shell.localctl("up", *BOX).status == 0
    assert "warm  fix/box@1  mock  running  http://" in shell.localctl("status").stdout
    assert shell.localctl("down", *BOX).stdout.startswith("stopped  fix/box@1")
    assert shell.localctl("down", *BOX).stdout == "nothing was up\n"


@pytest.mark.parametrize(
    ("arguments", "environ", "code"),
    [
        pytest.param(("--mode", "real"), {"CI": "1", "FIX_SECRET": SECRET}, "ERR_CI_SAFETY", id="real in CI"),
        pytest.param(("--mode", "real"), {}, "ERR_MISSING_SECRET", id="secret missing"),
        pytest.param(("--mode", "dream"), {}, "ERR_MODE_INVALID", id="unknown mode"),
        pytest.param(("--platform", "riscv64"), {}, "ERR_IMAGE_UNPINNED", id="no such pin"),
        pytest.param(
            ("--mode", "real"), {"FIX_SECRET": SECRET, "FIX_SETUP": "exit"}, "ERR_HEALTH", id="does not come up"
        ),
    ],
)
def test_up_is_refused_as_a_run_is(
    shell: Shell, host: Host, arguments: tuple[str, ...], environ: dict[str, str], code: str
) -> None:
    """With the same code, status 1, no secret, and nothing left."""
    done = shell.localctl("up", *BOX, *arguments, "--json", **environ)

    assert (done.status, done.answer["error"]["code"]) == (1, code)
    assert SECRET not in done.stdout + done.stderr
    assert there(host) == []


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param((), id="no action"),
        pytest.param(("dance",), id="no such action"),
        pytest.param(("up",), id="no ref"),
        pytest.param(("down",), id="neither ref nor all"),
        pytest.param(("down", *BOX, "--all"), id="both"),
        pytest.param(("logs", *BOX, "--tail", "0"), id="no lines"),
        pytest.param(("logs", *BOX), id="nothing is up"),
    ],
)
def test_wrong_usage_is_one_line_and_status_2(shell: Shell, arguments: tuple[str, ...]) -> None:
    """Which says where help is."""
    done = shell.localctl(*arguments)

    assert (done.status, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert "localctl" in done.stderr


def test_logs_follow_until_the_container_ends(shell: Shell) -> None:
    """And end with it."""
    shell.localctl("up", *BOX)
    with shell.start("localctl", "logs", *BOX, "--follow", stdout=subprocess.PIPE) as process:
        shell.run("run_processor", *BOX, *LOOK, "--json")
        shell.localctl("down", *BOX)
        output, _ = process.communicate(timeout=60)

    assert process.returncode == 0
    assert '"event":"http.run.settle"' in output


# --- what a killed caller leaves


def test_what_a_killed_caller_left_is_shown_and_pruned(shell: Shell, host: Host) -> None:
    """SIGKILL leaves a caller no time to clean up; what others use stays."""
    arguments = ("--inputs-json", '{"schema":"v1","params":{"do":"sleep"}}', "--json")
    shell.localctl("up", *BOX, "--mode", "real", FIX_SECRET=SECRET)
    with shell.start("run_processor", *BOX, *arguments, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        while "handler.began" not in (line := process.stderr.readline()):
            assert line, "it ended"
        alive = [each for each in there(host) if each.labels.kind == "cold"]
        process.kill()
    assert [each.left for each in alive] == [False]

    left = [each for each in there(host) if each.left]
    assert [each.id for each in left] == [each.id for each in alive]
    assert "left behind  fix/box@1  mock  running" in shell.localctl("status").stdout

    pruned = shell.localctl("prune", "--json").answer["containers"]
    assert left[0].id in [row["id"] for row in pruned]
    assert [each.labels.kind for each in there(host)] == ["warm"]
    assert "left behind" not in shell.localctl("status").stdout


# --- dev


def test_dev_replaces_the_container_when_the_source_changes(boxes: Boxes, host: Host) -> None:
    """What is edited is what runs; a mistake leaves the last good one; Ctrl-C takes it down."""
    folder = place("fix_box", host.artifacts_root.parent / "mine")
    shell = shell_on(host, folder.parent)
    handler = folder / "app" / "handler.py"
    source = handler.read_text("utf-8")

    def says() -> str:
        done = shell.run("run_processor", *BOX, *LOOK, "--build", "--json")
        assert "adapter.local.warm" in done.stderr, done.stderr
        path = host.artifacts_root / "outputs" / done.answer["execution_id"] / "outputs" / "data.json"
        return str(json.loads(path.read_bytes()).get("greeting"))

    def write(greeting: str) -> None:
        handler.write_text(source.replace('"uid"', f'"greeting": "{greeting}", "uid"'), encoding="utf-8")

    write("hello")
    with shell.start("localctl", "dev", *BOX, "--json", stderr=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stderr is not None

        def hear(level: str) -> JsonObject:
            for line in process.stderr or ():
                record: JsonObject = json.loads(line)
                if (record["event"], record["level"]) == ("adapter.local.dev", level):
                    return record
            raise AssertionError("it ended")

        try:
            first = hear("info")
            assert says() == "hello"

            write("goodbye")
            second = hear("info")
            assert says() == "goodbye"
            assert first["image_digest"] != second["image_digest"]
            assert len(there(host)) == 1

            handler.write_text("import nothing_of_the_kind\n", encoding="utf-8")
            assert hear("error")["code"] == "ERR_HEALTH"
            assert [each.labels.digest for each in there(host)] == [second["image_digest"]]
        finally:
            process.send_signal(signal.SIGINT)
            output, _ = process.communicate(timeout=60)

    assert (process.returncode, output) == (0, "")
    wait_until(lambda: not there(host), lambda: "the end of the container")
    boxes.names.update(boxes.engine.docker("images", "--format", NAME, "processors/fix_box").splitlines())

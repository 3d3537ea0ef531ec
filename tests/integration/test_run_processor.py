"""`manage.py run_processor`, as a user types it: stdout, stderr, exit status, files, and nothing left running."""

from __future__ import annotations

import hashlib
import json
import os
import pty
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from processor_runtime.schemas import validator
from tests.support.executions import ROOT, SECRET, alive
from tests.support.service import wait_until

CODE = ROOT / "code"
PLAIN = '{"schema":"v1","params":{"do":"hello"}}'

# The command with processors of the tests, and their Python; what a user types otherwise is the very same.
PROGRAM = """
import dataclasses, sys
from pathlib import Path
from apps.core.host import Host
from django.core.management import execute_from_command_line
here = Host.here
fixtures = Path({fixtures!r})
Host.here = classmethod(lambda cls: dataclasses.replace(here(), processors=fixtures, python=Path(sys.executable)))
execute_from_command_line(["manage.py", "run_processor", *sys.argv[1:]])
"""


@dataclass(frozen=True)
class Done:
    """What a command left behind."""

    status: int
    stdout: str
    stderr: str

    @property
    def envelope(self) -> dict[str, Any]:
        """The one line on stdout; fails if there is more, or if it is no envelope."""
        assert self.stdout.endswith("\n")
        (line,) = self.stdout.splitlines()
        envelope: dict[str, Any] = json.loads(line)
        return envelope

    @property
    def story(self) -> list[dict[str, Any]]:
        """The lines on stderr; fails if one is no JSON object."""
        records = [json.loads(line) for line in self.stderr.splitlines()]
        assert all(isinstance(record, dict) and {"ts", "level", "event"} <= record.keys() for record in records)
        return records

    @property
    def code(self) -> str:
        """The error's code."""
        assert self.status == 1, self
        assert validator("envelope").is_valid(self.envelope)
        code: str = self.envelope["error"]["code"]
        return code


class Shell:
    """A user's shell in the folder code/, with an artifacts folder of its own."""

    def __init__(self, artifacts: Path, temporary: Path) -> None:
        self.artifacts = artifacts
        self.environ = {
            **{name: value for name, value in os.environ.items() if name not in {"CI", "FORCE_COLOR"}},
            "DJANGO_SETTINGS_MODULE": "backend.settings.test",
            "ARTIFACTS_ROOT": str(artifacts),
            "TMPDIR": str(temporary),
        }

    def command(self, *arguments: str, fixtures: bool = True) -> list[str]:
        """Return the command line; *fixtures* runs the processors of the tests, else the repository's own."""
        if not fixtures:
            return [sys.executable, "manage.py", "run_processor", *arguments]
        program = PROGRAM.format(fixtures=str(ROOT / "tests" / "support" / "processors"))
        return [sys.executable, "-c", program, *arguments]

    def run(
        self, *arguments: str, stdin: str = "", environ: Mapping[str, str] | None = None, fixtures: bool = True
    ) -> Done:
        """Return what the command left behind."""
        done = subprocess.run(
            self.command(*arguments, fixtures=fixtures),
            cwd=CODE,
            env={**self.environ, **(environ or {})},
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return Done(done.returncode, done.stdout, done.stderr)

    def trouble(self, *arguments: str, inputs: str = PLAIN, **options: Any) -> Done:
        """Return what a run of `fix/trouble@1` by the process adapter left behind."""
        base = ("--ref", "fix/trouble@1", "--adapter", "process", "--inputs-json", inputs)
        return self.run(*base, *arguments, **options)

    def host(self, logical: str) -> Path:
        """Return where a logical path lies here."""
        return self.artifacts / Path(logical).relative_to("/artifacts")


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    """Return a shell; when it is closed, no temporary file may be left."""
    with tempfile.TemporaryDirectory() as temporary:
        yield Shell(tmp_path / "artifacts", Path(temporary))
        assert list(Path(temporary).iterdir()) == []


def params(**values: object) -> str:
    """Return inputs with these params."""
    return json.dumps({"schema": "v1", "params": values})


# --- success


@pytest.mark.network
@pytest.mark.slow
def test_the_command_of_the_specification_works_as_it_is_written(shell: Shell) -> None:
    """From code/, with the repository's own processor and an environment of its own."""
    done = shell.run(
        *("--ref", "llm/chat@1", "--adapter", "process", "--mode", "mock"),
        *("--write-prefix", "/artifacts/outputs/{execution_id}/"),
        *("--inputs-json", '{"schema":"v1","params":{"messages":[{"role":"user","content":"hi"}]}}', "--json"),
        fixtures=False,
    )

    assert done.status == 0, done.stderr
    assert validator("envelope").is_valid(done.envelope)
    assert done.story[-1]["event"] == "execution.settle"
    for row in done.envelope["outputs"]:
        assert hashlib.sha256(shell.host(row["path"]).read_bytes()).hexdigest() == row["sha256"]


def test_with_json_stdout_is_the_envelope_and_stderr_is_ndjson(shell: Shell) -> None:
    """One line; logical paths; an id of its own that sorts by time; status 0."""
    first, second = (shell.trouble("--json") for _ in range(2))

    assert (first.status, first.envelope["status"]) == (0, "success")
    assert validator("envelope").is_valid(first.envelope)
    assert first.envelope["outputs"][0]["path"].startswith(
        f"/artifacts/outputs/{first.envelope['execution_id']}/outputs/"
    )
    assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f-]{21}", first.envelope["execution_id"])
    assert first.envelope["execution_id"] < second.envelope["execution_id"]
    events = [record["event"] for record in first.story]
    assert events[0] == "execution.start"
    assert events[-1] == "execution.settle"
    assert {"adapter.process.start", "http.run.start", "http.run.settle"} <= set(events)


def test_without_json_stdout_is_a_summary_that_names_files_of_this_host(shell: Shell) -> None:
    """Status, size, where it lies; stderr stays NDJSON where it is no terminal."""
    done = shell.trouble("--execution-id", "e1")

    assert done.status == 0
    first, second = done.stdout.splitlines()
    assert re.fullmatch(r"success  fix/trouble@1  mock  \d+\.\d\d s  e1", first)
    assert second == f"  5 B  {shell.artifacts}/outputs/e1/outputs/text.txt"
    assert Path(second.split()[-1]).read_text("utf-8") == "hello"
    assert done.story


def test_at_a_terminal_a_line_says_what_is_done(shell: Shell) -> None:
    """It is drawn on stderr; the answer goes to stdout as ever."""
    ours, theirs = pty.openpty()
    base = ("--ref", "fix/trouble@1", "--adapter", "process", "--inputs-json", PLAIN)
    with subprocess.Popen(
        shell.command(*base), cwd=CODE, env={**shell.environ, "TERM": "xterm"}, stdout=subprocess.PIPE, stderr=theirs
    ) as process:
        os.close(theirs)
        drawn = b""
        while chunk := _read(ours):
            drawn += chunk
        assert process.stdout is not None
        answer = process.stdout.read().decode()
    os.close(ours)

    assert process.returncode == 0
    assert answer.startswith("success  fix/trouble@1")
    assert "starting the processor" in drawn.decode()
    assert "adapter.process.start" not in drawn.decode()


def _read(fd: int) -> bytes:
    try:
        return os.read(fd, 65536)
    except OSError:  # Linux says so when the last writer is gone
        return b""


@pytest.mark.parametrize("source", ["a file", "stdin"])
def test_inputs_may_come_from_a_file_or_from_stdin(shell: Shell, tmp_path: Path, source: str) -> None:
    """`--inputs-file PATH`, or `-`."""
    path = tmp_path / "inputs.json"
    path.write_text(params(do="from elsewhere"), encoding="utf-8")

    done = shell.run(
        *("--ref", "fix/trouble@1", "--adapter", "process", "--json"),
        *("--inputs-file", str(path) if source == "a file" else "-"),
        stdin="" if source == "a file" else path.read_text("utf-8"),
    )

    assert shell.host(done.envelope["outputs"][0]["path"]).read_text("utf-8") == "from elsewhere"


def test_an_attached_file_reaches_the_handler_and_its_outputs_are_saved(shell: Shell, tmp_path: Path) -> None:
    """Stored by content; the copies keep their paths below outputs/."""
    page, saved = tmp_path / "my page.txt", tmp_path / "saved"
    page.write_bytes(b"a page")

    done = shell.trouble(
        *("--attach", f"page={page}", "--save-dir", str(saved), "--json"),
        inputs=params(do="read", files={"$attach": "page"}),
    )

    assert done.status == 0, done
    sha256 = hashlib.sha256(b"a page").hexdigest()
    assert (shell.artifacts / "inputs" / sha256 / "page").read_bytes() == b"a page"
    assert (saved / "text.txt").read_bytes() == b"a page"


def test_real_mode_works_where_ci_is_not_set(shell: Shell) -> None:
    """With its secret, which appears nowhere."""
    done = shell.trouble(
        "--mode", "real", "--json", inputs=params(do="secret"), environ={"FIX_SECRET": SECRET, "CI": "false"}
    )

    assert done.envelope["status"] == "success"
    assert SECRET not in done.stdout + done.stderr


def test_the_time_limit_and_the_prefix_are_passed_on(shell: Shell) -> None:
    """`--timeout-s` lowers the registry's; the prefix is where the caller wants it."""
    done = shell.trouble(
        *("--timeout-s", "0.5", "--write-prefix", "/artifacts/elsewhere/{execution_id}", "--execution-id", "e1"),
        "--json",
        inputs=params(do="sleep"),
    )

    assert done.code == "ERR_TIMEOUT"
    assert (shell.artifacts / "elsewhere" / "e1" / "receipt.json").exists()


# --- error envelopes


REFUSED = [
    pytest.param(("--mode", "real"), {"CI": "true", "FIX_SECRET": SECRET}, "ERR_CI_SAFETY", id="real in CI"),
    pytest.param(("--mode", "real"), {}, "ERR_MISSING_SECRET", id="a secret missing"),
    pytest.param(("--mode", "dream"), {}, "ERR_MODE_INVALID", id="unknown mode"),
    pytest.param(("--write-prefix", "/etc/x/"), {}, "ERR_WRITE_PREFIX", id="a prefix elsewhere"),
    pytest.param(("--adapter", "local", "--write-prefix", "/tmp/x/"), {}, "ERR_WRITE_PREFIX", id="not for a container"),
    pytest.param(("--adapter", "local"), {}, "ERR_IMAGE_UNPINNED", id="no pin"),
    pytest.param(("--adapter", "modal"), {}, "ERR_IMAGE_UNPINNED", id="no pin for Modal"),
    pytest.param(("--execution-id", "../x"), {}, "ERR_INPUTS", id="a bad id"),
    pytest.param(("--execution-id", ""), {}, "ERR_INPUTS", id="an empty id"),
    pytest.param(("--write-prefix", ""), {}, "ERR_INPUTS", id="an empty prefix"),
    pytest.param(("--expected-digest", "sha256:" + "0" * 64), {}, "ERR_DIGEST_DRIFT", id="a digest for source"),
]


@pytest.mark.parametrize(("arguments", "environ", "code"), REFUSED)
def test_a_refusal_is_an_envelope_with_status_1_and_nothing_started(
    shell: Shell, arguments: tuple[str, ...], environ: dict[str, str], code: str
) -> None:
    """Not even a folder is made."""
    done = shell.trouble("--json", *arguments, environ=environ)

    assert done.code == code
    assert "adapter.process.start" not in {record["event"] for record in done.story}
    assert not shell.artifacts.exists()


@pytest.mark.parametrize("ref", ["fix/none@1", "fix/trouble@9", "no ref", ""])
def test_a_ref_that_nobody_has_is_an_envelope(shell: Shell, ref: str) -> None:
    """Unknown, another version, or no ref at all; the default adapter is not even looked at."""
    done = shell.run("--ref", ref, "--inputs-json", "{}", "--json")

    assert (done.status, done.envelope["error"]["code"]) == (1, "ERR_REF_NOT_FOUND")
    assert {row["path"] for row in done.envelope["error"]["details"]} == {"/ref"}


def test_the_processors_own_refusal_is_passed_on(shell: Shell) -> None:
    """Whoever reads the summary sees which field breaks which rule."""
    done = shell.trouble(inputs=params(do=1))

    assert done.status == 1
    assert done.stdout.startswith(
        "error  fix/trouble@1  ERR_INPUTS: inputs do not match the schema\n  /inputs/params/do:"
    )


def test_a_crash_is_an_envelope_that_says_how(shell: Shell) -> None:
    """The process is gone, the command is not."""
    done = shell.trouble("--json", inputs=params(do="kill"))

    assert done.code == "ERR_CRASHED"
    assert done.envelope["error"]["details"] == [{"path": "process", "message": "signal SIGKILL"}]


def test_outputs_that_are_not_what_the_envelope_says_are_no_success(shell: Shell, tmp_path: Path) -> None:
    """The processor's word does not count; nothing is saved."""
    prefix = "/artifacts/outputs/e1/"
    envelope = {
        "status": "success",
        "execution_id": "e1",
        "outputs": [{"path": f"{prefix}outputs/text.txt", "mime": "text/plain", "size_bytes": 1, "sha256": "0" * 64}],
        "index_path": f"{prefix}outputs.json",
        "meta": {
            "ref": "fix/raw@1",
            "env_fingerprint": "cpu:1;memory:1Gi",
            "image_digest": "sha256:" + "0" * 64,
            "pinned": False,
            "queued_ms": 0,
            "duration_ms": 1,
            "extra": {},
        },
    }

    done = shell.run(
        *("--ref", "fix/raw@1", "--adapter", "process", "--json", "--execution-id", "e1"),
        *("--save-dir", str(tmp_path / "saved"), "--inputs-json", params(status=200, body=json.dumps(envelope))),
    )

    assert done.code == "ERR_ARTIFACT_MISMATCH"
    assert {row["path"] for row in done.envelope["error"]["details"]} == {
        f"{prefix}outputs/text.txt",
        f"{prefix}outputs.json",
    }
    assert list((tmp_path / "saved").iterdir()) == []


# --- wrong usage


USAGE = [
    pytest.param(["--inputs-json", "{"], "--inputs-json: not JSON", id="no JSON"),
    pytest.param(["--inputs-json", '{"a":1,"a":2}'], "duplicate key", id="a key twice"),
    pytest.param(["--inputs-file", "/nowhere"], "--inputs-file: No such file or directory", id="no file"),
    pytest.param([], "one of the arguments --inputs-json --inputs-file is required", id="no inputs"),
    pytest.param(["--inputs-json", "{}", "--inputs-file", "-"], "not allowed with", id="both inputs"),
    pytest.param(["--inputs-json", PLAIN, "--attach", "x"], "must be NAME=PATH", id="attach without ="),
    pytest.param(["--inputs-json", PLAIN, "--attach", "x=/etc/hosts"], "do not use", id="an attachment not used"),
    pytest.param(
        ["--inputs-json", params(do="read", files={"$attach": "x"})], "nothing is attached", id="an unknown attachment"
    ),
    pytest.param(
        ["--inputs-json", PLAIN, "--attach", "x=/a", "--attach", "x=/b"], "may be given once", id="attached twice"
    ),
    pytest.param(["--inputs-json", PLAIN, "--timeout-s", "0"], "number of seconds above 0", id="no time"),
    pytest.param(["--inputs-json", PLAIN, "--timeout-s", "soon"], "number of seconds above 0", id="time in words"),
    pytest.param(["--inputs-json", PLAIN, "--expected-digest", "latest"], "a digest is sha256:", id="a tag"),
    pytest.param(["--inputs-json", PLAIN, "--adapter", "ssh"], "invalid choice: 'ssh'", id="an unknown adapter"),
    pytest.param(["--inputs-json", PLAIN, "--save-dir", "/etc/hosts/x"], "--save-dir: ", id="a folder in a file"),
    pytest.param(["--inputs-json", PLAIN, "--jso"], "unrecognized arguments: --jso", id="an abbreviation"),
]


@pytest.mark.parametrize(("arguments", "words"), USAGE)
def test_wrong_usage_is_one_line_with_status_2(shell: Shell, arguments: list[str], words: str) -> None:
    """Nothing on stdout, and nothing made."""
    done = shell.run("--ref", "fix/trouble@1", "--adapter", "process", *arguments)

    (said,) = done.stderr.splitlines()
    assert (done.status, done.stdout) == (2, "")
    assert words in said
    assert said.startswith("run_processor: ")
    assert not shell.artifacts.exists()


@pytest.mark.parametrize("arguments", [[], ["--inputs-json", "{"]], ids=["found by the parser", "found by us"])
def test_with_json_wrong_usage_is_ndjson_too(shell: Shell, arguments: list[str]) -> None:
    """Whoever reads stderr as NDJSON is not disappointed."""
    done = shell.run("--ref", "fix/trouble@1", "--json", *arguments)

    assert (done.status, done.stdout) == (2, "")
    (record,) = done.story
    assert (record["event"], record["level"]) == ("cli.usage", "error")


def test_production_has_no_process_adapter(shell: Shell) -> None:
    """It runs images only."""
    environ = {
        "DJANGO_SETTINGS_MODULE": "backend.settings.production",
        "DJANGO_SECRET_KEY": "x" * 50,
        "DJANGO_ALLOWED_HOSTS": "example.org",
    }

    done = shell.trouble(environ=environ)

    assert done.status == 2
    assert "invalid choice: 'process' (choose from 'local', 'modal')" in done.stderr.replace(
        "from local, modal", "from 'local', 'modal'"
    )


# --- ends that nobody wished for


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_command_answers_and_leaves_nothing_running(
    shell: Shell, tmp_path: Path, number: signal.Signals
) -> None:
    """ERR_CANCELLED, status 1, and the processor's receipt says the same."""
    mark = tmp_path / "mark"
    line = shell.command(
        *("--ref", "fix/trouble@1", "--adapter", "process", "--execution-id", "e1", "--json"),
        *("--inputs-json", params(do="sleep", mark=str(mark))),
    )
    with subprocess.Popen(
        line, cwd=CODE, env=shell.environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        wait_until(lambda: mark.exists() and mark.read_text("utf-8"), lambda: "the handler")
        process.send_signal(number)
        stdout, stderr = process.communicate()

    done = Done(process.returncode, stdout, stderr)
    assert done.code == "ERR_CANCELLED"
    assert done.envelope["execution_id"] == "e1"
    assert "execution.cancelled" in {record["event"] for record in done.story}
    assert not alive(int(mark.read_text("utf-8")))
    receipt = json.loads((shell.artifacts / "outputs" / "e1" / "receipt.json").read_bytes())
    assert receipt["envelope"]["error"]["code"] == "ERR_CANCELLED"


def test_a_command_that_is_interrupted_before_it_starts_anything_answers_too(shell: Shell, tmp_path: Path) -> None:
    """While it waits for its inputs, say: a FIFO tells when it does."""
    fifo = tmp_path / "inputs"
    os.mkfifo(fifo)
    line = shell.command("--ref", "fix/trouble@1", "--adapter", "process", "--json", "--inputs-file", str(fifo))
    with (
        subprocess.Popen(
            line, cwd=CODE, env=shell.environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process,
        fifo.open("wb"),
    ):  # returns when the other side is open
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate()

    done = Done(process.returncode, stdout, stderr)
    assert done.code == "ERR_CANCELLED"
    assert done.stderr == ""


def test_an_answer_that_nobody_reads_is_no_success_and_no_traceback(shell: Shell) -> None:
    """A closed pipe behind stdout."""
    reader, writer = os.pipe()
    os.close(reader)
    line = shell.command("--ref", "fix/trouble@1", "--adapter", "process", "--inputs-json", PLAIN, "--json")
    done = subprocess.run(
        line, cwd=CODE, env=shell.environ, stdout=writer, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(writer)

    assert done.returncode == 1
    assert Done(1, "", done.stderr).story[-1]["event"] == "execution.settle"


# --- help


def test_help_holds_every_option_and_examples_that_can_be_pasted(shell: Shell) -> None:
    """What it shows is what a shell would understand: each example is parsed here as the shell would."""
    done = shell.run("--help", fixtures=False)

    assert done.status == 0
    for option in (
        *("--ref", "--adapter", "--mode", "--write-prefix", "--inputs-json", "--inputs-file", "--attach"),
        *("--execution-id", "--timeout-s", "--save-dir", "--expected-digest", "--json"),
    ):
        assert f" {option}" in done.stdout
    examples = re.findall(r"(?ms)^  (python manage\.py run_processor .*?[^\\])$\n", done.stdout)
    assert len(examples) >= 2
    for example in examples:
        script = f"set -- {example}\nprintf '%s\\0' \"$@\""
        words = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True).stdout.split("\0")
        inputs = json.loads(words[words.index("--inputs-json") + 1])
        assert inputs["schema"] == "v1"
        assert words[words.index("--ref") + 1] in {"llm/chat@1", "doc/ocr@1"}
        for attached in (words[index + 1] for index, word in enumerate(words) if word == "--attach"):
            assert (CODE / attached.partition("=")[2]).is_file()


def test_help_imports_nothing_that_only_a_run_needs(shell: Shell) -> None:
    """Neither an HTTP client nor FastAPI nor the registry: help is as quick as Django's own."""
    program = """
import sys
from django.core.management import execute_from_command_line
try:
    execute_from_command_line(["manage.py", "run_processor", "--help"])
except SystemExit:
    heavy = {"fastapi", "httpx2", "jsonschema_rs", "orjson", "processor_runtime", "rich", "ruamel", "uvicorn"}
    print(sorted({name.partition(".")[0] for name in sys.modules} & heavy), file=sys.stderr)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=CODE, env=shell.environ, capture_output=True, text=True, check=True
    )

    assert "--inputs-json" in done.stdout
    assert done.stderr.strip() == "[]"

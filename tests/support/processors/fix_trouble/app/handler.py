"""fix/trouble@1: does what `params.do` says."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from processor_runtime import Run, processor

FOR_EVER_S = 3600


def set_up(secrets: Mapping[str, str]) -> str:
    """Fail, die or never end, where `FIX_SETUP` says so."""
    word = secrets.get("FIX_SETUP", "")
    if word == "fail":
        raise RuntimeError("set-up was told to fail")
    if word == "exit":
        os._exit(7)
    if word == "hang":
        time.sleep(FOR_EVER_S)
    return "ready"


@processor(setup=set_up)
def entry(run: Run) -> None:
    """Do what `params.do` says; what is no such word is written as it is."""
    if mark := run.params.get("mark"):
        Path(mark).write_text(str(os.getpid()), encoding="utf-8")
    if act := ACTS.get(run.params["do"]):
        act(run)
    else:
        run.write_text("outputs/text.txt", run.params["do"])


def sleep(run: Run) -> None:  # noqa: ARG001  # never asks whether anybody waits
    """Hold the thread."""
    time.sleep(FOR_EVER_S)


def hang_up(run: Run) -> None:
    """Break every connection of this process without ending it."""
    for fd in range(3, 64):
        try:
            connection = socket.socket(fileno=os.dup(fd))
            connection.getpeername()
            connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            continue
    sleep(run)


def breed(run: Run) -> None:
    """Start a process that outlives the run."""
    child = subprocess.Popen(["sleep", str(FOR_EVER_S)])
    run.write_json("outputs/data.json", {"child": child.pid})


def look(run: Run) -> None:
    """Write down what this process was given."""
    seen = {
        "environ": dict(os.environ),
        "secrets": dict(run.secrets),
        "cwd": str(Path.cwd()),
        "modules": sorted({name.partition(".")[0] for name in sys.modules}),
    }
    run.write_json("outputs/data.json", seen)


ACTS: dict[str, Callable[[Run], object]] = {
    "exit": lambda _: os._exit(3),
    "kill": lambda _: os.kill(os.getpid(), signal.SIGKILL),
    "sleep": sleep,
    "hang up": hang_up,
    "breed": breed,
    "look": look,
    "read": lambda run: run.write_bytes("outputs/text.txt", run.params["files"].read_bytes()),
    "secret": lambda run: run.log("told", secret=run.secrets["FIX_SECRET"]),
}

"""fix/box@1: tells what it is walled in by, or runs against it."""

import ctypes
import os
import socket
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from processor_runtime import Run, processor

FOR_EVER_S = 3600
MIB = 1024 * 1024


def set_up(secrets: Mapping[str, str]) -> None:
    """Fail or die, where `FIX_SETUP` says so."""
    word = secrets.get("FIX_SETUP", "")
    if word == "fail":
        raise RuntimeError("set-up was told to fail")
    if word == "exit":
        sys.stderr.write(f"the secret is {secrets['FIX_SECRET']}\nlast words\n")
        sys.stderr.flush()
        time.sleep(0.2)  # captured by a thread
        os._exit(7)


@processor(setup=set_up)
def entry(run: Run) -> None:
    """Do what `params.do` says."""
    run.log("began")
    ACTS[run.params["do"]](run)


def look(run: Run) -> None:
    """Write down what can be seen from inside."""
    status = dict(line.split(":\t", 1) for line in _text("/proc/self/status").splitlines() if ":\t" in line)
    seen = {
        "uid": os.getuid(),
        "gid": os.getgid(),
        "groups": os.getgroups(),
        "capabilities": {name: status[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")},
        "no_new_privileges": status["NoNewPrivs"],
        "seccomp": status["Seccomp"],
        "can_write": [path for path in ("/", "/srv", "/etc", "/usr", "/artifacts/inputs", "/tmp") if _can_write(path)],
        "tmp": next(line.split()[3] for line in _text("/proc/mounts").splitlines() if line.split()[1] == "/tmp"),
        "artifacts": sorted(str(path) for path in Path("/artifacts").rglob("*")),
        "limits": {"memory": _memory(), "pids": _pids(), "cpu": _cpu()},
        "environ": sorted(_initial()),
        "secrets": dict(run.secrets),
        "interfaces": [name for _, name in socket.if_nameindex()],
        "routes": [line.split()[1] for line in _text("/proc/net/route").splitlines()[1:]],
        "can_become_root": _can_become_root(),
    }
    run.write_json("outputs/data.json", seen)


def reach(run: Run) -> None:
    """Connect to `params.to`, or find its address, and write down how that went."""
    host, _, port = run.params["to"].partition(":")
    try:
        if port:
            socket.create_connection((host, int(port)), timeout=5).close()
        else:
            socket.getaddrinfo(host, None)
        seen = {"reached": True, "error": ""}
    except OSError as exc:
        seen = {"reached": False, "error": str(exc.strerror or exc)}
    run.write_json("outputs/data.json", seen)


def eat(run: Run) -> None:  # noqa: ARG001  # never lets go
    """Take memory without end."""
    eaten = []
    while True:
        eaten.append(bytearray(os.urandom(1024)) * (8 * 1024))


def fill(run: Run) -> None:
    """Write without end."""
    with run.open_output("outputs/text.txt") as file:
        while True:
            file.write(b"x" * MIB)


def sleep(run: Run) -> None:  # noqa: ARG001  # never asks whether anybody waits
    """Hold the thread."""
    time.sleep(FOR_EVER_S)


def shout(run: Run) -> None:
    """Write past the logger, and a megabyte through it."""
    os.write(1, b"on stdout\n")
    for number in range(1000):
        run.log("line", number=number, text="x" * 1000)


def _text(path: str) -> str:
    return Path(path).read_text(encoding="utf-8")


def _initial() -> list[str]:
    raw = Path("/proc/1/environ").read_bytes().split(b"\0")
    return [each.partition(b"=")[0].decode() for each in raw if each]


def _can_write(folder: str) -> bool:
    try:
        (Path(folder) / "probe").write_bytes(b"")
    except OSError:
        return False
    (Path(folder) / "probe").unlink()
    return True


def _can_become_root() -> bool:
    return bool(ctypes.CDLL(None).setuid(0) == 0)


def _first(*paths: str) -> str:
    return next((_text(path).strip() for path in paths if Path(path).exists()), "")


def _memory() -> str:
    return _first("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory.max")


def _pids() -> str:
    return _first("/sys/fs/cgroup/pids/pids.max", "/sys/fs/cgroup/pids.max")


def _cpu() -> float:
    if Path("/sys/fs/cgroup/cpu.max").exists():
        quota, _, period = _text("/sys/fs/cgroup/cpu.max").partition(" ")
    else:
        quota, period = (_text(f"/sys/fs/cgroup/cpu/cpu.cfs_{name}_us") for name in ("quota", "period"))
    return int(quota) / int(period)


ACTS: dict[str, Callable[[Run], object]] = {
    "look": look,
    "reach": reach,
    "eat": eat,
    "fill": fill,
    "sleep": sleep,
    "shout": shout,
    "exit": lambda _: os._exit(3),
    "read": lambda run: run.write_bytes("outputs/text.txt", run.params["files"].read_bytes()),
    "tell": lambda run: run.log("told", secret=run.secrets["FIX_SECRET"]),
}

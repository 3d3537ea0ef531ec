"""See that a Docker Engine answers, and that a test host has what tests need: `python -m scripts.ensure_docker`.

An engine that runs is used as it is. Else, as root on Debian, one is installed and started; elsewhere this says what
to do and ends with status 1. Safe to call again, and twice at once. Only the standard library is used.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from processor_runtime.settings import ci_is_set

# The engine outlives a checkout, so nothing of it lies in one: `make clean` must not pull its disk away
STATE = Path("/var/lib/processors-engine")
ENGINE = {"dockerd": "docker.io"}  # program: Debian's package
CLIENT = {"docker": "docker-cli"}  # Debian 12 has it in docker.io
TEST_TOOLS = {"docker-registry": "docker-registry", "debootstrap": "debootstrap"}
DRIVERS = ("overlay2", "vfs")  # the second one works on any file system, slowly
START_S = 60.0
_POLL_S = 0.2
_outlive_us: list[subprocess.Popen[bytes]] = []  # held, because Popen complains of a child that nobody waits for
_SUPERVISED = Path("/var/run/docker/containerd/containerd.pid")


class EngineError(Exception):
    """No engine answers, and none could be started; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What this machine lets us do, and where an engine of ours keeps its things."""

    state: Path
    may_install: bool
    has_systemd: bool
    docker_host: str

    @classmethod
    def here(cls) -> Machine:
        """Return this machine."""
        return cls(
            state=STATE,
            may_install=os.geteuid() == 0 and Path("/etc/debian_version").exists(),
            has_systemd=Path("/run/systemd/system").is_dir(),
            docker_host=os.environ.get("DOCKER_HOST", ""),
        )


def ensure(machine: Machine) -> str:
    """Return the version of the engine that answers, after having seen to it that one does.

    Raises:
        EngineError: there is none.
        subprocess.CalledProcessError: a package cannot be installed; apt-get has said why on stderr.
    """
    version, reason = asked()
    if not machine.may_install or (not version and machine.docker_host):
        if version:
            return version
        raise EngineError(advice(machine, reason))
    with _alone(machine.state):
        version, _ = asked()  # another caller may have started it meanwhile
        _install(missing(TEST_TOOLS if version else ENGINE | TEST_TOOLS))
        _install(missing(CLIENT))
        return version or asked()[0] or _started(machine)


def asked() -> tuple[str, str]:
    """Return the version of the engine that answers, or ``""`` and the client's reason."""
    try:
        done = subprocess.run(
            ["docker", "version", "--format", "{{.Server.Version}}"], capture_output=True, text=True, check=False
        )
    except OSError as error:
        return "", f"docker: {error.strerror}"
    return (done.stdout.strip(), "") if done.returncode == 0 else ("", done.stderr.strip())


def advice(machine: Machine, reason: str) -> str:
    """Return what a person can do about an engine that does not answer."""
    if machine.docker_host:
        what = f"start the engine that DOCKER_HOST ({machine.docker_host}) names, or unset it to use this machine's own"
    elif "permission denied" in reason:
        what = "this user may not speak to the engine: add it to the group `docker`, and log in again"
    else:
        what = (
            "start Docker Desktop, or `sudo systemctl start docker`, or set DOCKER_HOST;"
            " on Debian, `make docker` as root installs and starts one"
        )
    return f"no Docker Engine answers ({reason or 'no reason given'}): {what}"


def missing(programs: dict[str, str]) -> list[str]:
    """Return the packages of those *programs* that are not there."""
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
    return [package for program, package in programs.items() if not shutil.which(program, path=path)]


def _install(packages: list[str]) -> None:
    if not packages:
        return
    print(f"docker: installing {' '.join(packages)} …", file=sys.stderr, flush=True)
    apt = ["apt-get", "-qq", "-o", "DPkg::Lock::Timeout=300"]
    environ = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run([*apt, "update"], check=True, env=environ, stdout=sys.stderr)
    subprocess.run([*apt, "install", "--no-install-recommends", *packages], check=True, env=environ, stdout=sys.stderr)


def _started(machine: Machine) -> str:
    """Return the version of the engine, started by the init system or by hand.

    Raises:
        EngineError: it does not come up.
    """
    log = machine.state / "dockerd.log"
    if machine.has_systemd:
        subprocess.run(["systemctl", "start", "docker"], check=False, stdout=sys.stderr)
        if version := _awaited(None):
            return version
        raise EngineError("systemd cannot start the engine: `journalctl -u docker` says why")
    said = ""
    for driver in DRIVERS:
        print(f"docker: starting dockerd on {driver}, log in {log} …", file=sys.stderr, flush=True)
        if version := _awaited(_dockerd(machine.state, driver, log)):
            return version
        said = log.read_text("utf-8", errors="replace")
        if "graphdriver" not in said:  # not the file system's fault: another driver would only hide the images
            break
    raise EngineError(f"dockerd does not come up; its log {log} ends with:\n{_tail(said)}")


def _dockerd(state: Path, driver: str, log: Path) -> subprocess.Popen[bytes]:
    pidfile = state / "dockerd.pid"
    _forget(pidfile, "dockerd")
    _forget(_SUPERVISED, "containerd")
    with log.open("wb") as stream:
        # a session of its own, and none of our streams: it outlives us, and a pipe of ours is not held open
        process = subprocess.Popen(
            ["dockerd", "--data-root", state / "data", "--pidfile", pidfile, "--storage-driver", driver],
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=os.environ | {"PATH": os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin"},
        )
    _outlive_us.append(process)
    return process


def _forget(pidfile: Path, program: str) -> None:
    """Remove *pidfile* unless it names a running *program*: after a restart another one may have its number."""
    try:
        name = Path("/proc", pidfile.read_text("ascii").strip(), "comm").read_text("utf-8").strip()
    except OSError:
        name = ""
    if name != program:
        pidfile.unlink(missing_ok=True)


def _awaited(process: subprocess.Popen[bytes] | None) -> str:
    """Return the version once the engine answers; ``""`` if *process* died, or it takes too long."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        version, _ = asked()
        if version:
            return version
        if process is not None and process.poll() is not None:
            return asked()[0]  # it may have given way to one that was started otherwise
        time.sleep(_POLL_S)
    if process is not None:
        process.terminate()
        process.wait()
    return ""


@contextmanager
def _alone(state: Path) -> Iterator[None]:
    state.mkdir(parents=True, exist_ok=True)
    with (state / "lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _tail(text: str, lines: int = 5) -> str:
    return "\n".join(re.sub(r"^time=\S+ ", "", line) for line in text.splitlines()[-lines:])


def main(arguments: list[str]) -> int:
    """Ensure an engine; 1 if there is none, which with `--optional` is an error in CI only."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--optional", action="store_true", help="outside CI, doing without an engine is no failure")
    options = parser.parse_args(arguments)
    try:
        version = ensure(Machine.here())
    except EngineError as error:
        print(f"docker: {error}", file=sys.stderr)
    except subprocess.CalledProcessError as error:
        print(f"docker: `{' '.join(map(str, error.cmd))}` ended with status {error.returncode}", file=sys.stderr)
    else:
        if not options.optional:
            print(f"docker: engine {version} answers")
        return 0
    return 0 if options.optional and not ci_is_set(os.environ) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

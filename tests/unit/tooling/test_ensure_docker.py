"""An engine that runs is used; else one is started where that is possible; else a person is told what to do."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from scripts import ensure_docker
from scripts.ensure_docker import EngineError, Machine, advice, ensure, main, missing

# A client that answers once the engine has left its mark, and an engine that leaves it unless its driver is refused
CLIENT = '#!/bin/sh\n[ -e "$FAKE/answers" ] && echo 99.1 || { echo "Cannot connect" >&2; exit 1; }\n'
ENGINE = """#!/bin/sh
echo "$@" >> "$FAKE/started"
case "$REFUSED" in
  overlay2) case "$*" in *overlay2*) echo "error initializing graphdriver: driver not supported"; exit 1;; esac;;
  all) echo "failed to start daemon: no iptables"; exit 1;;
esac
touch "$FAKE/answers"
"""


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give a folder that is the whole PATH but for the shell's own: `docker` and `dockerd` stand in for the real."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, text in {"docker": CLIENT, "dockerd": ENGINE, "docker-registry": "", "debootstrap": ""}.items():
        (folder / name).write_text(text, encoding="utf-8")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.defpath}")
    monkeypatch.setenv("FAKE", str(tmp_path))
    monkeypatch.setattr(ensure_docker, "_SUPERVISED", tmp_path / "containerd.pid")
    yield folder
    while ensure_docker._outlive_us:
        ensure_docker._outlive_us.pop().wait()


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """Return a Debian machine on which we are root, without an init system."""
    return Machine(tmp_path / "state", may_install=True, has_systemd=False, docker_host="")


def starts(tmp_path: Path) -> list[str]:
    """Return the storage drivers with which the engine was started, in order."""
    path = tmp_path / "started"
    return [line.split()[-1] for line in path.read_text("utf-8").splitlines()] if path.exists() else []


@pytest.mark.usefixtures("programs")
def test_an_engine_that_answers_is_left_as_it_is(tmp_path: Path, machine: Machine) -> None:
    """Nothing is started beside it."""
    (tmp_path / "answers").touch()

    assert ensure(machine) == "99.1"
    assert starts(tmp_path) == []


@pytest.mark.usefixtures("programs")
def test_one_is_started_where_there_is_none(tmp_path: Path, machine: Machine) -> None:
    """By hand, with its data in a folder of its own; asked again, nothing more happens."""
    assert ensure(machine) == "99.1"
    assert ensure(machine) == "99.1"

    assert starts(tmp_path) == ["overlay2"]
    assert f"--data-root {machine.state}/data" in (tmp_path / "started").read_text("utf-8")


@pytest.mark.usefixtures("programs")
def test_two_callers_at_once_start_one_engine(tmp_path: Path, machine: Machine) -> None:
    """The second one waits, and finds it there."""
    callers = [threading.Thread(target=ensure, args=(machine,)) for _ in range(3)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()

    assert starts(tmp_path) == ["overlay2"]


@pytest.mark.usefixtures("programs")
def test_a_file_system_without_overlays_gets_the_plain_driver(
    tmp_path: Path, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """overlay2 first, vfs where the engine says that it cannot."""
    monkeypatch.setenv("REFUSED", "overlay2")

    assert ensure(machine) == "99.1"
    assert starts(tmp_path) == ["overlay2", "vfs"]


@pytest.mark.usefixtures("programs")
def test_an_engine_that_dies_is_told_with_its_last_words(
    tmp_path: Path, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For another reason than its driver, no other driver is tried: it would only hide the images that there are."""
    monkeypatch.setenv("REFUSED", "all")

    with pytest.raises(EngineError, match="no iptables"):
        ensure(machine)
    assert starts(tmp_path) == ["overlay2"]


@pytest.mark.usefixtures("programs")
@pytest.mark.parametrize(
    ("change", "advised"),
    [
        pytest.param({"may_install": False}, "start Docker Desktop", id="a laptop"),
        pytest.param({"docker_host": "tcp://127.0.0.1:1"}, "unset it to use this machine's own", id="DOCKER_HOST"),
    ],
)
def test_where_nothing_can_be_started_a_person_is_told_what_to_do(
    tmp_path: Path, machine: Machine, change: dict[str, object], advised: str
) -> None:
    """No installation behind anybody's back, and none beside an engine that was named."""
    with pytest.raises(EngineError, match=advised):
        ensure(replace(machine, **change))  # type: ignore[arg-type]  # the fields' names and types stand above
    assert starts(tmp_path) == []


def test_a_socket_that_is_not_ours_to_use_is_named(machine: Machine) -> None:
    """The client's own words are many; the remedy is one."""
    assert "group `docker`" in advice(machine, "permission denied while trying to connect")


@pytest.mark.parametrize(
    ("pid", "kept"),
    [
        pytest.param(lambda: str(os.getpid()), False, id="another program has the number now"),
        pytest.param(lambda: "999999999", False, id="nobody has it"),
    ],
)
def test_a_pidfile_of_an_engine_that_is_gone_does_not_stop_the_next(
    tmp_path: Path, pid: Callable[[], str], *, kept: bool
) -> None:
    """After a restart of the machine the file lies there still."""
    pidfile = tmp_path / "dockerd.pid"
    pidfile.write_text(pid(), encoding="ascii")

    ensure_docker._forget(pidfile, "dockerd")

    assert pidfile.exists() is kept


def test_the_pidfile_of_a_running_engine_stays(tmp_path: Path) -> None:
    """Whose number it is tells the kernel."""
    pidfile = tmp_path / "own.pid"
    pidfile.write_text(str(os.getpid()), encoding="ascii")

    ensure_docker._forget(pidfile, Path("/proc/self/comm").read_text("utf-8").strip())

    assert pidfile.exists()


def test_only_what_is_missing_is_installed(programs: Path) -> None:
    """A package is asked for only if its program is nowhere on the path."""
    assert missing({"docker-registry": "a", "no-such-program": "b"}) == ["b"]
    assert (programs / "docker-registry").exists()


@pytest.mark.parametrize(
    ("ci", "arguments", "status"),
    [
        pytest.param("true", ["--optional"], 1, id="CI"),
        pytest.param("", ["--optional"], 0, id="a laptop's tests"),
        pytest.param("false", ["--optional"], 0, id="CI said to be off"),
        pytest.param("", [], 1, id="asked for"),
    ],
)
@pytest.mark.usefixtures("programs")
def test_no_engine_is_a_failure_in_ci_and_where_one_was_asked_for(
    monkeypatch: pytest.MonkeyPatch, machine: Machine, *, ci: str, arguments: list[str], status: int
) -> None:
    """`make test` on a laptop goes on without."""
    monkeypatch.setenv("CI", ci)
    monkeypatch.setattr(Machine, "here", lambda: replace(machine, may_install=False))

    assert main(arguments) == status

"""What is asked of Docker's client, and how its failures are told."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from apps.core.images import build as building
from apps.core.images.client import docker, engine_platform, inspected
from apps.core.images.errors import DockerError, ImageNotFoundError
from apps.core.registry import load_registration
from tests.support.executions import OWN
from tests.support.service import wait_until

Client = Callable[[str], Mapping[str, str]]


@pytest.fixture
def client(tmp_path: Path) -> Client:
    """Return what puts a shell script in the place of `docker`, in an environment that it returns."""

    def environ(script: str) -> Mapping[str, str]:
        program = tmp_path / "docker"
        program.write_text(f"#!/bin/sh\n{script}", encoding="utf-8")
        program.chmod(0o755)
        return {"PATH": f"{tmp_path}{os.pathsep}{os.defpath}", "FOLDER": str(tmp_path)}

    return environ


@pytest.fixture(autouse=True)
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the test's own client be found, and no other."""
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}/bin")


def test_its_answer_is_what_it_wrote_to_stdout(client: Client) -> None:
    """Every line of both streams is told, as it comes."""
    told: list[str] = []

    answer = asyncio.run(docker("x", environ=client('echo one; echo two >&2; echo "three  "'), tell=told.append))

    assert answer == "one\nthree"
    assert sorted(told) == ["one", "three", "two"]


def test_its_failure_holds_its_last_words(client: Client) -> None:
    """Under the action that was asked for; a long story is cut from its beginning."""
    with pytest.raises(DockerError) as failed:
        asyncio.run(docker("build", "--x", environ=client("seq 1 100; echo no >&2; exit 4")))

    assert {detail["path"] for detail in failed.value.details} == {"docker build --x"}
    assert "no" in [detail["message"] for detail in failed.value.details]
    assert len(failed.value.details) < 20
    assert failed.value.context["status"] == 4


def test_a_machine_without_it_is_told_so(tmp_path: Path) -> None:
    """Not a traceback about a file."""
    with pytest.raises(DockerError) as failed:
        asyncio.run(docker("version", environ={"PATH": str(tmp_path)}))

    assert "install Docker" in failed.value.details[0]["message"]


def test_who_stops_waiting_ends_it(client: Client, tmp_path: Path) -> None:
    """A build that nobody waits for would go on for minutes."""
    environ = client('echo $$ > "$FOLDER/pid.part"; mv "$FOLDER/pid.part" "$FOLDER/pid"; exec sleep 600')

    async def cancelled() -> None:
        work = asyncio.create_task(docker("build", environ=environ))
        await asyncio.to_thread(wait_until, (tmp_path / "pid").exists, lambda: "the client")
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work

    asyncio.run(cancelled())
    assert not Path("/proc", (tmp_path / "pid").read_text("ascii").strip()).exists()


@pytest.mark.parametrize("words", ["Error: No such image: x", "Error response from daemon: manifest for x not found"])
def test_an_image_that_is_not_there_is_no_failure_of_docker(client: Client, words: str) -> None:
    """Whoever asks can build or pull it."""
    with pytest.raises(ImageNotFoundError):
        asyncio.run(inspected("x", client(f"echo '{words}' >&2; exit 1")))


def test_an_engine_that_does_not_answer_is_one(client: Client) -> None:
    """Building would not help."""
    environ = client("echo 'Cannot connect to the Docker daemon' >&2; exit 1")

    with pytest.raises(DockerError, match="Docker Engine failed"):
        asyncio.run(inspected("x", environ))
    with pytest.raises(DockerError):
        asyncio.run(engine_platform(environ))


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        pytest.param('[ "$1" = buildx ]', "buildx", id="with the plugin"),
        pytest.param('[ "$1" != buildx ] && echo 20.10.24+dfsg1', "embedded", id="before there was one"),
        pytest.param('[ "$1" != buildx ] && echo 28.2.2', "classic", id="without it"),
    ],
)
def test_buildkit_is_used_where_the_client_has_it(client: Client, script: str, expected: str) -> None:
    """A plugin of the client from version 23 on, a part of it before."""
    assert asyncio.run(building.builder(client(script))) == expected


def test_whoever_asks_for_the_classic_builder_gets_it(client: Client) -> None:
    """By Docker's own variable."""
    environ = {**client('[ "$1" = buildx ]'), "DOCKER_BUILDKIT": "0"}

    assert asyncio.run(building.builder(environ)) == "classic"


# Keeps what `docker build` was called with, and answers the rest as an engine that has nothing
RECORDING = """\
case "$1" in
  version) case "$*" in *Client*) echo 28.2.2;; *) echo amd64;; esac;;
  buildx) {buildx};;
  build) printf '%s\\n' "$@" > "$FOLDER/asked"; env > "$FOLDER/environ"; exit 1;;
  *) echo "No such image" >&2; exit 1;;
esac
"""


def asked(client: Client, tmp_path: Path, *, buildx: bool, **environ: str) -> tuple[list[str], str]:
    """Return the command line of a build of llm/chat@1, and the environment that its client got."""
    given = {**client(RECORDING.format(buildx="exit 0" if buildx else "exit 1")), **environ}
    with pytest.raises(DockerError):
        asyncio.run(building.build(load_registration(OWN / "llm_chat"), environ=given))
    return (tmp_path / "asked").read_text("utf-8").splitlines(), (tmp_path / "environ").read_text("utf-8")


def test_an_index_is_told_to_the_builder_and_not_to_other_users(client: Client, tmp_path: Path) -> None:
    """Its address may hold a password, and a command line is everybody's to read."""
    index = "https://me:secret@index.example/simple"

    line, environ = asked(client, tmp_path, buildx=True, PIP_INDEX_URL=index)

    assert "--build-arg=PIP_INDEX_URL" in line
    assert "secret" not in " ".join(line)
    assert f"PIP_INDEX_URL={index}" in environ.splitlines()


def test_an_index_of_files_is_none_for_a_container(client: Client, tmp_path: Path) -> None:
    """It has not this machine's folders."""
    line, _ = asked(client, tmp_path, buildx=True, PIP_INDEX_URL="file:///opt/index", PIP_CONFIG_FILE=os.devnull)

    assert not any("PIP_INDEX_URL" in part for part in line)


@pytest.mark.parametrize("buildx", [True, False], ids=["BuildKit", "classic"])
def test_each_builder_gets_the_options_that_it_knows(client: Client, tmp_path: Path, *, buildx: bool) -> None:
    """One manifest in the engine's own store; labels and platform in either case."""
    line, environ = asked(client, tmp_path, buildx=buildx)

    assert f"DOCKER_BUILDKIT={'1' if buildx else '0'}" in environ.splitlines()
    for option in ("--load", "--provenance=false", "--progress=plain"):
        assert (option in line) is buildx
    assert ("--force-rm" in line) is not buildx
    assert "--platform=linux/amd64" in line
    assert "--label=processor.ref=llm/chat@1" in line
    assert line[-1] == str(OWN.parents[2])


def test_what_an_old_builder_makes_of_another_platform_is_refused(client: Client) -> None:
    """It says that BuildKit is needed, and takes the name away again."""
    image = '[{"Id": "sha256:1", "Os": "linux", "Architecture": "amd64", "Config": {}}]'
    script = f"""\
case "$1 $2" in
  "version --format") echo 28.2.2;;
  "buildx version") exit 1;;
  "image inspect") [ -e "$FOLDER/built" ] && echo '{image}' || {{ echo "No such image" >&2; exit 1; }};;
  "image rm") echo "$3" > "$FOLDER/removed";;
  build*) touch "$FOLDER/built";;
esac
"""
    environ = client(script)

    with pytest.raises(ImageNotFoundError, match="another platform") as refused:
        asyncio.run(building.build(load_registration(OWN / "llm_chat"), environ=environ, platform="arm64"))

    assert "use BuildKit" in refused.value.details[-1]["message"]
    assert Path(environ["FOLDER"], "removed").read_text("utf-8").strip().endswith("-arm64")

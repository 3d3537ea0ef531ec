"""Volumes of the local Modal: what containers see of them, and when; what clients do with their files."""

from __future__ import annotations

import io
from collections.abc import Callable

import modal
import pytest
from modal.exception import NotFoundError

from tests.local_modal import LocalModal
from tests.local_modal.deployer import Deployer

pytestmark = pytest.mark.slow  # most tests start a container, or the command line

Named = Callable[..., modal.Volume]


@pytest.fixture
def named(client: modal.Client) -> Named:
    """Returns the volume that the sample mounts."""

    def volume(version: int | None = None) -> modal.Volume:
        return modal.Volume.from_name(
            "artifacts", environment_name="dev", create_if_missing=True, client=client, version=version
        )

    return volume


def content(volume: modal.Volume, path: str) -> bytes:
    """Return a file of *volume*."""
    return b"".join(volume.read_file(path))


def test_a_write_is_seen_after_commit_and_not_before(deployer: Deployer, named: Named) -> None:
    """This is how a missing `publish` hook shows."""
    deployed = deployer.deploy()

    deployed.ask("write", "outputs/e1/a.txt")
    with pytest.raises(FileNotFoundError):
        content(named(), "outputs/e1/a.txt")

    assert deployed.ask("commit").status_code == 200
    assert content(named(), "outputs/e1/a.txt") == b"written to outputs/e1/a.txt"


def test_an_upload_is_seen_after_reload_and_not_before(deployer: Deployer, named: Named) -> None:
    """This is how a missing `refresh` hook shows."""
    deployed = deployer.deploy()
    deployed.ask("echo")  # from here on the container has its view
    with named().batch_upload() as batch:
        batch.put_file(io.BytesIO(b"uploaded"), "/inputs/x")

    assert deployed.ask("read", "inputs/x").status_code == 404
    deployed.ask("reload")

    assert deployed.ask("read", "inputs/x").text == "uploaded"


def test_what_was_uploaded_before_the_start_is_there(deployer: Deployer, named: Named) -> None:
    """A container begins with what is committed then."""
    with named().batch_upload() as batch:
        batch.put_file(io.BytesIO(b"early"), "/inputs/x")

    assert deployer.deploy().ask("read", "inputs/x").text == "early"


def test_a_reload_fails_while_a_file_is_open(deployer: Deployer, named: Named) -> None:
    """As Modal says it; it works once the file is closed."""
    deployed = deployer.deploy()
    deployed.ask("write", "log")
    deployed.ask("hold", "log")

    busy = deployed.ask("reload")
    assert busy.status_code == 409
    assert "there are open files preventing the operation" in busy.text
    assert deployed.ask("commit").status_code == 200

    deployer.cloud.volumes.commit_reloads = True
    assert deployed.ask("commit").status_code == 409
    deployed.ask("release")
    assert deployed.ask("reload").status_code == 200
    assert content(named(), "log") == b"written to log"


def test_a_reload_keeps_what_was_not_committed(deployer: Deployer, named: Named) -> None:
    """And shows nobody else what the container keeps."""
    deployed = deployer.deploy()
    deployed.ask("write", "own")

    deployed.ask("reload")

    assert deployed.ask("read", "own").text == "written to own"
    assert named().listdir("/") == []


def test_removing_is_committed_and_reloaded_too(deployer: Deployer, named: Named) -> None:
    """In both directions."""
    deployed = deployer.deploy()
    for name in ("a", "b"):
        deployed.ask("write", name)
    deployed.ask("commit")

    named().remove_file("a")
    assert deployed.ask("read", "a").status_code == 200
    deployed.ask("reload")
    assert deployed.ask("read", "a").status_code == 404

    deployed.ask("remove", "b")
    assert [entry.path for entry in named().listdir("/")] == ["b"]
    deployed.ask("commit")
    assert named().listdir("/") == []


def test_a_container_that_ends_in_order_commits(deployer: Deployer, named: Named) -> None:
    """The SDK does so itself; a killed one does not."""
    deployed = deployer.deploy()
    deployed.ask("write", "killed")
    deployed.ask("crash")
    deployed.ask("write", "ended")

    deployer.cloud.run(deployer.cloud.fleet.scale_down())

    assert [entry.path for entry in named().listdir("/")] == ["ended"]


VERSIONS = [pytest.param(1, id="version 1"), pytest.param(2, id="version 2")]


@pytest.mark.parametrize("version", VERSIONS)
def test_files_go_there_and_back(named: Named, version: int) -> None:
    """Small, empty, with zeros at the end, and larger than what a message or a block holds."""
    volume = named(version)
    files = {"a/small": b"small", "a/empty": b"", "zeros": b"x" + bytes(100), "large": b"0123456789" * 1_000_000}

    with volume.batch_upload() as batch:
        for path, data in files.items():
            batch.put_file(io.BytesIO(data), f"/{path}")

    assert {path: content(volume, path) for path in files} == files
    assert [(entry.path, entry.type.name) for entry in volume.listdir("/")] == [
        ("a", "DIRECTORY"),
        ("large", "FILE"),
        ("zeros", "FILE"),
    ]
    assert {entry.path: entry.size for entry in volume.listdir("/a", recursive=True)} == {"a/empty": 0, "a/small": 5}
    buffer = io.BytesIO()
    volume.read_file_into_fileobj("large", buffer)
    assert buffer.getvalue() == files["large"]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_file_is_not_overwritten_unless_forced(named: Named, version: int) -> None:
    """FileExistsError, and the old bytes stay."""
    volume = named(version)
    with volume.batch_upload() as batch:
        batch.put_file(io.BytesIO(b"old"), "/x")

    with pytest.raises(FileExistsError), volume.batch_upload() as batch:
        batch.put_file(io.BytesIO(b"new"), "/x")
    assert content(volume, "x") == b"old"

    with volume.batch_upload(force=True) as batch:
        batch.put_file(io.BytesIO(b"new"), "/x")
    assert content(volume, "x") == b"new"


@pytest.mark.parametrize("version", VERSIONS)
def test_a_file_is_removed(named: Named, version: int) -> None:
    """A folder with what it holds; what is not there is not found."""
    volume = named(version)
    with volume.batch_upload() as batch:
        batch.put_file(io.BytesIO(b"1"), "/a/1")
        batch.put_file(io.BytesIO(b"2"), "/b/2")

    volume.remove_file("a/1")
    volume.remove_file("b", recursive=True)

    assert [entry.path for entry in volume.listdir("/", recursive=True)] == ["a"]
    with pytest.raises(FileNotFoundError):
        volume.remove_file("b/2")
    with pytest.raises(FileNotFoundError):
        content(volume, "b/2")


def test_volumes_are_listed_and_deleted(local_modal: LocalModal, client: modal.Client, named: Named) -> None:
    """In their own environment."""
    named().hydrate()

    assert [each.name for each in modal.Volume.objects.list(environment_name="dev", client=client)] == ["artifacts"]
    assert modal.Volume.objects.list(environment_name="prod", client=client) == []
    modal.Volume.objects.delete("artifacts", environment_name="dev", client=client)

    assert local_modal.volumes.named("artifacts", "dev") is None
    with pytest.raises(NotFoundError):
        modal.Volume.from_name("artifacts", environment_name="dev", client=client).hydrate()

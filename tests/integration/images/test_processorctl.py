"""`manage.py processorctl`: one row for each image on stdout, the story on stderr, and an exit status to act on."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from apps.core.host import Host
from apps.core.management.commands.processorctl import Command
from apps.core.registry import ImageReference, Repository
from tests.integration.images.conftest import Tiny, put_image

BASE = "127.0.0.1:1/nobody"  # where no image registry is


@dataclass(frozen=True, slots=True)
class Ended:
    """What the command answered, told, and ended with."""

    status: int
    stdout: str
    stderr: str

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The images of an answer in JSON."""
        (line,) = self.stdout.splitlines()
        rows: list[dict[str, Any]] = json.loads(line)["images"]
        return rows


Run = Callable[..., Ended]


@pytest.fixture
def run(tiny: Tiny, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """Return what runs the command as `manage.py` does, on a host whose only processor is the test's."""
    host = Host(tiny.processors, tiny.processors, tiny.processors, ("local",), environ=os.environ)
    monkeypatch.setattr(Host, "here", lambda: host)
    monkeypatch.setenv("DOCKER_BUILDKIT", "0")

    def ended(*arguments: str) -> Ended:
        monkeypatch.setattr(sys, "argv", ["manage.py", "processorctl", *arguments])
        status = 0
        try:
            Command().run_from_argv(sys.argv)
        except SystemExit as exc:
            status = int(exc.code or 0)
        return Ended(status, *capfd.readouterr())

    return ended


def test_an_image_goes_from_source_to_a_verified_pin(run: Run, tiny: Tiny, repository: Repository) -> None:
    """One command publishes and pins, the next one proves it, and the file is as it was but for the pin."""
    before = tiny.read()

    published = run("publish", "--ref", tiny.ref, "--repository", str(repository), "--json")
    verified = run("verify", "--json")
    listed = run("list", "--json")

    (row,) = published.rows
    assert (published.status, row["state"], row["platform"], row["error"]) == (0, "published", "amd64", None)
    assert row["image"].startswith(f"{repository}/tst_{tiny.name}@sha256:")
    assert row["sbom"].startswith(f"{repository}/tst_{tiny.name}@sha256:")
    assert [(row["state"], row["image"]) for row in verified.rows] == [("verified", row["image"])]
    assert [(row["state"], row["image"]) for row in listed.rows] == [("pinned", row["image"])]
    pin = f"  platforms:\n    amd64: {row['image']}\n"
    assert tiny.read() == before.replace("image:\n", f"image:\n{pin}")
    assert [json.loads(line)["event"] for line in published.stderr.splitlines()].count("image.publish") > 1


def test_publishing_again_changes_nothing(run: Run, tiny: Tiny, repository: Repository) -> None:
    """No commit for nothing; and the pin says where images are stored."""
    run("publish", "--ref", tiny.ref, "--repository", str(repository))
    before = (tiny.read(), (tiny.folder / "registry.yaml").stat().st_mtime_ns)

    again = run("publish", "--all", "--json")

    assert (again.status, [row["state"] for row in again.rows]) == (0, ["unchanged"])
    assert (tiny.read(), (tiny.folder / "registry.yaml").stat().st_mtime_ns) == before


def test_steps_can_be_taken_one_by_one(run: Run, tiny: Tiny, repository: Repository) -> None:
    """build, push, pin: what publish does at once."""
    built = run("build", "--ref", tiny.ref, "--json")
    there = run("build", "--ref", tiny.ref, "--json")
    pushed = run("push", "--ref", tiny.ref, "--repository", str(repository), "--json")
    pinned = run("pin", "--ref", tiny.ref, "--image", pushed.rows[0]["image"], "--json")
    again = run("pin", "--ref", tiny.ref, "--image", pushed.rows[0]["image"], "--json")

    assert [each.rows[0]["state"] for each in (built, there, pushed, pinned, again)] == [
        *("built", "there", "pushed", "pinned", "unchanged")
    ]
    assert run("verify").status == 0


def test_a_person_reads_a_line_for_each_image(run: Run, tiny: Tiny, repository: Repository) -> None:
    """And below a failure its reasons and what to do."""
    good = run("pin", "--ref", tiny.ref, "--image", str(put_image(repository, tiny.labels.written())))
    tiny.write("app/handler.py", "words = 2\n")
    bad = run("verify")

    assert re.fullmatch(rf"pinned +{tiny.ref} +amd64 +{repository}@sha256:[0-9a-f]{{64}}\n", good.stdout)
    assert (good.status, bad.status) == (0, 1)
    assert bad.stdout.startswith(f"failed     {tiny.ref}  amd64  ERR_DIGEST_DRIFT: image was built from other source\n")
    assert f"run: processorctl publish --ref {tiny.ref}" in bad.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "reason"),
    [
        pytest.param(["verify"], "ERR_IMAGE_UNPINNED", "processorctl publish --ref", id="no pin"),
        pytest.param(["verify", "--platform", "arm64"], "ERR_IMAGE_UNPINNED", "no image for arm64", id="no pin for it"),
        pytest.param(["verify", "--ref", "tst/absent@1"], "ERR_REF_NOT_FOUND", "there is no tst/absent@1", id="no ref"),
        pytest.param(
            ["push", "--ref", "{ref}", "--repository", BASE],
            "ERR_IMAGE_NOT_FOUND",
            "processorctl build",
            id="not built",
        ),
        pytest.param(
            ["publish", "--ref", "{ref}", "--repository", BASE], "ERR_IMAGE_PULL", "cannot be asked", id="no registry"
        ),
        pytest.param(
            ["pin", "--ref", "{ref}", "--image", f"{BASE}@sha256:{'0' * 64}"], "ERR_IMAGE_PULL", "", id="no such host"
        ),
    ],
)
def test_what_fails_is_an_error_with_a_code(
    run: Run, tiny: Tiny, arguments: list[str], *, code: str, reason: str
) -> None:
    """Status 1, in the row that it is about; the registry file stays as it was."""
    before = tiny.read()

    ended = run(*(each.format(ref=tiny.ref) for each in arguments), "--json")

    assert ended.status == 1
    assert ended.rows[0]["error"]["code"] == code
    assert reason in json.dumps(ended.rows[0]["error"]["details"])
    assert tiny.read() == before


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        pytest.param([], "required: ACTION", id="no action"),
        pytest.param(["build"], "one of the arguments --ref --all is required", id="no processor"),
        pytest.param(["publish", "--all"], "--repository: required, because", id="nowhere to store"),
        pytest.param(
            ["push", "--all", "--repository", "Ghcr.io/O"], "--repository: has a malformed", id="no repository"
        ),
        pytest.param(["pin", "--ref", "a/b@1", "--image", "a/b:1"], "names no digest", id="a tag"),
        pytest.param(["build", "--all", "--platform", "riscv64"], "invalid choice: 'riscv64'", id="unknown platform"),
    ],
)
def test_wrong_usage_is_one_line(run: Run, arguments: list[str], reason: str) -> None:
    """Status 2 before anything is built or asked."""
    ended = run(*arguments)

    assert (ended.status, ended.stdout) == (2, "")
    assert reason in ended.stderr
    assert ended.stderr.count("\n") == 1


def test_one_failure_stops_no_other(run: Run, tiny: Tiny, repository: Repository) -> None:
    """A row for each, and status 1 for all of them together."""
    other = Tiny(tiny.processors)
    other.pin(put_image(repository, other.labels.written()))

    ended = run("verify", "--json")

    assert ended.status == 1
    assert {row["ref"]: row["state"] for row in ended.rows} == {tiny.ref: "failed", other.ref: "verified"}


def test_a_registry_file_that_is_wrong_is_named(run: Run, tiny: Tiny) -> None:
    """Nothing can be said of all processors while one of them cannot be read."""
    tiny.write("registry.yaml", "ref: [\n")

    ended = run("list", "--json")

    assert (ended.status, ended.rows[0]["error"]["code"]) == (1, "ERR_REGISTRY_INVALID")


def test_a_pin_that_breaks_a_rule_is_not_written(run: Run, tiny: Tiny, repository: Repository) -> None:
    """`default_platform` has to be among the pins."""
    before = tiny.read()
    arm64 = put_image(repository, tiny.labels.written(), "arm64")

    ended = run("pin", "--ref", tiny.ref, "--platform", "arm64", "--image", str(arm64), "--json")

    assert (ended.status, ended.rows[0]["error"]["code"]) == (1, "ERR_REGISTRY_INVALID")
    assert "amd64 is not pinned" in json.dumps(ended.rows[0]["error"]["details"])
    assert tiny.read() == before


@pytest.mark.usefixtures("run", "buildkit")  # in this order: the second one undoes the first one's choice of a builder
def test_several_platforms_are_published_and_pinned_together(run: Run, tiny: Tiny, repository: Repository) -> None:
    """Each by its own manifest; in whatever order they were asked for."""
    platforms = ("--platform", "arm64", "--platform", "amd64")
    ended = run("publish", "--ref", tiny.ref, *platforms, "--repository", str(repository), "--json")

    images = {row["platform"]: row["image"] for row in ended.rows}
    assert (ended.status, list(images)) == (0, ["arm64", "amd64"])
    assert {name: str(pin) for name, pin in tiny.registration.platforms.items()} == images
    assert len(set(images.values())) == 2
    assert run("verify").status == 0


@pytest.mark.parametrize("action", ["build", "push", "pin", "publish", "verify", "list"])
def test_each_action_has_help_with_an_example(run: Run, action: str) -> None:
    """Which can be pasted: its own parser takes it."""
    shown = run(action, "--help")

    (example,) = re.findall(r"python manage\.py processorctl (.*)", shown.stdout)
    parser = Command().create_parser("manage.py", "processorctl")
    words = example.replace("sha256:…", f"sha256:{'0' * 64}").split()
    assert (shown.status, parser.parse_args(words).action) == (0, action)


def test_the_folder_is_named_by_image_repository(
    run: Run, tiny: Tiny, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lane says once where its images are."""
    monkeypatch.setenv("IMAGE_REPOSITORY", str(repository))

    ended = run("publish", "--ref", tiny.ref, "--json")

    reference = ImageReference.parse(ended.rows[0]["image"])
    assert reference.repository == f"{repository}/{Path(tiny.folder).name}"

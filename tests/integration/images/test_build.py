"""From source to an image: labelled, found again, without pins, by either builder."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx2
import pytest

from apps.core.images.build import BuiltImage, build
from apps.core.images.errors import DockerError, OtherSourceError, WrongPlatformError
from apps.core.images.labels import CONTRACT, REF, SOURCE
from apps.core.images.source import source_digest
from apps.core.registry import PROCESSORS, load_registration
from tests.integration.images.conftest import Tiny
from tests.support.docker import Built, Engine
from tests.support.service import DIGEST, wait_until

CLASSIC: Mapping[str, str] = {"DOCKER_BUILDKIT": "0"}


def made(tiny: Tiny, environ: Mapping[str, str] = CLASSIC, **options: Any) -> BuiltImage:
    """Return the image of *tiny*, built by this machine's engine."""
    return asyncio.run(build(tiny.registration, environ={**os.environ, **environ}, **options))


def test_an_image_says_what_it_is(tiny: Tiny, engine: Engine) -> None:
    """Its ref, the digest of its source and the version of the contract; and what other tools read."""
    image = made(tiny)

    labels = json.loads(engine.docker("inspect", "--format", "{{json .Config.Labels}}", image.image_id))
    source = source_digest(tiny.registration)
    assert {name: labels[name] for name in (REF, SOURCE, CONTRACT)} == {REF: tiny.ref, SOURCE: source, CONTRACT: "v1"}
    assert labels["org.opencontainers.image.version"] == "1"
    assert (image.labels.ref, image.labels.source, image.reused) == (tiny.ref, source, False)


def test_the_same_source_is_built_once(tiny: Tiny) -> None:
    """Found by its tag, which the source decides; a pin is no part of the source."""
    first = made(tiny)
    tiny.write("registry.yaml", tiny.read().replace("image:\n", f"image:\n  platforms:\n    amd64: a/b@{DIGEST}\n"))
    assert tiny.registration.platforms

    second = made(tiny)

    assert (second.reused, second.name, second.image_id) == (True, first.name, first.image_id)


def test_other_source_is_another_image(tiny: Tiny, engine: Engine) -> None:
    """Both stay: who runs the first goes on."""
    first = made(tiny)
    tiny.write("app/handler.py", "words = 2\n")

    second = made(tiny)

    assert not second.reused
    assert second.name != first.name
    assert engine.docker("inspect", "--format", "{{.Id}}", first.name) == first.image_id


def test_what_is_there_is_built_again_on_request(tiny: Tiny) -> None:
    """A base image may be newer than its name."""
    made(tiny)

    assert made(tiny, rebuild=True).reused is False


@pytest.mark.parametrize(
    "said",
    [
        pytest.param(["the-default"], id="the Dockerfile's own"),
        pytest.param(["the-default", "by-variable"], id="the machine's"),
        pytest.param(["the-default", "by-variable", "by-registry"], id="the processor's"),
        pytest.param(["the-default", "by-variable", "by-registry", "by-option"], id="the caller's"),
    ],
)
def test_what_it_is_built_on_can_be_said(tiny: Tiny, engine: Engine, said: list[str]) -> None:
    """By the command line, else the registry, else the environment; the image's label tells which it was."""
    repository = made(tiny).name.rpartition(":")[0]
    bases = {name: f"{repository}:{name}" for name in said}
    for name in bases.values():
        engine.docker("tag", made(tiny).name, name)
    tiny.write("Dockerfile", f"ARG BASE_IMAGE={bases['the-default']}\nFROM ${{BASE_IMAGE}}\nCOPY app /srv/app\n")
    if "by-registry" in bases:
        args = f"build: {{ context: ., args: {{ BASE_IMAGE: '{bases['by-registry']}' }} }}"
        tiny.write("registry.yaml", tiny.read().replace("build: { context: . }", args))
    environ = {**CLASSIC, "BASE_IMAGE": bases.get("by-variable", "")}

    assert made(tiny, environ, base_image=bases.get("by-option")).labels.base == bases[said[-1]]


@pytest.mark.parametrize(
    ("dockerfile", "reason"),
    [
        pytest.param("FROM scratch\nCOPY absent /\n", "absent", id="a step that fails"),
        pytest.param("FROM scratch\nNONSENSE\n", "NONSENSE", id="no Dockerfile"),
    ],
)
def test_a_build_that_fails_says_why(tiny: Tiny, dockerfile: str, reason: str) -> None:
    """The details hold the builder's last words, and no image is left under the name."""
    tiny.write("Dockerfile", dockerfile)

    with pytest.raises(DockerError) as failed:
        made(tiny)

    assert any(reason in detail["message"] for detail in failed.value.details)


def test_a_step_that_fails_leaves_no_container(tiny: Tiny, engine: Engine) -> None:
    """The classic builder keeps that of a RUN, for whoever wants to look into it."""
    tiny.write("Dockerfile", f'FROM scratch\nCOPY app /srv/app\nRUN ["/absent", "{tiny.name}"]\n')

    with pytest.raises(DockerError):
        made(tiny)

    assert tiny.name not in engine.docker("ps", "--all", "--no-trunc", "--format", "{{.Command}}")


def test_without_a_dockerfile_nothing_is_built(tiny: Tiny) -> None:
    """A processor that only ever ran as a process has none."""
    (tiny.folder / "Dockerfile").unlink()

    with pytest.raises(DockerError) as failed:
        made(tiny)

    assert failed.value.details[0]["path"] == "Dockerfile"


def test_source_that_changes_meanwhile_makes_no_image(tiny: Tiny, engine: Engine) -> None:
    """What was read first would be the label of what was read last."""

    def edit(line: str) -> None:
        if "building" in line:
            tiny.write("app/handler.py", "words = 3\n")

    with pytest.raises(OtherSourceError):
        made(tiny, tell=edit)

    assert engine.docker("images", "--quiet", f"processors/tst_{tiny.name}") == ""


@pytest.mark.usefixtures("buildkit")
def test_buildkit_builds_for_another_platform(tiny: Tiny, engine: Engine) -> None:
    """Several images of one source stand beside each other."""
    images = [made(tiny, {}, platform=platform) for platform in ("amd64", "arm64")]

    told = [engine.docker("inspect", "--format", "{{.Os}}/{{.Architecture}}", image.name) for image in images]
    assert told == ["linux/amd64", "linux/arm64"]
    assert len({image.image_id for image in images}) == 2


def test_an_image_for_another_platform_than_was_asked_for_is_not_kept(tiny: Tiny, engine: Engine) -> None:
    """The classic builder of old engines takes what it has: its tag would be a lie."""
    made(tiny)  # its layers are what the builder then takes

    with suppress(WrongPlatformError):  # a newer engine may know better
        made(tiny, platform="arm64")

    names = engine.docker("images", "--format", "{{.Repository}}:{{.Tag}}", f"processors/tst_{tiny.name}").split()
    told = {name: engine.docker("inspect", "--format", "{{.Architecture}}", name) for name in names}
    assert all(name.endswith(f"-{architecture}") for name, architecture in told.items()), told


@pytest.fixture
def answering(engine: Engine) -> Callable[[str, dict[str, Any]], Any]:
    """Return what runs an image in mock mode, without a way out, and gives its answer to one payload."""

    def ask(image: str, payload: dict[str, Any]) -> Any:
        environ = (f"--env=IMAGE_DIGEST={DIGEST}", "--env=PROCESSOR_MODE=mock")
        container = engine.docker(
            "run", "--detach", "--publish=127.0.0.1::8000", "--read-only", "--tmpfs=/tmp", *environ, image
        )
        try:
            address = engine.docker("port", container, "8000").splitlines()[0]
            with httpx2.Client(base_url=f"http://{address}") as client:
                wait_until(lambda: _is_healthy(client), lambda: engine.docker("logs", container))
                return client.post("/run", json=payload).json()
        finally:
            engine.docker("rm", "--force", "--volumes", container)

    return ask


def _is_healthy(client: httpx2.Client) -> bool:
    try:
        return bool(client.get("/healthz").json() == {"ok": True})
    except httpx2.TransportError:
        return False


CHAT = {"schema": "v1", "params": {"messages": [{"role": "user", "content": "Hello"}]}}
PAYLOAD = {"schema": "v1", "execution_id": "e1", "write_prefix": "/tmp/e1/", "mode": "mock"}


@pytest.mark.slow
@pytest.mark.parametrize("ref", ["llm/chat@1", "doc/ocr@1"])
def test_our_processors_are_images_without_pins(built: Built, engine: Engine, ref: str) -> None:
    """They build on the base image of this machine, and what they hold of the registry does not say where they are."""
    image = built(ref)

    registry = json.loads(engine.docker("run", "--rm", image.image_id, "cat", "/srv/processor/registry.yaml"))
    assert registry["ref"] == ref
    assert "image" not in registry
    assert "10001" in engine.docker("run", "--rm", image.image_id, "id", "--user")


@pytest.mark.slow
def test_an_image_of_ours_answers(built: Built, answering: Callable[[str, dict[str, Any]], Any]) -> None:
    """Health, and a mock run, with a root that cannot be written."""
    envelope = answering(built("llm/chat@1").image_id, {**PAYLOAD, "inputs": CHAT})

    assert (envelope["status"], envelope["meta"]["ref"]) == ("success", "llm/chat@1")


@pytest.mark.slow
def test_another_processor_of_ours_refuses_what_is_not_for_it(
    built: Built, answering: Callable[[str, dict[str, Any]], Any]
) -> None:
    """doc/ocr@1 has no messages."""
    envelope = answering(built("doc/ocr@1").image_id, {**PAYLOAD, "inputs": CHAT})

    assert (envelope["error"]["code"], envelope["meta"]["ref"]) == ("ERR_INPUTS", "doc/ocr@1")


@pytest.mark.slow
@pytest.mark.network
@pytest.mark.usefixtures("buildkit")
def test_the_template_of_dockerfiles_builds_with_buildkit_too(
    engine: Engine, base_image: str, answering: Callable[[str, dict[str, Any]], Any], tmp_path: Path
) -> None:
    """Nothing in it is for one builder only, and no index is named in what comes out."""
    assert tmp_path.exists()
    registration = load_registration(PROCESSORS / "llm_chat")
    name = f"processors/buildkit-{tmp_path.name}:1"
    environ = {**os.environ, "DOCKER_BUILDKIT": "1"}
    dockerfile = str(registration.build.dockerfile)
    engine.docker(
        *("build", "--tag", name, "--build-arg", f"BASE_IMAGE={base_image}", "--file", dockerfile),
        *("--build-arg", "PIP_TRUSTED_HOST=index.example", str(registration.build.context)),
        env=environ,
    )
    try:
        envelope = answering(name, {**PAYLOAD, "inputs": CHAT})
        told = engine.docker("inspect", name) + engine.docker("history", "--no-trunc", name)
    finally:
        engine.docker("rmi", "--force", name)

    assert envelope["status"] == "success"
    assert "index.example" not in told

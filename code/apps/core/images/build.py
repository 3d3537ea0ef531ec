"""From source to an image on the engine: BuildKit where the client has it, the classic builder otherwise."""

import contextlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal

from apps.core.package_index import build_environment
from apps.core.registry import Registration
from processor_runtime.errors import Detail

from .client import Tell, docker, engine_platform, inspected, silent
from .errors import DockerError, ImageNotFoundError, OtherSourceError, WrongPlatformError
from .labels import Labels
from .source import source_digest

Builder = Literal["buildx", "embedded", "classic"]

BASE_ARGUMENT: Final = "BASE_IMAGE"  # of every Dockerfile; as a variable it says what to build on where none is named
_TAG_DIGITS: Final = 16  # of the source digest: enough that no two sources of one processor share a tag
_LOCAL: Final = "processors"
_BASE: Final = re.compile(rf"(?m)^ARG {BASE_ARGUMENT}=(\S+)$")
_ASKS_FOR_BUILDX: Final = 23  # before this version the client holds BuildKit's half itself


@dataclass(frozen=True, slots=True)
class BuiltImage:
    """An image on the engine, made from the source as it is.

    Attributes:
        name: What the engine calls it: a tag that the source decides.
        image_id: What it is on this engine.
        platform: ``amd64`` or ``arm64``.
        labels: What it says about itself.
        reused: Whether it was there already.
    """

    name: str
    image_id: str
    platform: str
    labels: Labels
    reused: bool


async def build(
    registration: Registration,
    *,
    environ: Mapping[str, str],
    platform: str | None = None,
    base_image: str | None = None,
    rebuild: bool = False,
    tell: Tell = silent,
) -> BuiltImage:
    """Return the image of *registration*'s source, built unless the engine has it.

    Args:
        registration: The processor.
        environ: The caller's environment: Docker's own settings, the index settings of pip, and `BASE_IMAGE`.
        platform: ``amd64`` or ``arm64``; ``None`` is the engine's own.
        base_image: What to build on; ``None`` leaves it to registry, `BASE_IMAGE` and Dockerfile, in this order.
        rebuild: Build also what is there: for a base image that is newer than its name.
        tell: Takes each line of the builder.

    Raises:
        DockerError: it cannot be built.
        WrongPlatformError: the builder made one for another platform.
        OtherSourceError: the source changed meanwhile.
    """
    platform = platform or await engine_platform(environ)
    dockerfile = registration.build.dockerfile
    if not dockerfile.is_file():
        raise DockerError(Detail(path=dockerfile.name, message=f"{registration.folder.name} has no such file"))
    arguments = _arguments(registration, environ, base_image)
    wanted = Labels(str(registration.ref), source_digest(registration), base=arguments.get(BASE_ARGUMENT, ""))
    name = local_name(registration, wanted.source, platform)
    if not rebuild:
        with contextlib.suppress(ImageNotFoundError):
            there = await held(name, platform, environ)
            if there.labels == wanted:
                return there
    options = [f"--tag={name}", f"--platform=linux/{platform}"]
    options += [f"--label={key}={value}" for key, value in wanted.written().items()]
    options += [f"--build-arg={key}={value}" for key, value in arguments.items()]
    kind = await builder(environ)
    await _run(kind, registration, options, environ, tell)
    try:
        made = await held(name, platform, environ)
        _agree(made, source_digest(registration), registration)
    except (WrongPlatformError, OtherSourceError) as exc:
        await docker("image", "rm", name, environ=environ)
        if isinstance(exc, WrongPlatformError) and kind == "classic":
            hint = Detail(
                path=f"linux/{platform}", message="the classic builder builds for the engine's own: use BuildKit"
            )
            raise WrongPlatformError(*exc.details, hint) from exc
        raise
    return replace(made, reused=False)


async def held(name: str, platform: str, environ: Mapping[str, str]) -> BuiltImage:
    """Return the image that the engine has under *name*.

    Raises:
        ImageNotFoundError: it has none, or one for another platform.
        DockerError: it does not answer.
    """
    image = await inspected(name, environ)
    if (image["Os"], image["Architecture"]) != ("linux", platform):
        raise WrongPlatformError(Detail(path=name, message=f"is for {image['Os']}/{image['Architecture']}"))
    labels = Labels.read(image["Config"].get("Labels"))
    return BuiltImage(name, image["Id"], platform, labels, reused=True)


def tag(registration: Registration, source: str, platform: str) -> str:
    """Return what an image of *source* is tagged with, wherever it is: ``1-0123456789abcdef-amd64``."""
    digits = source.removeprefix("sha256:")[:_TAG_DIGITS]
    return f"{registration.ref.version}-{digits}-{platform}"


def local_name(registration: Registration, source: str, platform: str) -> str:
    """Return what the engine calls the image of *source*."""
    return f"{_LOCAL}/{registration.folder.name}:{tag(registration, source, platform)}"


async def builder(environ: Mapping[str, str]) -> Builder:
    """Return what this client builds with.

    ``buildx`` and ``embedded`` are BuildKit: a plugin of the client from version 23 on, a part of it before.

    Raises:
        DockerError: the engine does not answer.
    """
    if environ.get("DOCKER_BUILDKIT") == "0":
        return "classic"
    with contextlib.suppress(DockerError):
        await docker("buildx", "version", environ=environ)
        return "buildx"
    version = await docker("version", "--format", "{{.Client.Version}}", environ=environ)
    major = int(re.sub(r"\D.*", "", version.strip()) or 0)
    return "embedded" if major < _ASKS_FOR_BUILDX else "classic"


def _agree(made: BuiltImage, source: str, registration: Registration) -> None:
    if made.labels.source != source:
        reason = "the source changed while it was built: build it again"
        raise OtherSourceError(Detail(path=registration.folder.name, message=reason))


async def _run(
    kind: Builder, registration: Registration, options: list[str], environ: Mapping[str, str], tell: Tell
) -> None:
    index = build_environment(environ)
    # By name only: an index's address may hold a password, and a command line is everybody's to read
    options = [f"--file={registration.build.dockerfile}", *options, *(f"--build-arg={name}" for name in index)]
    if kind == "buildx":
        # One manifest for one platform, and in the engine's own store, whatever builder is the default
        options += ["--load", "--provenance=false", "--sbom=false"]
    # The classic builder keeps the container of a RUN that failed, BuildKit has none
    options += ["--force-rm"] if kind == "classic" else ["--progress=plain"]
    tell(f"building {registration.ref} with {'the classic builder' if kind == 'classic' else 'BuildKit'}")
    await docker(
        *("build", *options, str(registration.build.context)),
        environ={**environ, **index, "DOCKER_BUILDKIT": "0" if kind == "classic" else "1"},
        tell=tell,
    )


def _arguments(registration: Registration, environ: Mapping[str, str], base_image: str | None) -> dict[str, str]:
    """Return the build arguments, with what the image is built on unless that is fixed in the Dockerfile."""
    arguments = dict(registration.build.args)
    text = registration.build.dockerfile.read_text(encoding="utf-8")
    default = _BASE.search(text)
    if not default:
        return arguments
    base = base_image or arguments.get(BASE_ARGUMENT) or environ.get(BASE_ARGUMENT) or default[1]
    return {**arguments, BASE_ARGUMENT: base}

"""One processor as the orchestrator knows it."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Self

from processor_runtime.declaration import Declaration
from processor_runtime.values import Ref

from .images import ImageReference

DEFAULT_PLATFORM: Final = "amd64"
DEFAULT_CONTEXT: Final = "../../../.."  # from code/apps/core/processors/{ns}_{name} to code/
DEFAULT_DOCKERFILE: Final = "Dockerfile"


@dataclass(frozen=True, slots=True)
class Build:
    """How an image is built.

    Attributes:
        context: The folder sent to Docker.
        dockerfile: The Dockerfile.
        args: Build arguments by name.
    """

    context: Path
    dockerfile: Path
    args: Mapping[str, str]

    @classmethod
    def parse(cls, value: Mapping[str, Any], folder: Path) -> Self:
        """Return the build that *value*, the registry's `build`, asks for; its paths are relative to *folder*."""
        return cls(
            context=Path(os.path.normpath(folder / value.get("context", DEFAULT_CONTEXT))),
            dockerfile=folder / value.get("dockerfile", DEFAULT_DOCKERFILE),
            args=MappingProxyType(dict(value.get("args", {}))),
        )


@dataclass(frozen=True, slots=True)
class Registration:
    """Everything that one `registry.yaml` says, and where it was found.

    Attributes:
        declaration: The part that describes behaviour, as the processor itself reads it.
        folder: The processor's folder.
        platforms: By platform (`amd64`, `arm64`), the pinned image; empty until the first pin.
        default_platform: The platform to use where the host's own is not pinned.
        build: How an image is built.
    """

    declaration: Declaration
    folder: Path
    platforms: Mapping[str, ImageReference]
    default_platform: str
    build: Build

    @classmethod
    def parse(cls, value: Mapping[str, Any], folder: Path) -> Self:
        """Return the registration that *value* holds, a document without problems, found in *folder*."""
        image = value.get("image", {})
        pins = {name: ImageReference.parse(text) for name, text in image.get("platforms", {}).items()}
        return cls(
            declaration=Declaration.parse(value),
            folder=folder,
            platforms=MappingProxyType(pins),
            default_platform=image.get("default_platform", DEFAULT_PLATFORM),
            build=Build.parse(value.get("build", {}), folder),
        )

    @property
    def ref(self) -> Ref:
        """Which processor this is."""
        return self.declaration.ref

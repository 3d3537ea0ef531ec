"""What a processor promises: the part of `registry.yaml` that describes behaviour.

The image holds this part and not the pins. The orchestrator checks the whole
file (`apps.core.registry`); here only what a service needs in order to start.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Self

import orjson

from .values import Ref, RefError

DEFAULT_CPU: Final = "1"
DEFAULT_MEMORY_GB: Final = 1
DEFAULT_TIMEOUT_S: Final = 600
DEFAULT_CONCURRENCY: Final = 1


class DeclarationError(ValueError):
    """The file cannot be used to start a service."""


@dataclass(frozen=True, slots=True)
class Runtime:
    """What one container gets: *cpu* in cores, *memory_gb* in GiB, *timeout_s* in seconds."""

    cpu: str
    memory_gb: float
    timeout_s: float
    gpu: str | None
    concurrency: int


@dataclass(frozen=True, slots=True)
class Output:
    """One file, or one family of files (a segment holds one ``*``), that a run may write."""

    path: str
    mime: str
    description: str
    optional: bool

    @property
    def required(self) -> bool:
        """Whether a success without it is a broken promise."""
        return not self.optional and "*" not in self.path

    def pattern(self) -> re.Pattern[str]:
        """Return what the paths of this output match; ``*`` stays within its segment."""
        return re.compile("[^/]*".join(re.escape(part) for part in self.path.split("*")))


@dataclass(frozen=True)
class Declaration:
    """The behaviour of one processor, as its registry declares it."""

    ref: Ref
    runtime: Runtime
    required_secrets: tuple[str, ...]
    optional_secrets: tuple[str, ...]
    inputs: dict[str, Any]
    outputs: tuple[Output, ...]
    document: dict[str, Any]

    @classmethod
    def parse(cls, document: Mapping[str, Any]) -> Self:
        """Return the declaration that a registry *document* holds.

        Raises:
            DeclarationError: a part is absent or of another shape. The message
                names the part.

        Source: CONTRACT §8.
        """
        try:
            runtime = document.get("runtime") or {}
            secrets = document.get("secrets") or {}
            return cls(
                ref=Ref.parse(document["ref"]),
                runtime=Runtime(
                    cpu=str(runtime.get("cpu", DEFAULT_CPU)),
                    memory_gb=runtime.get("memory_gb", DEFAULT_MEMORY_GB),
                    timeout_s=runtime.get("timeout_s", DEFAULT_TIMEOUT_S),
                    gpu=runtime.get("gpu"),
                    concurrency=runtime.get("concurrency", DEFAULT_CONCURRENCY),
                ),
                required_secrets=tuple(secrets.get("required") or ()),
                optional_secrets=tuple(secrets.get("optional") or ()),
                inputs=dict(document["inputs"]),
                outputs=tuple(
                    Output(row["path"], row["mime"], row.get("description", ""), bool(row.get("optional", False)))
                    for row in document["outputs"]
                ),
                document={key: value for key, value in document.items() if key != "image"},
            )
        except KeyError as exc:
            raise DeclarationError(f"{exc.args[0]}: required") from exc
        except RefError as exc:
            raise DeclarationError(f"ref: {exc}") from exc
        except (AttributeError, TypeError, ValueError) as exc:
            raise DeclarationError("a part has another shape than the contract says") from exc

    @classmethod
    def load(cls, path: Path) -> Self:
        """Return the declaration in the file at *path*, YAML or JSON.

        Raises:
            DeclarationError: the file cannot be read or parsed.
        """
        try:
            return cls.parse(_load_document(path))
        except DeclarationError:
            raise
        except Exception as exc:  # the YAML library has many ways to fail, all meaning the same here
            raise DeclarationError(f"cannot be read: {type(exc).__name__}") from exc

    @property
    def secrets(self) -> tuple[str, ...]:
        """Every declared secret's name, required ones first."""
        return self.required_secrets + self.optional_secrets

    @cached_property
    def env_fingerprint(self) -> str:
        """The runtime as sorted ``key:value`` parts: ``cpu:1;memory:2Gi`` (CONTRACT §3)."""
        parts = [f"cpu:{_shortest(self.runtime.cpu)}", f"memory:{_shortest(self.runtime.memory_gb)}Gi"]
        if self.runtime.gpu:
            parts.append(f"gpu:{self.runtime.gpu}")
        return ";".join(sorted(parts))


def readable_ref(path: Path) -> str:
    """Return the ref in the registry file at *path*, ``""`` where there is none to read: for lines about a bad file."""
    try:
        return str(Ref.parse(_load_document(path)["ref"]))
    except Exception:  # noqa: BLE001  # `Declaration.load` says what is wrong with it
        return ""


def _shortest(number: str | float) -> str:
    """Return the shortest decimal of *number*, without an exponent: ``2.0`` and ``2`` are both ``2``."""
    return number if isinstance(number, str) else f"{Decimal(repr(number)).normalize():f}"


def _load_document(path: Path) -> dict[str, Any]:
    raw = path.read_bytes()
    if raw.lstrip().startswith(b"{"):
        # an image carries the file as JSON, which is YAML too and needs no YAML library to start
        document: dict[str, Any] = orjson.loads(raw)
        return document
    from ruamel.yaml import YAML  # noqa: PLC0415  # 30 ms of start-up that an image never pays

    loaded: dict[str, Any] = YAML(typ="safe", pure=True).load(raw)
    return loaded

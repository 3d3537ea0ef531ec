"""What a caller asks for, and what must not even start."""

import re
import secrets
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from apps.core.adapters.errors import DigestDriftError
from apps.core.registry import Ref, RefError, Registration
from processor_runtime import schemas
from processor_runtime.errors import (
    CiSafetyError,
    Detail,
    ExecutionIdInvalidError,
    ExecutionIdMissingError,
    MissingSecretError,
    ModeInvalidError,
    TimeoutInvalidError,
    WritePrefixMissingError,
)
from processor_runtime.prefix import INPUTS, Roots, expand
from processor_runtime.settings import MODES, ci_is_set
from processor_runtime.values import Digest

DEFAULT_PREFIX: Final = "/artifacts/outputs/{execution_id}/"
_EVERYWHERE: Final = "/artifacts:/tmp"  # what a processor of this machine may write by default (CONTRACT §2)
_CARRIED: Final = "/artifacts"  # what reaches a container or Modal


@dataclass(frozen=True, slots=True)
class ExecutionRequest:
    """One wish, as it was written; `guard` and the processor judge it.

    Attributes:
        ref: Which processor, such as ``ns/name@1``.
        adapter: ``process``, ``local`` or ``modal``.
        inputs: Any JSON value.
        timeout_s: Lowers the registry's limit; ``None`` leaves it.
        attachments: Local files by the names that the params use.
        expected_digest: The only image whose answer is accepted.
        save_dir: Where outputs are copied to.
        platform: Whose pin to run, ``amd64`` or ``arm64``; ``None`` for this machine's. For ``local`` alone.
        build: Run an image that is built from the source here, and is not pinned. For ``local`` alone.
    """

    ref: str
    adapter: str
    inputs: Any
    execution_id: str
    mode: str = "mock"
    write_prefix: str = DEFAULT_PREFIX
    timeout_s: float | None = None
    attachments: Mapping[str, Path] = field(default_factory=dict)
    expected_digest: Digest | None = None
    save_dir: Path | None = None
    platform: str | None = None
    build: bool = False

    @property
    def params(self) -> Any:
        """`inputs.params`, or ``None`` where there is none."""
        return self.inputs.get("params") if isinstance(self.inputs, dict) else None

    def roots(self, artifacts_root: Path) -> Roots:
        """Return where this execution may write, given what stands for `/artifacts` on this host."""
        return Roots.of(_EVERYWHERE if self.adapter == "process" else _CARRIED, INPUTS, str(artifacts_root))


def guard(request: ExecutionRequest, registration: Registration, environ: Mapping[str, str], roots: Roots) -> str:
    """Return the expanded write prefix, unless *request* must not even start.

    What is not looked at here the processor judges: it has every rule, in the
    same order.

    Raises:
        ProcessorError: the first rule that is broken.

    Source: CONTRACT §2.
    """
    if not is_execution_id(request.execution_id):
        rule = Detail(path="/execution_id", message="must match [A-Za-z0-9][A-Za-z0-9._-]{0,127}")
        raise ExecutionIdInvalidError(rule) if request.execution_id else ExecutionIdMissingError(rule)
    if not request.write_prefix:
        raise WritePrefixMissingError(Detail(path="/write_prefix", message="required"))
    prefix = expand(request.write_prefix, request.execution_id)
    roots.check_write(prefix)
    if request.mode not in MODES:
        raise ModeInvalidError(Detail(path="/mode", message="must be mock or real"))
    refuse_real_in_ci(request.mode, environ)
    if request.timeout_s is not None and not request.timeout_s > 0:
        raise TimeoutInvalidError(Detail(path="/timeout_s", message="must be a number above 0"))
    missing = [name for name in registration.declaration.required_secrets if not environ.get(name)]
    # on Modal the secrets are Modal's own: whoever calls a deployed processor needs none of them
    if request.mode == "real" and missing and request.adapter != "modal":
        raise MissingSecretError(*(Detail(path=name, message="not set") for name in missing))
    if request.adapter == "process" and request.expected_digest is not None:
        rule = Detail(path="--expected-digest", message="the process adapter runs source: no image can have answered")
        raise DigestDriftError(rule)
    return prefix


def refuse_real_in_ci(mode: str, environ: Mapping[str, str]) -> None:
    """Refuse `real` where `CI` is set.

    Raises:
        CiSafetyError: it is.

    Source: CONTRACT §2, row CI guard.
    """
    if mode == "real" and ci_is_set(environ):
        raise CiSafetyError(Detail(path="/mode", message="CI is set"))


def is_ref(text: str) -> bool:
    """Whether *text* spells a ref."""
    try:
        Ref.parse(text)
    except RefError:
        return False
    return True


def is_execution_id(text: str) -> bool:
    """Whether *text* is an execution id, by the contract's own schema of requests."""
    pattern = schemas.load("request")["properties"]["execution_id"]["pattern"]
    return re.fullmatch(pattern, text) is not None


def new_execution_id() -> str:
    """Return a fresh id; later ones sort after earlier ones.

    Source: RFC 9562, section 5.7 (UUIDv7), with method 3 of section 6.2: the
    12 bits after the milliseconds are the fraction of the millisecond.
    """
    milliseconds, rest = divmod(time.time_ns(), 1_000_000)
    fraction = rest * 4096 // 1_000_000
    number = milliseconds << 80 | 0x7 << 76 | fraction << 64 | 0b10 << 62 | secrets.randbits(62)
    return str(uuid.UUID(int=number))

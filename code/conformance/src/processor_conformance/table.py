"""§5's table, as the kit judges by it. Written from the contract, not taken from any implementation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Row:
    """What a code promises.

    Attributes:
        texts: The allowed messages by status.
        retryable: ``None`` where it depends.
    """

    texts: Mapping[int, tuple[str, ...]]
    retryable: bool | None = False


def _row(status: int, *texts: str, retryable: bool | None = False) -> Row:
    return Row({status: texts}, retryable)


_INPUTS: Final = (
    "Invalid JSON body",
    "missing execution_id",
    "invalid execution_id",
    "missing write_prefix",
    "unsupported schema",
    "invalid timeout_s",
    "invalid context",
    "unknown field",
    "inputs do not match the schema",
    "artifact not usable",
    "inputs not usable",
)

FROM_PROCESSORS: Final[Mapping[str, Row]] = {
    "ERR_INPUTS": Row(
        {400: _INPUTS, 413: ("Request body too large",), 415: ("Content-Type must be application/json",)}
    ),
    "ERR_MODE_INVALID": _row(400, "mode must be mock or real and served here"),
    "ERR_WRITE_PREFIX": _row(400, "write_prefix not allowed"),
    "ERR_REF_MISMATCH": _row(400, "this image serves another ref"),
    "ERR_UNAUTHORIZED": _row(401, "missing or wrong token"),
    "ERR_CI_SAFETY": _row(403, "mode=real is blocked in CI"),
    "ERR_NOT_FOUND": _row(404, "not found"),
    "ERR_METHOD": _row(405, "method not allowed"),
    "ERR_EXECUTION_CONFLICT": _row(409, "execution_id or write_prefix already used"),
    "ERR_BUSY": _row(429, "busy", retryable=True),
    "ERR_CANCELLED": _row(499, "cancelled"),
    "ERR_RUNTIME": _row(500, "handler failed"),
    "ERR_INTERNAL": _row(500, "internal error"),
    "ERR_SETUP": _row(500, "set-up failed"),
    "ERR_IMAGE_DIGEST_MISSING": _row(500, "IMAGE_DIGEST env var not set", "IMAGE_DIGEST is not a digest"),
    "ERR_MISSING_SECRET": _row(500, "required secret not set"),
    "ERR_OUTPUT_PATH": _row(500, "output path not allowed"),
    "ERR_OUTPUT_DUPLICATE": _row(500, "output written twice"),
    "ERR_OUTPUT_MISSING": _row(500, "declared output not written"),
    "ERR_OUTPUT_UNDECLARED": _row(500, "output not declared"),
    "ERR_PROVIDER": _row(502, "provider failed", retryable=None),
    "ERR_DRAINING": _row(503, "shutting down", retryable=True),
    "ERR_TIMEOUT": _row(504, "deadline passed"),
    "ERR_STORAGE": _row(507, "cannot write artifacts", retryable=True),
}

_FROM_OTHERS: Final = (
    "ERR_NETWORK",
    "ERR_BAD_RESPONSE",
    "ERR_HEALTH",
    "ERR_CRASHED",
    "ERR_DOCKER",
    "ERR_IMAGE_NOT_FOUND",
    "ERR_IMAGE_PULL",
    "ERR_IMAGE_UNPINNED",
    "ERR_DIGEST_DRIFT",
    "ERR_SIGNATURE",
    "ERR_ENDPOINT_MISSING",
    "ERR_MODAL_AUTH",
    "ERR_REF_NOT_FOUND",
    "ERR_REGISTRY_INVALID",
    "ERR_ARTIFACT_MISMATCH",
)

# codes that are in neither list are tolerated: the contract may grow, and readers ignore what they do not know
CODES: Final[Mapping[str, Row]] = {**FROM_PROCESSORS, **{code: Row({}) for code in _FROM_OTHERS}}

STARTED: Final = frozenset(
    {
        "ERR_RUNTIME",
        "ERR_PROVIDER",
        "ERR_TIMEOUT",
        "ERR_OUTPUT_PATH",
        "ERR_OUTPUT_DUPLICATE",
        "ERR_OUTPUT_MISSING",
        "ERR_OUTPUT_UNDECLARED",
    }
)
"""Codes that only a run that has started can have."""

NO_RUN: Final = frozenset(
    {
        "ERR_INPUTS",
        "ERR_MODE_INVALID",
        "ERR_WRITE_PREFIX",
        "ERR_REF_MISMATCH",
        "ERR_UNAUTHORIZED",
        "ERR_CI_SAFETY",
        "ERR_NOT_FOUND",
        "ERR_METHOD",
        "ERR_EXECUTION_CONFLICT",
        "ERR_BUSY",
        "ERR_SETUP",
        "ERR_IMAGE_DIGEST_MISSING",
        "ERR_MISSING_SECRET",
        "ERR_DRAINING",
    }
)
"""Codes of what is no run, but for a handler's own `ERR_INPUTS`."""

RETRY_AFTER: Final = frozenset({"ERR_BUSY", "ERR_DRAINING"})

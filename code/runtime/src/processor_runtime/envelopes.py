"""The one JSON object that a run answers, success or error (CONTRACT §3)."""

from collections.abc import Sequence
from typing import Any, Final

from .errors import ProcessorError

Envelope = dict[str, Any]
REPLAYED_HEADER: Final = "idempotent-replayed"


def bare_meta(ref: str, env_fingerprint: str, image_digest: str, *, pinned: bool) -> dict[str, Any]:
    """Return the part of `meta` that every envelope has; *image_digest* bare, or ``""`` where unknown."""
    return {"ref": ref, "env_fingerprint": env_fingerprint, "image_digest": image_digest, "pinned": pinned}


def success_envelope(
    *, execution_id: str, outputs: Sequence[dict[str, Any]], index_path: str, meta: dict[str, Any]
) -> Envelope:
    """Return the envelope of a run that kept its promise; *outputs* are rows sorted by the bytes of `path`."""
    return {
        "status": "success",
        "execution_id": execution_id,
        "outputs": list(outputs),
        "index_path": index_path,
        "meta": meta,
    }


def error_envelope(error: ProcessorError, *, execution_id: str, meta: dict[str, Any]) -> Envelope:
    """Return the envelope of a refusal or a failed run; *execution_id* is ``""`` until it was found valid."""
    return {
        "status": "error",
        "execution_id": execution_id,
        "error": {
            "code": str(error.code),
            "message": error.text,
            "retryable": error.retryable,
            "details": list(error.details),
        },
        "meta": meta,
    }

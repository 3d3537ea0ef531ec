"""What Schemathesis may not hold against a service: the few rules of the contract that no schema can state.

Each failure that is dropped here is told apart by the answer's own words, so nothing else goes with it.
"""

from __future__ import annotations

from typing import Any, Final

import schemathesis
from schemathesis.core.failures import ServerError
from schemathesis.openapi.checks import EnsureResourceAvailability, RejectedPositiveData

# JSON Schema counts characters and not bytes, and knows no difference between 1e20 and 100000000000000000000
UNSAYABLE: Final = {
    "integer beyond 2^53-1",
    "more than 64 levels",
    "must be at most 1024 bytes when expanded",
    "must have at most 255 bytes a segment",
    "must be an object of at most 4 KiB",
}
HARDLY_S: Final = 5.0  # enough for any run here, if the machine has little else to do


@schemathesis.hook
def filter_failure(
    context: schemathesis.HookContext,  # noqa: ARG001  # the hook's signature
    failure: Exception,
    case: schemathesis.Case[Any],
    response: schemathesis.Response,
) -> bool:
    """Whether *failure* is one."""
    if isinstance(failure, RejectedPositiveData):
        return not said(response) & UNSAYABLE
    if isinstance(failure, ServerError):
        asked_for = response.status_code == 504 and allowed_s(case) < HARDLY_S  # with 5e-324 seconds
        # the only slot is held for the moment by a handler past such a deadline: health is to say so
        held = response.status_code == 503 and case.operation.path == "/healthz" and b'"failed"' in response.content
        return not (asked_for or held)
    # taken for the end of what `POST /run` made: an execution that has settled cannot be cancelled
    return not (isinstance(failure, EnsureResourceAvailability) and case.operation.method.upper() == "DELETE")


def said(response: schemathesis.Response) -> set[str]:
    """Return the messages of the details in the envelope *response*."""
    details: list[dict[str, str]] = response.json()["error"]["details"]
    return {detail["message"] for detail in details}


def allowed_s(case: schemathesis.Case[Any]) -> float:
    """Return how long the run of *case* may take, in seconds; without end if it does not say."""
    body: Any = case.body
    timeout_s = body.get("timeout_s") if isinstance(body, dict) else None
    return float(timeout_s) if isinstance(timeout_s, int | float) else float("inf")

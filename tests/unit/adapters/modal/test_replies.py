"""Each answer of Modal's own web server means one thing, and a page of somebody else's means nothing."""

from __future__ import annotations

import pytest

from apps.core.adapters.modal.replies import REPLIES, refusal
from processor_runtime.errors import ErrorCode

# As guides and users quote them
SAID = [
    (401, "modal-http: missing credentials for proxy authorization", ErrorCode.MODAL_AUTH),
    (401, "modal-http: invalid credentials for proxy authorization", ErrorCode.MODAL_AUTH),
    (404, "modal-http: app for invoked web endpoint is stopped", ErrorCode.ENDPOINT_MISSING),
    (404, "modal-http: invalid function call", ErrorCode.ENDPOINT_MISSING),
    (404, "modal-http: workspace acme is disabled", ErrorCode.ENDPOINT_MISSING),
    (400, "modal-http: bad redirect method", ErrorCode.INTERNAL),
    (408, "Missing request, possibly due to expiry or cancellation", ErrorCode.NETWORK),
    (429, "modal-http: too many requests", ErrorCode.BUSY),
    (500, "modal-http: internal error: function execution timed out", ErrorCode.TIMEOUT),
    (500, "modal-http: internal error: function was terminated by signal", ErrorCode.CRASHED),
    (500, "modal-http: internal error: status Failure: ImportError", ErrorCode.CRASHED),
    (502, "bad gateway", ErrorCode.NETWORK),
    (503, "", ErrorCode.NETWORK),
    (504, "", ErrorCode.NETWORK),
    (403, "modal-http: forbidden", ErrorCode.MODAL_AUTH),
    (418, "modal-http: a status that nobody knows", ErrorCode.BAD_RESPONSE),
    (200, "ok", ErrorCode.BAD_RESPONSE),
]


@pytest.mark.parametrize(("status", "text", "code"), SAID)
def test_plain_text_is_modals_own_word(status: int, text: str, code: ErrorCode) -> None:
    """It is told by its status and its meaning; the text itself is for the log."""
    error = refusal(status, "text/plain; charset=utf-8", text)

    assert error.code == code
    assert str(status) in error.details[0]["message"]
    assert error.context["reason"] == text
    assert not text or text not in str(error.details)


def test_each_row_is_said_by_somebody() -> None:
    """A row that no answer reaches, behind another one, would be dead."""
    reached = {
        next(row for row in REPLIES if row.status == status and row.text in text)
        for status, text, _ in SAID
        if any(row.status == status for row in REPLIES)
    }

    assert reached == set(REPLIES)


@pytest.mark.parametrize("content_type", ["text/html", "TEXT/HTML; charset=utf-8", "", "application/octet-stream"])
@pytest.mark.parametrize("status", [200, 401, 404, 429, 500, 502])
def test_a_page_is_nobodys_answer(status: int, content_type: str) -> None:
    """Whatever its status: a captive portal, say, knows nothing of apps."""
    assert refusal(status, content_type, "<html>").code == ErrorCode.BAD_RESPONSE

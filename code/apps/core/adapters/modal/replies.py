"""What Modal's web server itself says, in plain text, and what that means.

Texts as Modal's guides and users quote them; docs/guides/modal.md lists which
of them a release checks in the real cloud.
"""

from typing import Final, NamedTuple

from apps.core.adapters.errors import BadResponseError, CrashedError, EndpointMissingError, NetworkError
from processor_runtime.errors import BusyError, DeadlineError, Detail, InternalError, ProcessorError

from .errors import ModalAuthError

KEY: Final = "MODAL_PROXY_TOKEN_ID"
SECRET: Final = "MODAL_PROXY_TOKEN_SECRET"  # noqa: S105  # the name of a variable


class Reply(NamedTuple):
    """One kind of answer: its status, a part of its text, which error it is, and what to do."""

    status: int
    text: str
    error: type[ProcessorError]
    means: str


REPLIES: Final = (
    Reply(400, "bad redirect method", InternalError, "a result was asked for by POST"),
    Reply(401, "", ModalAuthError, f"it wants a proxy token: set {KEY} and {SECRET}"),
    Reply(403, "", ModalAuthError, f"it refuses the proxy token: check {KEY} and {SECRET}"),
    Reply(404, "", EndpointMissingError, "nothing is deployed here any more: modalctl status says what is"),
    Reply(408, "", NetworkError, "the request never reached the processor"),
    Reply(429, "", BusyError, "the workspace asks too often"),
    Reply(500, "timed out", DeadlineError, "the function ran into Modal's own time limit"),
    Reply(500, "terminated by signal", CrashedError, "the container was killed: mostly out of memory"),
    Reply(500, "", CrashedError, "the container failed: modalctl logs tells why"),
    Reply(502, "", NetworkError, "Modal's web server did not reach the container"),
    Reply(503, "", NetworkError, "Modal's web server has nobody to ask"),
    Reply(504, "", NetworkError, "Modal's web server waited in vain"),
)


def refusal(status: int, content_type: str, text: str) -> ProcessorError:
    """Return what an answer without an envelope means. Its text is logged and never sent.

    Args:
        status: Its HTTP status.
        content_type: Its media type, with or without parameters. Only plain
            text is Modal's own: a page comes from somebody else.
        text: Its beginning.
    """
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type == "text/plain":
        for reply in REPLIES:
            if reply.status == status and reply.text in text:
                return reply.error(Detail(path="modal", message=f"{status}: {reply.means}"), reason=text)
    rule = f"must be application/json: a {status} with {media_type or 'no media type'} came"
    return BadResponseError(Detail(path="content-type", message=rule), reason=text)

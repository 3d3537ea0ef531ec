"""How long each step to Modal may take."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds.

    Attributes:
        lookup_s: For a question to Modal's own server, such as which address a function has.
        transfer_s: For all files of one execution, each way.
        connect_s: For a connection to the web server.
        hop_s: For a sign of life: within 150 s it answers or redirects, and a stream says something every 15 s.
        retry_wait_s: Between two requests for a result, where the first was lost.
        cancel_s: What a caller that is ending waits for a cancellation.
    """

    lookup_s: float = 15.0
    transfer_s: float = 600.0
    connect_s: float = 10.0
    hop_s: float = 170.0
    retry_wait_s: float = 1.0
    cancel_s: float = 3.0


DEFAULT = Limits()
